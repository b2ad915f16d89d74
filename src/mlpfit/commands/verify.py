"""Train everything again elsewhere and compare it with what is kept under outputs/: make verify

    mlpfit verify [ensembles=1] [tutorial | experiment ...]
    mlpfit verify --keep        # make the runs under outputs/ the reference

outputs/reference.npz holds every loss and the final numbers of every published run; reference.json
the machine and the versions that made them, and the SHA-256 of that file and of all other files
kept under outputs/. Each run is found

identical          every loss, final number and figure to the bit: a machine like the reference's
                   must give no less
within tolerance   only where machine or versions are others, which round otherwise: all losses and
                   final numbers within 0.1 %; of recipes that amplify rounding errors
                   (``sensitive`` in published.yaml) the first ``EARLY`` losses within 0.1 %, the
                   typical loss of each twentieth of the run and the final numbers within ``FACTOR``
different          anything else: another recipe, other code, a damaged file; exit code 1

With ensembles=1 the ledger is computed again from new ensembles: identical, same verdicts, or
different.
"""

import hashlib
import io
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from mlpfit.commands.ensembles import ensemble, train_ensembles
from mlpfit.commands.reproduce import selected
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose
from mlpfit.errors import ConfigError, RunError
from mlpfit.figures.draw import draw_all, drawings
from mlpfit.judging import ledger, published
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.run import Run, differences, load_run
from mlpfit.training.progress import console, display
from mlpfit.training.train import train

EARLY, TOLERANCE, FACTOR = 10, 1e-3, 3.0
KEPT = (
    "figures/*/*.svg",
    "sweeps/*/*/summary.csv",
    "sweeps/*/*/figure.svg",
    "ledger.*",
    "results.csv",
)
PARTS = 20
FINAL = ("mse", "sse", "truth_mse")
MACHINE = ("versions", "platform", "processor", "processor_kind", "capability", "threads")
Found = Literal["identical", "within tolerance", "different"]
Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """One run against the reference."""

    experiment: str
    found: Found
    first: int | None  # first step whose loss has other bits
    difference: float  # largest relative difference of the final numbers
    figures: int  # of its figures, those with other bytes
    why: str = ""


def numbers(run: Run) -> Numbers:
    """What the reference keeps of a run: loss (steps,), final (3,)."""
    return {
        "loss": run.history["loss"][:, 0],
        "final": np.array([run.metrics[name][0] for name in FINAL]),
    }


def compare(name: str, ours: Numbers, kept: Numbers, figures: int, alike: bool) -> Comparison:
    """This run's numbers against the kept ones; figures: how many of its figures differ; alike:
    same machine."""
    if ours["loss"].shape != kept["loss"].shape:
        why = f"{len(ours['loss'])} steps, kept are {len(kept['loss'])}"
        return Comparison(
            name,
            "different",
            min(len(ours["loss"]), len(kept["loss"])) + 1,
            float("inf"),
            figures,
            why,
        )
    other = np.flatnonzero(ours["loss"] != kept["loss"])
    first = int(other[0]) + 1 if len(other) else None
    difference = float(relative(ours["final"], kept["final"]).max())
    if first is None and difference == 0:
        if not figures:
            return Comparison(name, "identical", None, 0.0, 0)
        why = "same numbers, other or missing figures"
        return Comparison(
            name, "different" if alike else "within tolerance", None, 0.0, figures, why
        )
    if alike:
        return Comparison(
            name, "different", first, difference, figures, "same machine, other numbers"
        )
    if close(name, ours, kept):
        return Comparison(name, "within tolerance", first, difference, figures)
    return Comparison(name, "different", first, difference, figures, "beyond the tolerance")


def close(name: str, ours: Numbers, kept: Numbers) -> bool:
    """Whether only rounding can tell them apart; what is not a number is close to nothing."""
    if not published.amplifies_rounding(name):
        return all(
            bool((relative(ours[key], kept[key]) < TOLERANCE).all()) for key in ("loss", "final")
        )
    early = relative(ours["loss"], kept["loss"])[:EARLY]
    typical = [
        np.array(
            [
                np.median(part)
                for part in np.array_split(numbers["loss"], min(PARTS, len(numbers["loss"])))
            ]
        )
        for numbers in (ours, kept)
    ]
    far = [np.abs(np.log(a / b)) for a, b in ((ours["final"], kept["final"]), typical)]
    return bool((early < TOLERANCE).all()) and all(bool((d < np.log(FACTOR)).all()) for d in far)


def relative(ours: np.ndarray, kept: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ours == kept, 0.0, np.abs(ours / kept - 1))


