"""Files in the folder of a sweep.

sweep.json           swept keys, start of the command, the jobs of a grid, the metric that a search
                     minimises
<job>/job.json       in each job's folder, which is its run folder: overrides, and why it failed
summary.csv          one row per job, from the finished runs, in these columns:

swept keys           as given
job, failure         folder; why it failed, else empty
replicas, diverged, seconds   diverged: share of the replicas
parameters, layers   numbers of parameters and of hidden layers
mse_*, truth_mse_*, val_mse_*   p5, median, p95 over the replicas of the final error on the training
                     rows, the distance to the noise-free function, and the error on fresh rows, a
                     diverged replica counting as infinite; *_low, *_high: 95 % interval of the
                     median
sharpness_start_*, sharpness_*   the same of the largest eigenvalue of the loss's Hessian before and
                     after training, if requested
"""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.config.catalogue import ready_sweep, ready_sweeps
from mlpfit.errors import Diverged, RunError
from mlpfit.files import read_file, write_file, write_table
from mlpfit.judging.statistics import QUANTILES, median_interval, quantiles
from mlpfit.runs.run import JOB, Run, load_run
from mlpfit.training.progress import doing

if TYPE_CHECKING:
    from pandas import DataFrame

SWEEP = "sweep.json"
UNKNOWN = "no exit status recorded: killed, or never started"
OTHER_RUN = "its folder holds a run of other settings or of other code"
JOB_COLUMN, FAILURE = "job", "failure"  # they follow the swept keys; all after them are numbers
FEWEST = 6  # replicas whose least and largest values hold the median with 95 %
QUANTITIES = ("mse", "truth_mse", "val_mse")
COUNTS = ("replicas", "parameters", "layers")
Row = dict[str, Any]  # of the summary: swept keys as texts, numbers as written, or None for none


@dataclass(frozen=True)
class Job:
    """Record of a job. identity: hash of its run's identity, None if its config was refused."""

    number: int
    overrides: tuple[str, ...]
    started: str  # of the sweep
    identity: str | None
    failure: str | None = None

    def write(self, folder: Path) -> None:
        write_file(folder / JOB, json.dumps(asdict(self), indent=1).encode())

    def outcome(self, folder: Path) -> str:
        """Why the job is not finished, or ""."""
        if self.failure is not None:
            return self.failure
        try:
            run = load_run(folder)
            run.check_files()
        except RunError as error:
            return str(error) if (folder / "complete.json").exists() else UNKNOWN
        return "" if identity_hash(run.identity) == self.identity else OTHER_RUN


def sweep_name(folder: Path) -> str:
    """Name of the sweep in this folder, "tower/width_and_depth"."""
    return str(folder).rpartition("sweeps/")[2]


def ready_sweep_name(folder: Path) -> str | None:
    """Name of the ready sweep in this folder, which may have other replicas or seeds; None if it is
    not a ready sweep, or has other overrides."""
    name, *settings = sweep_name(folder).split(",")
    unchanged = all(setting.startswith(("replicas=", "seeds=")) for setting in settings)
    return name if unchanged and name in ready_sweeps() else None


def figure_sweep_name(folder: Path, keys: Sequence[str]) -> str | None:
    """Name of the ready sweep whose figure suits the sweep in this folder: it sweeps the same keys,
    perhaps with other overrides; None if there is none."""
    name = sweep_name(folder).split(",")[0]
    return name if name in ready_sweeps() and {*ready_sweep(name).params} == {*keys} else None


def identity_hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def write_sweep(folder: Path, content: Mapping[str, Any]) -> None:
    """Write sweep.json, at the start of the command: keys, started, jobs (folder -> overrides; not
    of a search) and notes, see :func:`sweep_note`."""
    write_file(folder / SWEEP, json.dumps(content, indent=1).encode())


def read_sweep(
    folder: Path, content: Mapping[str, Any] | None = None
) -> tuple[list[str], dict[Path, Job]]:
    """The swept keys, and the jobs of the last command, or of that with this content of sweep.json,
    by folder, in order; those of a search that have started. Raises RunError."""
    try:
        content = content or json.loads(read_file(folder / SWEEP))
        if (planned := content.get("jobs")) is not None:
            jobs = {
                folder / name: _read_job(folder / name, number, tuple(overrides))
                for number, (name, overrides) in enumerate(planned.items())
            }
            return list(content["keys"]), jobs
        jobs = {file.parent: _load_job(file) for file in folder.glob(f"*/{JOB}")}
        last = [(path, job) for path, job in jobs.items() if job.started == content["started"]]
        return list(content["keys"]), dict(sorted(last, key=lambda item: item[1].number))
    except OSError:
        raise RunError(f"{folder}: no sweep here (no {SWEEP}); run it first") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RunError(f"{folder}: {SWEEP} or a {JOB} is damaged; run the sweep again") from None


