"""Train everything again elsewhere and compare it with what is kept under outputs/: make verify

    python -m mlpfit.verify [ensembles=1] [tutorial | experiment ...]
    python -m mlpfit.verify --keep        # make the runs under outputs/ the reference

outputs/reference.npz holds every loss and the final numbers of every published run, reference.json the machine and the
versions that made them. Each run is found

identical          every loss, final number and figure to the bit: the rule on one machine
within tolerance   another machine rounds otherwise: the first ``EARLY`` losses within 0.1 %, the final numbers, too;
                   those of recipes that blow rounding errors up (``SENSITIVE``) within a factor of ``FACTOR``
different          anything else: another recipe, other code, a damaged file; exit code 1

With ensembles=1 the ledger is computed again from new ensembles: identical, same verdicts, or different.
"""

import io
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from mlpfit import ledger, runs
from mlpfit.command import run_command
from mlpfit.config import compose, experiments
from mlpfit.ensembles import train_ensembles
from mlpfit.errors import ConfigError, RunError
from mlpfit.figures.draw import draw_all, pictures
from mlpfit.progress import console, display
from mlpfit.reproduce import selected
from mlpfit.train import train

EARLY, TOLERANCE, FACTOR = 10, 1e-3, 3.0
SENSITIVE = {"tower/small", "tower/large", "gradient/sine_network", "parabola/eight_neurons", "restoration/framework"}
FINAL = ("mse", "sse", "truth_mse")
MACHINE = ("versions", "platform", "processor", "capability", "threads")
Found = Literal["identical", "within tolerance", "different"]


@dataclass(frozen=True)
class Comparison:
    """One run against the reference."""

    experiment: str
    found: Found
    first: int | None  # first step whose loss has other bits
    difference: float  # largest relative difference of the final numbers
    figures: int  # of its figures, those with other bytes
    why: str = ""


def numbers(run: runs.Run) -> dict[str, np.ndarray]:
    """What the reference keeps of a run: loss (steps,), final (3,)."""
    return {"loss": run.history["loss"][:, 0], "final": np.array([run.metrics[name][0] for name in FINAL])}


def compare(name: str, ours: dict[str, np.ndarray], kept: dict[str, np.ndarray], figures: int) -> Comparison:
    """This run's numbers against the kept ones; figures: how many of its figures differ."""
    if ours["loss"].shape != kept["loss"].shape:
        why = f"{len(ours['loss'])} steps, kept are {len(kept['loss'])}"
        return Comparison(name, "different", min(len(ours["loss"]), len(kept["loss"])) + 1, float("inf"), figures, why)
    other = np.flatnonzero(ours["loss"] != kept["loss"])
    first = int(other[0]) + 1 if len(other) else None
    with np.errstate(divide="ignore", invalid="ignore"):
        final = np.abs(ours["final"] / kept["final"] - 1)
        early = np.abs(ours["loss"] / kept["loss"] - 1)[:EARLY]
    final = np.where(ours["final"] == kept["final"], 0.0, final)
    difference = float(final.max())
    if first is None and difference == 0:
        if not figures:
            return Comparison(name, "identical", None, 0.0, 0)
        return Comparison(
            name, "different", None, 0.0, figures, "same numbers, other or missing figures: another matplotlib?"
        )
    ratio = np.maximum(ours["final"] / kept["final"], kept["final"] / ours["final"])
    close = bool((ratio < FACTOR).all()) if name in SENSITIVE else difference < TOLERANCE
    if early.max(initial=0) < TOLERANCE and close:
        return Comparison(name, "within tolerance", first, difference, figures)
    return Comparison(name, "different", first, difference, figures, "beyond the tolerance")


