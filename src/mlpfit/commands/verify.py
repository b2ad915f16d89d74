"""Train everything again in another folder and compare it with the reference: make verify

    mlpfit verify [ensembles=1] [tutorial | experiment ...]
    mlpfit verify --keep [tutorial ...]        # make the runs under outputs/ the reference

outputs/reference.npz has all losses and the final numbers of every published run; reference.json
has the machine and versions that computed them, and the SHA-256 of that file and of all other files
kept under outputs/. A user's tutorial has its own reference-<tutorial>. The result for a run is

identical          all losses, final numbers and figures are bit for bit equal, as required on a
                   machine like the reference's
within tolerance   only if machine or versions differ, since they round differently: all losses and
                   final numbers within 0.1 %; for recipes that amplify rounding errors
                   (``sensitive`` in published.yaml) the first ``EARLY`` losses within 0.1 %, the
                   median loss of each twentieth of the run and the final numbers within ``FACTOR``
different          anything else: another recipe, other code, a damaged file; exit code 1

With ensembles=1 the ledger is also computed again from new ensembles: identical, within tolerance
(the same verdicts on another machine), or different.
"""

import io
import json
import math
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.table import Table

from mlpfit import sealed
from mlpfit.commands.ensembles import ensemble_config, train_ensembles
from mlpfit.commands.reproduce import select_experiments
from mlpfit.config.catalogue import experiments, tutorial
from mlpfit.config.compose import compose
from mlpfit.errors import ConfigError, RunError
from mlpfit.figures.draw import draw_all, drawings
from mlpfit.files import sha256, write_file
from mlpfit.judging import ledger, published
from mlpfit.runs.run import Run, differences, load_run
from mlpfit.training.progress import console, counted
from mlpfit.training.train import train_all

