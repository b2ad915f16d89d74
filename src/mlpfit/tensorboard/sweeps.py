"""A sweep as rows of HParams, one a job: swept keys and final numbers over the replicas."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mlpfit.runs.run import MARKER, load_run
from mlpfit.sweeps.summary import Row, read
from mlpfit.tensorboard.events import add_curve, add_summary, skipping_damaged, write

TEXTS = 4  # that are still legible on an axis of parallel coordinates
METRICS = ("mse_median", "truth_mse_median", "val_mse_median", "diverged", "seconds")


def write_sweeps(folder: Path) -> int:
    """Every finished job of every sweep below this folder; the number of event files written.

    All rows have the keys swept anywhere, since parallel coordinates leave out rows that lack one.
    A key that some jobs don't have, and the others in few values, is a text, "none" among them.
    """
    jobs = finished_jobs(folder)
    texts = set()
    for key in jobs[0][2] if jobs else ():
        values = {choices[key] for *_, choices in jobs}
        if any(isinstance(v, str) for v in values) or (None in values and len(values) <= TEXTS):
            texts.add(key)
    written = 0
    for job, row, choices in jobs:
        choices |= {k: str(v) for k in texts if (v := choices[k]) is not None}
        choices |= {k: "none" for k in texts if choices[k] is None}
        written += write(job, [row, choices], partial(add_row, row, choices))
    return written


def finished_jobs(folder: Path) -> list[tuple[Path, Row, dict[str, Any]]]:
    """Folder, row of the summary and choices of every job whose run is still there."""
    swept: set[str] = set()
    rows: list[tuple[Path, Row]] = []
    for summary in sorted(folder.rglob("summary.csv")):
        with skipping_damaged():
            keys, of_sweep = read(summary.parent)
            swept |= {*keys} - {"experiment"}
            rows += [(summary.parent / row["job"], row) for row in of_sweep if not row["failure"]]
    jobs = []
    for job, row in rows:
        if (job / MARKER).is_file():
            with skipping_damaged():
                config = load_run(job).config
                choices: dict[str, Any] = {"sweep": str(job.parent.relative_to(folder))}
                choices |= {"experiment": config["name"]}
                choices |= {name: int(row[name]) for name in ("parameters", "layers")}
                choices |= {key: looked_up(config, key) for key in sorted(swept)}
                jobs.append((job, row, choices))
    return jobs


def looked_up(config: dict[str, Any], key: str) -> Any:
    """optimizer.lr -> config["optimizer"]["lr"], a group's name, a list as text; else None."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, int | float | str | None) else str(value)


def add_row(row: Row, choices: dict[str, Any], writer: SummaryWriter) -> None:
    """One row of HParams: choices, medians over the replicas and the share that diverged."""
    known = [name for name in METRICS if row.get(name)]
    metrics = {f"final/{name.removesuffix('_median')}": float(row[name]) for name in known}
    # Not add_hparams: it writes into a folder of its own, and a list of columns that hides those
    # which the first job has no number for.
    for summary in hparams(choices, metrics)[1:]:
        add_summary(writer, summary, 0)
    for tag, value in metrics.items():
        add_curve(writer, tag, np.zeros(1, dtype=int), np.array([value]))