def keep(outputs: Path) -> None:
    """Make the finished runs the reference."""
    found = {name: runs.load_run(outputs / "runs" / name) for name in experiments()}
    arrays = {f"{name}/{key}": values for name, run in found.items() for key, values in numbers(run).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    runs.write_file(outputs / "reference.npz", buffer.getvalue())
    runs.write_file(
        outputs / "reference.json", (json.dumps(machine(next(iter(found.values()))), indent=1) + "\n").encode()
    )


def machine(run: runs.Run) -> dict[str, Any]:
    """What may round otherwise."""
    return {key: run.provenance[key] for key in MACHINE}


def reference(outputs: Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """The kept numbers by experiment, and the machine that made them. Raises RunError if they can't be read."""
    file = outputs / "reference.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            kept = {name: {key: arrays[f"{name}/{key}"] for key in ("loss", "final")} for name in experiments()}
        return kept, json.loads((outputs / "reference.json").read_text())
    except Exception as error:  # zip, array or JSON: each has errors of its own
        raise RunError(f"{file}: can't be read ({type(error).__name__}); restore it with git checkout") from None


def verify_runs(outputs: Path, scratch: Path, names: list[str]) -> list[Comparison]:
    """Train these runs into scratch and compare each with its reference."""
    kept, made = reference(outputs)
    kept = {name: kept[name] for name in names}
    with display(len(kept)) as shown:
        for name in kept:
            config = compose([f"experiment={name}", f"output_dir={scratch}"])
            with shown.run(name, config.trainer.max_steps) as report:
                train(config, report)
    draw_all(names, scratch)
    found = []
    for name in kept:
        mine = [f"figures/{picture.name}.svg" for picture in pictures() if picture.experiment == name]
        figures = sum(_bytes(scratch / file) != _bytes(outputs / file) for file in mine)
        found.append(compare(name, numbers(runs.load_run(scratch / "runs" / name)), kept[name], figures))
    here = machine(runs.load_run(scratch / "runs" / next(iter(kept))))
    differing = runs.differences(made, here)
    console.print(f"machine: {'; '.join(differing) if differing else 'as that of the reference'}")
    return found


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def verify_ledger(outputs: Path, scratch: Path) -> Found:
    """Train all ensembles into scratch and judge the published numbers again."""
    kept = json.loads((outputs / "ledger.json").read_text())
    train_ensembles(experiments(), [f"output_dir={scratch}", "replicas=1000"])
    now = json.loads(json.dumps(ledger.ledger(ledger.ensembles(scratch))))
    if now == kept:
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
    return "within tolerance" if before == after else "different"


def closing_table(found: list[Comparison]) -> Table:
    table = Table("experiment", "found", "first other step", "final numbers differ by", "other figures", "", box=None)
    for c in found:
        first = "" if c.first is None else str(c.first)
        table.add_row(c.experiment, c.found, first, f"{c.difference:.2g}", str(c.figures), c.why)
    return table


def main() -> int:
    outputs, arguments = Path("outputs"), sys.argv[1:]
    for argument in arguments:
        option = argument.startswith("-") or "=" in argument
        if option and argument not in ("--keep", "ensembles=1", "ensembles=0"):
            raise ConfigError(f"{argument}: allowed are --keep, ensembles=1 and names of experiments")
    names = selected([a for a in arguments if not a.startswith("-") and "=" not in a])
    if "--keep" in arguments:
        if len(arguments) > 1:
            raise ConfigError(f"{' '.join(arguments)}: --keep keeps all runs and goes alone")
        keep(outputs)
        return 0
    if "ensembles=1" in arguments and not (outputs / "ledger.json").is_file():
        raise RunError(f"{outputs}/ledger.json is not there to compare with: make ensembles report")
    started, scratch = time.time(), outputs / ".verify" / str(os.getpid())
    try:
        found = verify_runs(outputs, scratch, names)
        judged = verify_ledger(outputs, scratch) if "ensembles=1" in arguments else None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    console.print(closing_table(found))
    kinds = [c.found for c in found] + ([judged] if judged else [])
    words = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("identical", "within tolerance", "different"))
    console.print(f"{len(found)} runs{' and the ledger' if judged else ''}: {words} ({time.time() - started:.1f} s)")
    return 1 if "different" in kinds else 0


if __name__ == "__main__":
    run_command(main)
