"""Train everything again in another folder and compare it, bit for bit, with what is kept."""

import json
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from rich.table import Table

from mlpfit.commands.arguments import Parser
from mlpfit.commands.ensembles import ensemble_config, train_ensembles
from mlpfit.commands.reproduce import select_experiments
from mlpfit.config.catalogue import experiments, tutorial
from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.figures.draw import draw_all, drawings
from mlpfit.files import write_arrays
from mlpfit.judging import ledger
from mlpfit.runs.run import Run, load_run
from mlpfit.training.progress import console, counted
from mlpfit.training.train import train_runs

TOLERANCE = 1e-3  # of losses that the engine did not compute
REFERENCE = "reference"  # of the package's tutorials
FINAL = ("mse", "sse", "truth_mse")
Kind = Literal["identical", "same but for rounding", "different"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Numbers = dict[str, np.ndarray]

parser = Parser(
    "verify",
    "Train runs again in another folder and compare all their losses, final numbers "
    "and figures with those kept under outputs/: identical, or different. Exit code 1 if anything "
    "is different. A run that the compiled engine can't compute here (no C++ compiler, another "
    "device, an operation outside of it) is rounded differently; it is compared to 0.1 % in the "
    "steps before its recipe has amplified a rounding error to a tenth of that.",
)
parser.add_names("tutorial | experiment")
parser.add_argument(
    "--ensembles", action="store_true", help="also judge the ledger again, from new ensembles"
)
parser.add_argument(
    "--keep", action="store_true", help="train nothing; make the runs under outputs/ the reference"
)


@dataclass(frozen=True)
class Comparison:
    """Result for one run.

    first    first step whose loss differs
    figures  names of its figures that differ or are missing
    """

    experiment: str
    kind: Kind
    first: int | None
    figures: list[str]
    why: str = ""


def main() -> int:
    outputs, arguments = Path("outputs"), parser.parse()
    if arguments.keep and arguments.ensembles:
        parser.error("--keep trains nothing, so it takes no --ensembles")
    names = select_experiments(arguments.names)
    stems = list(dict.fromkeys(map(reference_name, names)))
    if arguments.keep:
        for stem in stems:
            write_reference(outputs, stem)
        return 0
    stored = {stem: read_reference(outputs, stem) for stem in stems}
    if arguments.ensembles:
        ledger.read(outputs)
    started, kinds = time.time(), []
    outputs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outputs, prefix=".verify-") as folder:
        scratch = Path(folder)
        train_runs([compose([f"experiment={name}", f"output_dir={scratch}"]) for name in names])
        draw_all(names, scratch)
        compared = [
            compare_run(name, outputs, scratch, stored[reference_name(name)][name])
            for name in names
        ]
        console.print(closing_table(compared))
        kinds += [comparison.kind for comparison in compared]
        if arguments.ensembles:
            kinds.append(verify_ledger(outputs, scratch))
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
    what = counted(len(names), "run") + " and the ledger" * arguments.ensembles
    console.print(f"{what}: {counts} ({time.time() - started:.1f} s)")
    return 1 if "different" in kinds else 0


def reference_name(experiment: str) -> str:
    """Name of the reference that has this experiment's run."""
    owner = tutorial(experiment)
    return REFERENCE if owner.packaged else f"{REFERENCE}-{owner.name}"


def reference_experiments(stem: str) -> list[str]:
    """The experiments in a reference."""
    return [name for name in experiments() if reference_name(name) == stem]


def numbers(run: Run) -> Numbers:
    """Numbers of a run in the reference: loss (steps,), final (3,) by ``FINAL``."""
    final = np.array([run.metrics[name][0] for name in FINAL])
    return {"loss": run.history["loss"][:, 0], "final": final}


def write_reference(outputs: Path, stem: str) -> None:
    """Write a reference from the finished runs."""
    runs = {name: load_run(outputs / "runs" / name) for name in reference_experiments(stem)}
    for name, run in runs.items():
        if reason := run.provenance["outside_engine"]:
            raise RunError(
                f"{run.path}: computed without the engine ({reason}), so others can't reproduce "
                f"its bits; train {name} again where the engine computes it"
            )
    arrays = {f"{name}/{k}": v for name, run in runs.items() for k, v in numbers(run).items()}
    write_arrays(outputs / f"{stem}.npz", arrays)
    console.print(f"{outputs}/{stem}.npz: {counted(len(runs), 'run')}")