def keep(outputs: Path) -> None:
    """Make the finished runs the reference."""
    found = {name: load_run(outputs / "runs" / name) for name in experiments()}
    arrays = {
        f"{name}/{key}": values
        for name, run in found.items()
        for key, values in numbers(run).items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_file(outputs / "reference.npz", buffer.getvalue())
    content = {"machine": machine(next(iter(found.values()))), "files": kept_files(outputs)}
    write_file(outputs / "reference.json", sealed.json_bytes(content))


def kept_files(outputs: Path) -> dict[str, str]:
    """SHA-256 of reference.npz and of all files made from runs that are kept beside it."""
    files = [
        outputs / "reference.npz",
        *sorted(file for pattern in KEPT for file in outputs.glob(pattern)),
    ]
    files = [
        file for file in files if file.parent.name != "bench"
    ]  # speed is measured, not reproduced
    return {
        str(file.relative_to(outputs)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def machine(run: Run) -> dict[str, Any]:
    """What may round otherwise."""
    return {key: run.provenance[key] for key in MACHINE}


def reference(outputs: Path) -> tuple[dict[str, Numbers], dict[str, Any]]:
    """The kept numbers by experiment, and reference.json. Raises RunError if they can't be read or
    don't belong together."""
    remedy = "restore it with git checkout, or make another with --keep"
    made = sealed.read_json(outputs / "reference.json", remedy)
    file = outputs / "reference.npz"
    if not file.is_file():
        raise RunError(f"{file} is not there: {remedy}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != made["files"]["reference.npz"]:
        raise RunError(f"{file}: not as it was written; {remedy}")
    with np.load(file, allow_pickle=False) as arrays:
        if missing := [name for name in experiments() if f"{name}/loss" not in arrays]:
            raise RunError(f"{file}: nothing of {', '.join(missing)}; {remedy}")
        return {
            name: {key: arrays[f"{name}/{key}"] for key in ("loss", "final")}
            for name in experiments()
        }, made


def verify_runs(
    outputs: Path, scratch: Path, names: list[str]
) -> tuple[list[Comparison], list[str], bool]:
    """Train these runs into scratch and compare each with its reference. Returns also the kept
    files that have changed, and whether this machine is like the reference's."""
    kept, made = reference(outputs)
    kept = {name: kept[name] for name in names}
    with display(len(kept)) as shown:
        for name in kept:
            config = compose([f"experiment={name}", f"output_dir={scratch}"])
            with shown.run(name, config.trainer.max_steps) as report:
                train(config, report=report)
    draw_all(names, scratch)
    here = machine(load_run(scratch / "runs" / names[0]))
    differing = differences(made["machine"], here)
    console.print(f"machine: {'; '.join(differing) if differing else 'as that of the reference'}")
    found = []
    for name in kept:
        mine = [
            f"figures/{drawing.name}.svg" for drawing in drawings() if drawing.experiment == name
        ]
        figures = sum(_bytes(scratch / file) != _bytes(outputs / file) for file in mine)
        ours = numbers(load_run(scratch / "runs" / name))
        found.append(compare(name, ours, kept[name], figures, alike=not differing))
    return found, unlike(outputs, made["files"]), not differing


def unlike(outputs: Path, kept: dict[str, str]) -> list[str]:
    """Files under outputs/ that are not as they were when the reference was made, or are gone."""
    now = kept_files(outputs)
    return sorted(name for name in kept if now.get(name) != kept[name])


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def verify_ledger(outputs: Path, scratch: Path, alike: bool) -> Found:
    """Train all ensembles into scratch and judge the published numbers again; what needs other
    recipes (variants) is not."""
    kept = sealed.read_ledger(outputs)
    train_ensembles([ensemble(name, [f"output_dir={scratch}"]) for name in experiments()])
    now = json.loads(json.dumps(ledger.ledger(ledger.ensembles(scratch))))
    if all(now[key] == kept[key] for key in ("numbers", "traces", "joint", "runs")):
        return "identical"
    before, after = ledger.verdicts(kept), ledger.verdicts(now)
    for key in (key for key in before if before[key] != after.get(key)):
        console.print(f"{key}: {before[key]}, now {after.get(key)}")
    moved = [
        abs(a["median"] / b["median"] - 1)
        for a, b in zip(now["numbers"], kept["numbers"], strict=True)
        if "median" in a and "median" in b
    ]
    console.print(f"ledger: medians differ by up to {max(moved, default=0):.2g}")
    return "within tolerance" if before == after and not alike else "different"


def closing_table(found: list[Comparison]) -> Table:
    table = Table(
        "experiment",
        "found",
        "first other step",
        "final numbers differ by",
        "other figures",
        "",
        box=None,
    )
    for c in found:
        first = "" if c.first is None else str(c.first)
        table.add_row(c.experiment, c.found, first, f"{c.difference:.2g}", str(c.figures), c.why)
    return table


def main() -> int:
    outputs, arguments = Path("outputs"), sys.argv[1:]
    for argument in arguments:
        option = argument.startswith("-") or "=" in argument
        if option and argument not in ("--keep", "ensembles=1", "ensembles=0"):
            raise ConfigError(
                f"{argument}: allowed are --keep, ensembles=1 and names of experiments"
            )
    names = selected([a for a in arguments if not a.startswith("-") and "=" not in a])
    if "--keep" in arguments:
        if len(arguments) > 1:
            raise ConfigError(f"{' '.join(arguments)}: --keep keeps all runs and goes alone")
        keep(outputs)
        return 0
    if "ensembles=1" in arguments and not (outputs / "ledger.json").is_file():
        raise RunError(f"{outputs}/ledger.json is not there to compare with: make ensembles report")
    started, scratch = time.time(), outputs / ".verify" / str(os.getpid())
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed process that had this number
    try:
        found, changed, alike = verify_runs(outputs, scratch, names)
        judged = verify_ledger(outputs, scratch, alike) if "ensembles=1" in arguments else None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another one is under way
            scratch.parent.rmdir()
    console.print(closing_table(found))
    if changed:
        console.print(
            f"not as kept: {', '.join(changed)}" + ("" if alike else " (made on this machine?)"),
            soft_wrap=True,
        )
    kinds = [c.found for c in found] + ([judged] if judged else [])
    words = ", ".join(
        f"{kinds.count(kind)} {kind}" for kind in ("identical", "within tolerance", "different")
    )
    console.print(
        f"{len(found)} runs{' and the ledger' if judged else ''}: {words} "
        f"({time.time() - started:.1f} s)"
    )
    return 1 if "different" in kinds or (changed and alike) else 0