EARLY, TOLERANCE, FACTOR, SECTIONS = 10, 1e-3, 3.0, 20
REFERENCE = "reference"  # of the package's tutorials
FINAL = ("mse", "sse", "truth_mse")
MACHINE = ("versions", "platform", "processor", "processor_kind", "capability", "threads")
Kind = Literal["identical", "within tolerance", "different"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Result for one run.

    first       first step whose loss differs
    difference  largest relative difference of the final numbers
    figures     number of its figures that differ
    """

    experiment: str
    kind: Kind
    first: int | None
    difference: float
    figures: int
    why: str = ""


def numbers(run: Run) -> Numbers:
    """Numbers of a run in the reference: loss (steps,), final (3,) by ``FINAL``."""
    final = np.array([run.metrics[name][0] for name in FINAL])
    return {"loss": run.history["loss"][:, 0], "final": final}


def compare(name: str, ours: Numbers, stored: Numbers, figures: int, alike: bool) -> Comparison:
    """Compare a run with the reference; figures: how many differ; alike: on an equal machine."""
    steps, expected = len(ours["loss"]), len(stored["loss"])
    if steps != expected:
        why = f"{steps} steps, the reference has {expected}"
        return Comparison(name, "different", min(steps, expected) + 1, math.inf, figures, why)
    differing = np.flatnonzero(ours["loss"] != stored["loss"])
    first = int(differing[0]) + 1 if len(differing) else None
    difference = float(relative_difference(ours["final"], stored["final"]).max())
    kind: Kind = "different"
    if first is None and difference == 0:
        kind = "identical" if not figures else "different" if alike else "within tolerance"
        why = "same numbers, different or missing figures" if figures else ""
    elif alike:
        why = "same machine, different numbers"
    elif within_tolerance(name, ours, stored):
        kind, why = "within tolerance", ""
    else:
        why = "beyond the tolerance"
    return Comparison(name, kind, first, difference, figures, why)


def within_tolerance(name: str, ours: Numbers, stored: Numbers) -> bool:
    """Whether they differ by rounding only, see above; NaN is never within the tolerance."""
    deviation = {key: relative_difference(ours[key], stored[key]) for key in ("loss", "final")}
    if not published.amplifies_rounding(name):
        return all(bool((values < TOLERANCE).all()) for values in deviation.values())
    ratios = [
        ours["final"] / stored["final"],
        section_medians(ours["loss"]) / section_medians(stored["loss"]),
    ]
    near = all(bool((np.abs(np.log(ratio)) < np.log(FACTOR)).all()) for ratio in ratios)
    return near and bool((deviation["loss"][:EARLY] < TOLERANCE).all())


def section_medians(loss: np.ndarray) -> np.ndarray:
    """Median of the loss in each of ``SECTIONS`` sections of the run."""
    return np.array([np.median(part) for part in np.array_split(loss, min(SECTIONS, len(loss)))])


def relative_difference(ours: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Relative differences, 0 for equal values, also infinite ones."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ours == stored, 0.0, np.abs(ours / stored - 1))


def reference_name(experiment: str) -> str:
    """Name of the reference that has this experiment's run."""
    owner = tutorial(experiment)
    return REFERENCE if owner.packaged else f"{REFERENCE}-{owner.name}"


def reference_experiments(stem: str) -> list[str]:
    """The experiments in a reference."""
    return [name for name in experiments() if reference_name(name) == stem]


def write_reference(outputs: Path, stem: str) -> None:
    """Write a reference from the finished runs."""
    runs = {name: load_run(outputs / "runs" / name) for name in reference_experiments(stem)}
    arrays = {f"{name}/{k}": v for name, run in runs.items() for k, v in numbers(run).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_file(outputs / f"{stem}.npz", buffer.getvalue())
    content = {"machine": machine(next(iter(runs.values()))), "files": kept_files(outputs, stem)}
    write_file(outputs / f"{stem}.json", sealed.json_bytes(content))
    made = counted(len(content["files"]) - 1, "file")
    console.print(f"{outputs}/{stem}.npz: {counted(len(runs), 'run')}, {made} made from them")


def kept_files(outputs: Path, stem: str = REFERENCE) -> dict[str, str]:
    """SHA-256 of the reference's npz and of the files made from its runs, by path in outputs."""
    patterns = ["ledger.*", "results.csv"] if stem == REFERENCE else []
    for owner in dict.fromkeys(name.split("/")[0] for name in reference_experiments(stem)):
        patterns += [f"figures/{owner}/*.svg", f"sweeps/{owner}/*/summary.csv"]
        patterns += [f"sweeps/{owner}/*/figure.svg"]
    files = sorted(file for pattern in patterns for file in outputs.glob(pattern))
    files = [outputs / f"{stem}.npz", *files]
    return {str(file.relative_to(outputs)): sha256(file) for file in files}


def machine(run: Run) -> dict[str, Any]:
    """The machine and versions of a run, on which rounding depends."""
    return {key: run.provenance[key] for key in MACHINE}


def read_reference(
    outputs: Path, stem: str = REFERENCE
) -> tuple[dict[str, Numbers], dict[str, Any]]:
    """Numbers of a reference by experiment, and its JSON. Raises RunError if one is missing or
    damaged."""
    restore = "restore it with git checkout, or " if stem == REFERENCE else ""
    names = reference_experiments(stem)
    remedy = f"{restore}make another with mlpfit verify --keep {names[0].split('/')[0]}"
    content = sealed.read_json(outputs / f"{stem}.json", remedy)
    file = outputs / f"{stem}.npz"
    if not file.is_file():
        raise RunError(f"{file} is not there: {remedy}")
    if sha256(file) != content["files"][file.name]:
        raise RunError(f"{file}: not as it was written; {remedy}")
    with np.load(file, allow_pickle=False) as arrays:
        if missing := [name for name in names if f"{name}/loss" not in arrays]:
            raise RunError(f"{file}: has no {', '.join(missing)}; {remedy}")
        keys = ("loss", "final")
        stored = {name: {key: arrays[f"{name}/{key}"] for key in keys} for name in names}
    return stored, content


def verify_runs(
    outputs: Path, scratch: Path, stem: str, names: list[str]
) -> tuple[list[Comparison], list[str], bool]:
    """Train these runs of a reference in scratch and compare each with it. Returns the comparisons,
    the kept files that have changed, and whether the machine equals the reference's."""
    stored, content = read_reference(outputs, stem)
    train_all([compose([f"experiment={name}", f"output_dir={scratch}"]) for name in names])
    draw_all(names, scratch)
    differing = differences(content["machine"], machine(load_run(scratch / "runs" / names[0])))
    console.print(f"machine: {'; '.join(differing) if differing else 'as that of the reference'}")
    compared = []
    for name in names:
        files = [f"figures/{d.name}.svg" for d in drawings() if d.experiment == name]
        figures = sum(_bytes(scratch / file) != _bytes(outputs / file) for file in files)
        ours = numbers(load_run(scratch / "runs" / name))
        compared.append(compare(name, ours, stored[name], figures, alike=not differing))
    changed = changed_files(outputs, content["files"], stem)
    return compared, changed, not differing


def changed_files(outputs: Path, stored: dict[str, str], stem: str = REFERENCE) -> list[str]:
    """Files under outputs/ that have changed since the reference was written, or are missing."""
    current = kept_files(outputs, stem)
    return sorted(name for name in stored if current.get(name) != stored[name])


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def verify_ledger(outputs: Path, scratch: Path, alike: bool) -> Kind:
    """Train all ensembles in scratch, judge the published numbers again, without variants, and
    compare with the ledger."""
    stored = sealed.read_ledger(outputs)
    train_ensembles([ensemble_config(name, [f"output_dir={scratch}"]) for name in experiments()])
    now = json.loads(json.dumps(ledger.ledger(ledger.ensembles(scratch))))
    if all(now[key] == stored[key] for key in ("numbers", "traces", "joint", "runs")):
        return "identical"
    before, after = ledger.verdicts(stored), ledger.verdicts(now)
    for key in (key for key in before if before[key] != after.get(key)):
        console.print(f"{key}: {before[key]}, now {after.get(key)}")
    pairs = zip(now["numbers"], stored["numbers"], strict=True)
    both = [(a["median"], b["median"]) for a, b in pairs if "median" in a and "median" in b]
    furthest = max((abs(a / b - 1) for a, b in both), default=0)
    console.print(f"ledger: medians differ by up to {furthest:.2g}")
    return "within tolerance" if before == after and not alike else "different"


def closing_table(compared: list[Comparison]) -> Table:
    """Table of the comparisons."""
    heads = ("experiment", "found", "first other step", "final numbers differ by", "other figures")
    table = Table(*heads, "", box=None)
    for c in compared:
        first = "" if c.first is None else str(c.first)
        table.add_row(c.experiment, c.kind, first, f"{c.difference:.2g}", str(c.figures), c.why)
    return table


def parse_arguments(arguments: list[str]) -> list[str]:
    """The experiments named by the arguments. Raises ConfigError for an unknown option or name."""
    options = [a for a in arguments if a.startswith("-") or "=" in a]
    if unknown := [a for a in options if a not in ("--keep", "ensembles=1", "ensembles=0")]:
        raise ConfigError(f"{unknown[0]}: allowed are --keep, ensembles=1 and names of experiments")
    if "--keep" in options and len(options) > 1:
        raise ConfigError(f"{' '.join(options)}: --keep trains nothing and takes no ensembles")
    return select_experiments([a for a in arguments if a not in options])


def main() -> int:
    outputs, arguments = Path("outputs"), sys.argv[1:]
    names, judging = parse_arguments(arguments), "ensembles=1" in arguments
    stems = list(dict.fromkeys(map(reference_name, names)))
    if "--keep" in arguments:
        for stem in stems:
            write_reference(outputs, stem)
        return 0
    if judging and not (outputs / "ledger.json").is_file():
        raise RunError(
            f"{outputs}/ledger.json is not there to compare with: run make ensembles report"
        )
    started = time.time()
    (outputs / ".verify").mkdir(parents=True, exist_ok=True)
    own = tempfile.TemporaryDirectory(dir=outputs / ".verify", ignore_cleanup_errors=True)
    scratch = Path(own.name)
    kinds: list[Kind] = []
    failed = False
    try:
        for stem in stems:
            selected_names = [name for name in names if reference_name(name) == stem]
            compared, changed, alike = verify_runs(outputs, scratch, stem, selected_names)
            console.print(closing_table(compared))
            if changed:
                where = "" if alike else " (made on this machine?)"
                console.print(f"not as kept: {', '.join(changed)}{where}", soft_wrap=True)
            kinds += [c.kind for c in compared]
            failed |= bool(changed) and alike
        if judging:
            kinds.append(verify_ledger(outputs, scratch, alike))
    finally:
        own.cleanup()
        with suppress(OSError):  # not empty: another verify is running
            scratch.parent.rmdir()
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS)
    what = counted(len(names), "run") + " and the ledger" * judging
    console.print(f"{what}: {counts} ({time.time() - started:.1f} s)")
    return 1 if "different" in kinds or failed else 0
