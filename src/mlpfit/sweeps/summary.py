"""summary.csv of a sweep, one row a job, from the finished runs.

swept keys      as given                      replicas, diverged, seconds    diverged: share of the
                replicas
job, failure    folder; why it has no numbers parameters, layers             of the net
sha256          of all other cells of the table
mse_*, truth_mse_*   p5, median, p95 over the replicas of the final error on the training rows, and
                     of the distance to the noise-free function there; a diverged replica counts as
                     infinite
fresh_mse_*     the same on ``FRESH`` new rows with new noise that no replica has seen
sharpness_start_*, sharpness_*   largest eigenvalue of the loss's Hessian before and after training,
                                 where asked for
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlpfit.config.catalogue import ready_sweep
from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.judging.statistics import QUANTILES, quantiles
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.run import Run, load_run

FRESH = 500
FRESH_SEED = 2**32 + 1  # no replica's: those stay below 2^32
FIRST = "job"  # the column after the swept keys
Row = dict[str, str]


def write(
    folder: Path,
    swept: Sequence[dict[str, str]],
    configs: Sequence[Config],
    failures: Sequence[str],
    ready: str | None,
) -> list[Row]:
    """Write the summary of these jobs; returns its rows."""
    sharpness = bool(ready and ready_sweep(ready).get("sharpness"))
    rows = [
        {
            **keys,
            "job": Path(config.output_dir).name,
            "failure": failure,
            **({} if failure else measured(config, sharpness)),
        }
        for keys, config, failure in zip(swept, configs, failures, strict=True)
    ]
    columns = list(
        dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    )
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


def measured(config: Config, sharpness: bool) -> Row:
    """The numbers of one finished job."""
    run = load_run(config.run_dir)
    found: dict[str, object] = {"replicas": run.replicas, "diverged": run.diverged.mean()}
    found |= {
        "parameters": sum((a + 1) * b for a, b in pairwise(config.units)),
        "layers": len(config.units) - 2,
    }
    quantities = {name: run.final(name) for name in ("mse", "truth_mse")} | {
        "fresh_mse": fresh_mse(run, config)
    }
    if sharpness:
        from mlpfit.sweeps.sharpness import sharpness as largest

        quantities |= {"sharpness_start": largest(run, 0), "sharpness": largest(run, None)}
    for name, values in quantities.items():
        lost = run.diverged if name != "sharpness_start" else False
        finite = np.where(lost | ~np.isfinite(values), np.inf, values)
        for word, value in zip(QUANTILES, quantiles(finite), strict=True):
            found[f"{name}_{word}"] = value
    found |= {"seconds": run.provenance["seconds"]}
    return {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in found.items()}


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


def fresh_mse(run: Run, config: Config) -> np.ndarray:
    """Mean squared error (R,) on new rows of the same function, in each replica's own standardised
    units."""
    new = replace(config.target, points=FRESH, observed=None, standardise=False)
    rows = new.rows(np.random.default_rng(FRESH_SEED))
    errors = []
    for part in run.parts or [run]:
        center, scale = part.data["center"][:, None], part.data["scale"][:, None]  # (R, 1, d + 1)
        x, y = (
            (rows.x - center[..., :-1]) / scale[..., :-1],
            (rows.y - center[..., -1:]) / scale[..., -1:],
        )
        with np.errstate(all="ignore"):  # diverged replicas
            errors.append(((part.predict(x) - y) ** 2).mean(axis=(1, 2)))
    return np.concatenate(errors)