def record_failures(folder: Path, content: Mapping[str, Any], reasons: Mapping[int, str]) -> None:
    """Record why jobs of a sweep were killed, as its launcher knows by their numbers."""
    for path, job in read_sweep(folder, content)[1].items():
        if (reason := reasons.get(job.number)) and job.outcome(path) == UNKNOWN:
            replace(job, failure=reason).write(path)


def _load_job(file: Path) -> Job:
    fields = json.loads(read_file(file))
    return Job(**fields | {"overrides": tuple(fields["overrides"])})


def _read_job(folder: Path, number: int, overrides: tuple[str, ...]) -> Job:
    """The record of a planned job; one without identity if the folder has none, or another's."""
    with suppress(FileNotFoundError, NotADirectoryError):
        job = _load_job(folder / JOB)
        if job.overrides == overrides:
            return replace(job, number=number)
    return Job(number, overrides, "", None)


def sweep_note(sweep: Path, key: str) -> Any:
    """A value of sweep.json: when the command was "started", the metric that a "search" minimises,
    whether "sharpness" is requested. None if it is missing."""
    try:
        return json.loads(read_file(sweep / SWEEP))[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def diverged(failure: str) -> bool:
    """Whether a job failed because its loss was not finite."""
    return failure.startswith(Diverged.__name__)


def objective(run: Run, metric: str) -> float:
    """Median of a final number over the replicas; diverged ones count as infinite."""
    return float(quantiles(run.final(metric), (0.5,))[0])


def write_summary(folder: Path, content: Mapping[str, Any] | None = None) -> list[Row]:
    """Write summary.csv from the folders of the jobs, see :func:`read_sweep`. Returns its rows."""
    keys, jobs = read_sweep(folder, content)
    metric, sharpness = sweep_note(folder, "search"), sweep_note(folder, "sharpness")
    rows: list[Row] = []
    with doing(lambda seconds: f"{len(rows)} of {len(jobs)} jobs summarised"):
        for path, job in jobs.items():
            failure, values = job.outcome(path), dict(o.partition("=")[::2] for o in job.overrides)
            row = {key: values.get(key, "") for key in keys}
            row |= {JOB_COLUMN: str(path.relative_to(folder)), FAILURE: failure}
            rows.append(
                row | ({} if failure else numbers_of_run(load_run(path), sharpness, metric))
            )
    longest_first = sorted(rows, key=len, reverse=True)
    columns = list(dict.fromkeys(name for row in longest_first for name in row))
    rows = [{name: row.get(name) for name in columns} for row in rows]
    write_table(folder / "summary.csv", columns, map(texts_of, rows))
    return rows


def texts_of(row: Row) -> dict[str, str]:
    """A row as it is written."""
    return {
        name: "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in row.items()
    }


def read_summary(folder: Path) -> tuple[list[str], list[Row]]:
    """The swept keys and the rows of a summary, with None for what a failed job lacks. Raises
    RunError if it is missing or damaged."""
    file = folder / "summary.csv"
    try:
        columns, *lines = csv.reader(read_file(file).decode().splitlines())
        texts = columns.index(FAILURE) + 1
        keys = columns[: texts - 2]
        rows: list[Row] = []
        for line in lines:
            row: Row = dict(zip(columns, line, strict=True))
            rows.append(row | {name: _number(name, row[name]) for name in columns[texts:]})
        if rows and columns[texts - 2] == JOB_COLUMN:
            return keys, rows
    except FileNotFoundError:
        raise RunError(f"{file} is not there: run the sweep first") from None
    except (OSError, ValueError, csv.Error):
        pass  # not text, not a table, a missing column, or a text for a number
    remedy = "run the sweep again, it trains nothing that is complete"
    raise RunError(f"{file}: damaged; {remedy}")


def _number(column: str, text: str) -> float | None:
    return None if text == "" else int(text) if column in COUNTS else float(text)


def read_table(folder: Path) -> "DataFrame":
    """:func:`read_summary` as a table, with NaN for None. Raises RunError."""
    from pandas import DataFrame  # here, since it takes a second

    keys, rows = read_summary(folder)
    table = DataFrame(rows)
    kinds = {name: "Int64" if name in COUNTS else float for name in table.columns}
    return table.astype({n: k for n, k in kinds.items() if n not in (*keys, JOB_COLUMN, FAILURE)})


def numbers_of_run(run: Run, sharpness: bool, metric: str | None = None) -> Row:
    """Numbers of a finished job for its row, of six digits; metric: what a search minimises."""
    layers = [weight.shape[1:] for weight, _ in run.parameters()]
    parameters = sum((fan_in + 1) * width for fan_in, width in layers)
    values: Row = {"replicas": run.replicas, "diverged": run.diverged.mean()}
    values |= {"parameters": parameters, "layers": len(layers) - 1}
    names = dict.fromkeys([*QUANTITIES, metric or "mse"])
    quantities = {name: run.final(name) for name in names if name in run.metrics}
    if sharpness:
        final = np.where(run.diverged, np.inf, sharpness_at(run, None))
        quantities |= {"sharpness_start": sharpness_at(run, 0), "sharpness": final}
    for name, numbers in quantities.items():
        for quantile, value in zip(QUANTILES, quantiles(numbers), strict=True):
            values[f"{name}_{quantile}"] = value
        values[f"{name}_low"], values[f"{name}_high"] = median_interval(numbers)
    values |= {"seconds": run.provenance["seconds"]}
    return {k: v if k in COUNTS else float(f"{v:.6g}") for k, v in values.items()}


def sharpness_at(run: Run, step: int | None) -> np.ndarray:
    """Sharpness of the loss on all training rows after this step (None: the last): (R,)."""
    from mlpfit.model.sharpness import sharpness  # here, since it imports torch

    layers, x, y = run.parameters(step), run.data["x"], run.data["y"]
    kinds = run.config["loss"], run.config["model"]["activation"]
    arrays = [array for layer in layers for array in layer] + [x, y]
    content = [str((array.dtype, array.shape)).encode() + array.tobytes() for array in arrays]
    problem = hashlib.sha256(b"".join(content) + str(kinds).encode()).digest()
    if problem not in _known:
        _known[problem] = sharpness(layers, x, y, *kinds)
    return _known[problem]


_known: dict[bytes, np.ndarray] = {}  # sharpness of what a summary has met: its jobs begin alike


def stability_of(rows: list[Row], x: str) -> tuple[float, float, float, float | None]:
    """Quantiles 5 %, 50 %, 95 % of 2 / sharpness at the minima, from the job with the smallest x
    and then the lowest error; and the largest x up to which no replica diverged, or None."""
    slowest = min(rows, key=lambda row: (float(row[x]), row["mse_median"]))
    low, middle, high = (2 / slowest[f"sharpness_{q}"] for q in ("p95", "median", "p5"))
    diverging = min((float(row[x]) for row in rows if row["diverged"] > 0), default=np.inf)
    stable = [float(row[x]) for row in rows if float(row[x]) < diverging]
    return low, middle, high, max(stable, default=None)


@dataclass(frozen=True)
class Median:
    """Median of a number over a job's replicas, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isinf(self.low):
            return f"{self.value:.3g} (too few replicas for an interval)"
        return f"{self.value:.3g} (95 %: {self.low:.3g} to {self.high:.3g})"

    def apart(self, other: "Median") -> bool:
        """Whether the intervals do not overlap."""
        return self.high < other.low or other.high < self.low


def interval(row: Row, quantity: str = "mse") -> Median:
    """A row's median of a quantity with its interval."""
    value, low, high = (row[f"{quantity}_{end}"] for end in ("median", "low", "high"))
    if row["replicas"] < FEWEST:
        low, high = -np.inf, np.inf
    return Median(value, low, high)


def median(row: Row) -> float:
    """A row's median of the error on the training rows."""
    return row["mse_median"]


def alike(best: Row, rows: Sequence[Row], key: str) -> str:
    """Jobs whose interval overlaps that of the best, by key: ", not distinguishable from 4, 8"."""
    others = (row for row in rows if row is not best)
    names = ", ".join(row[key] for row in others if not interval(row).apart(interval(best)))
    return f", not distinguishable from {names}" if names else ""
