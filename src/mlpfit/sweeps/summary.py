"""summary.csv of a sweep, one row a job, from the finished runs.

swept keys           as given
job, failure         folder; why it has no numbers
replicas, diverged, seconds   diverged: share of the replicas
parameters, layers   of the net
mse_*, truth_mse_*, val_mse_*   p5, median, p95 over the replicas of the final error on the training
                     rows, the distance to the noise-free function there, and the error on fresh
                     rows; a diverged replica counts as infinite; and *_low, *_high, the 95 %
                     interval of the median
sharpness_start_*, sharpness_*   largest eigenvalue of the loss's Hessian before and after training,
                     where asked for
sha256               of all other cells of the table
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlpfit.errors import RunError
from mlpfit.judging.statistics import QUANTILES, median_interval, quantiles
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.run import Run, load_run
from mlpfit.sweeps.jobs import read_sweep, searched_in

FIRST = "job"  # the column after the swept keys
QUANTITIES = ("mse", "truth_mse", "val_mse")
Row = dict[str, str]


def write(folder: Path, sharpness: bool) -> list[Row]:
    """Write the summary of a sweep's jobs from their folders; returns its rows."""
    keys, jobs = read_sweep(folder)
    searched = searched_in(folder)
    rows: list[Row] = []
    for path, job in jobs.items():
        failure = job.outcome(path)
        row = {key: job.value_of(key) for key in keys} | {"job": path.name, "failure": failure}
        rows.append(row | ({} if failure else measured(load_run(path), sharpness, searched)))
    widest = sorted(rows, key=len, reverse=True)
    columns = list(dict.fromkeys(name for row in widest for name in row))
    rows = [{name: row.get(name, "") for name in columns} for row in rows]
    seal = {sealed.KEY: sealed.table_hash(rows)}
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *seal], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | seal for row in rows)
    write_file(folder / "summary.csv", text.getvalue().encode())
    return rows


def read(folder: Path) -> tuple[list[str], list[Row]]:
    """The swept keys and the rows. Raises RunError if there is no summary, or it is not as it was
    written."""
    file = folder / "summary.csv"
    try:
        with open(file, newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        seals = {row.pop(sealed.KEY) for row in rows}
        if seals == {sealed.table_hash(rows)}:
            columns = list(rows[0])
            return columns[: columns.index(FIRST)], rows
    except OSError:
        raise RunError(f"{file} is not there: run the sweep first") from None
    except (ValueError, KeyError, csv.Error):
        pass  # not text, no table, no such column
    raise RunError(
        f"{file}: not as it was written; run the sweep again, it trains nothing that is complete"
    )


def measured(run: Run, sharpness: bool, searched: str | None = None) -> Row:
    """The numbers of one finished job; searched: of what a search finds the least."""
    layers = [weight.shape[1:] for weight, _ in run.parameters()]
    parameters = sum((fan_in + 1) * width for fan_in, width in layers)
    values: dict[str, object] = {"replicas": run.replicas, "diverged": run.diverged.mean()}
    values |= {"parameters": parameters, "layers": len(layers) - 1}
    quantities = {
        name: run.final(name)
        for name in dict.fromkeys([*QUANTITIES, searched or "mse"])
        if name in run.metrics
    }
    if sharpness:
        from mlpfit.judging.sharpness import sharpness as largest

        final = np.where(run.diverged, np.inf, largest(run, None))
        quantities |= {"sharpness_start": largest(run, 0), "sharpness": final}
    for name, numbers in quantities.items():
        for quantile, value in zip(QUANTILES, quantiles(numbers), strict=True):
            values[f"{name}_{quantile}"] = value
        values[f"{name}_low"], values[f"{name}_high"] = median_interval(numbers)
    values |= {"seconds": run.provenance["seconds"]}
    return {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in values.items()}


def stability_of(rows: list[Row], x: str) -> tuple[float, float, float, float | None]:
    """2 / sharpness at the minima of the job with the smallest x that has come furthest: 5 %,
    median, 95 %; and the largest x up to which no replica of any job diverged (None: not even at
    the smallest)."""
    gentle = min(rows, key=lambda row: (float(row[x]), float(row["mse_median"])))
    low, middle, high = (2 / float(gentle[f"sharpness_{q}"]) for q in ("p95", "median", "p5"))
    lossy = [float(row[x]) for row in rows if float(row["diverged"]) > 0]
    kept = [
        value for value in (float(row[x]) for row in rows) if value < min(lossy, default=np.inf)
    ]
    return low, middle, high, max(kept, default=None)


@dataclass(frozen=True)
class Median:
    """Of a number over a job's replicas, with its 95 % interval (bootstrap)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def apart(self, other: "Median") -> bool:
        """Whether the intervals have nothing in common: otherwise not distinguishable."""
        return self.high < other.low or other.high < self.low


def interval(row: Row, quantity: str = "mse") -> Median:
    """The median with its interval."""
    return Median(*(float(row[f"{quantity}_{end}"]) for end in ("median", "low", "high")))


def median(row: Row) -> float:
    """Of the error on the training rows, over the replicas."""
    return float(row["mse_median"])