def read_reference(outputs: Path, stem: str) -> dict[str, Numbers]:
    """Numbers of a reference by experiment. Raises RunError if one is missing or damaged."""
    restore = "restore it with git checkout, or " if stem == REFERENCE else ""
    names, file = reference_experiments(stem), outputs / f"{stem}.npz"
    remedy = f"{restore}make another with mlpfit verify --keep {names[0].split('/')[0]}"
    if not file.is_file():
        raise RunError(f"{file} is not there: {remedy}")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except Exception:  # numpy raises many kinds for damaged files
        raise RunError(f"{file}: damaged; {remedy}") from None
    if missing := [name for name in names if f"{name}/loss" not in content]:
        raise RunError(f"{file}: has no {', '.join(missing)}; {remedy}")
    return {name: {key: content[f"{name}/{key}"] for key in ("loss", "final")} for name in names}


def compare_run(name: str, outputs: Path, scratch: Path, stored: Numbers) -> Comparison:
    """Compare a run trained in scratch, and its figures, with what is kept under outputs."""
    run = load_run(scratch / "runs" / name)
    files = {d.name: f"figures/{d.name}.svg" for d in drawings() if d.experiment == name}
    figures = [n for n, file in files.items() if _bytes(scratch / file) != _bytes(outputs / file)]
    if reason := run.provenance["outside_engine"]:
        steps = steps_before_amplification(run, compose([f"experiment={name}"]))
        return compare_rounded(name, numbers(run), stored, steps, reason)
    return compare(name, numbers(run), stored, figures)


def compare(name: str, ours: Numbers, stored: Numbers, figures: list[str]) -> Comparison:
    """Compare the numbers of a run bit by bit; figures: those that differ."""
    steps, expected = len(ours["loss"]), len(stored["loss"])
    if steps != expected:
        why = f"{steps} steps, the reference has {expected}"
        return Comparison(name, "different", min(steps, expected) + 1, figures, why)
    differing = np.flatnonzero(~same(ours["loss"], stored["loss"]))
    if len(differing):
        return Comparison(name, "different", int(differing[0]) + 1, figures, "losses differ")
    if not same(ours["final"], stored["final"]).all():
        return Comparison(name, "different", None, figures, "final numbers differ")
    if figures:
        why = f"figures differ or are missing: {', '.join(figures)}"
        return Comparison(name, "different", None, figures, why)
    return Comparison(name, "identical", None, figures)


def compare_rounded(
    name: str, ours: Numbers, stored: Numbers, steps: int, reason: str
) -> Comparison:
    """Compare the losses of the first steps to within TOLERANCE."""
    if len(ours["loss"]) != len(stored["loss"]):
        return compare(name, ours, stored, [])
    ours_first, stored_first = ours["loss"][:steps], stored["loss"][:steps]
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.abs(ours_first / stored_first - 1) < TOLERANCE
    why = f"computed without the engine ({reason}); compared {counted(steps, 'step')}"
    if near.all():
        return Comparison(name, "same but for rounding", None, [], why)
    return Comparison(name, "different", int(np.argmin(near)) + 1, [], why)


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether numbers are equal, NaN to NaN."""
    return (a == b) | (np.isnan(a) & np.isnan(b))


def steps_before_amplification(run: Run, config: Config) -> int:
    """Number of first steps in which this recipe amplifies a rounding error to less than a tenth of
    TOLERANCE: it is trained again from initial weights of which each differs in its last digit."""
    from mlpfit.training.run import losses_from_perturbed_weights

    config = replace(config, output_dir=str(run.path))
    perturbed = losses_from_perturbed_weights(config)[:, 0]
    loss = run.history["loss"][: len(perturbed), 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = ~(np.abs(perturbed / loss - 1) < TOLERANCE / 10)
    return int(np.argmax(apart)) if apart.any() else len(loss)


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def verify_ledger(outputs: Path, scratch: Path) -> Kind:
    """Train all ensembles in scratch, judge the published numbers again, without variants, and
    compare with the ledger."""
    stored = ledger.read(outputs)
    train_ensembles([ensemble_config(name, [f"output_dir={scratch}"]) for name in experiments()])
    now = json.loads(json.dumps(ledger.ledger(ledger.ensembles(scratch))))
    if all(now[key] == stored[key] for key in ("numbers", "traces", "joint", "runs")):
        return "identical"
    before, after = ledger.verdicts(stored), ledger.verdicts(now)
    for key in (key for key in before if before[key] != after.get(key)):
        console.print(f"{key}: {before[key]}, now {after.get(key)}")
    pairs = zip(now["numbers"], stored["numbers"], strict=True)
    both = [(a["median"], b["median"]) for a, b in pairs if "median" in a and "median" in b]
    furthest = max((abs(a / b - 1) for a, b in both), default=math.nan)
    console.print(f"ledger: medians differ by up to {furthest:.2g}")
    return "different"


def closing_table(compared: list[Comparison]) -> Table:
    """Table of the comparisons."""
    table = Table("experiment", "result", "first differing step", "", box=None)
    for c in compared:
        table.add_row(c.experiment, c.kind, "" if c.first is None else str(c.first), c.why)
    return table
