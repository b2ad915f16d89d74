"""Sweeps as rows of HParams, one a job: swept keys, and final numbers over the replicas."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mlpfit.runs.run import MARKER, load_run
from mlpfit.sweeps.summary import Row, read_summary
from mlpfit.tensorboard.events import add_curve, add_summary, skipping_damaged, write

MAX_TEXTS = 4  # legible on an axis of parallel coordinates
METRICS = ("mse_median", "truth_mse_median", "val_mse_median", "diverged", "seconds")


def write_sweeps(folder: Path) -> int:
    """Write event files of the finished jobs of all sweeps in this folder, and return their number.

    Every row has all keys swept anywhere, since parallel coordinates omit rows that lack one. A key
    that some jobs lack and the others have with few values becomes a text, "none" if absent.
    """
    jobs = finished_jobs(folder)
    text_keys = set()
    for key in jobs[0][2] if jobs else ():
        values = {choices[key] for *_, choices in jobs}
        if any(isinstance(v, str) for v in values) or (None in values and len(values) <= MAX_TEXTS):
            text_keys.add(key)
    written = 0
    for job, row, choices in jobs:
        choices |= {k: "none" if choices[k] is None else str(choices[k]) for k in text_keys}
        written += write(job, [row, choices], partial(add_row, row, choices))
    return written


def finished_jobs(folder: Path) -> list[tuple[Path, Row, dict[str, Any]]]:
    """Folder, row of the summary and choices (key -> value) of every job whose run exists."""
    swept: set[str] = set()
    rows: list[tuple[Path, Row]] = []
    for summary in sorted(folder.rglob("summary.csv")):
        with skipping_damaged():
            keys, jobs_of_sweep = read_summary(summary.parent)
            swept |= {*keys} - {"experiment"}
            finished = [row for row in jobs_of_sweep if not row["failure"]]
            rows += [(summary.parent / row["job"], row) for row in finished]
    jobs = []
    for job, row in rows:
        if (job / MARKER).is_file():
            with skipping_damaged():
                run = load_run(job)
                run.check()
                config = run.config
                choices: dict[str, Any] = {"sweep": str(job.parent.relative_to(folder))}
                choices |= {"experiment": config["name"]}
                choices |= {name: int(row[name]) for name in ("parameters", "layers")}
                choices |= {key: config_value(config, key) for key in sorted(swept)}
                jobs.append((job, row, choices))
    return jobs


def config_value(config: dict[str, Any], key: str) -> Any:
    """The value of "optimizer.lr": of a group its name, of a list its text; None if absent."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, int | float | str | None) else str(value)


def add_row(row: Row, choices: dict[str, Any], writer: SummaryWriter) -> None:
    """Add one row of HParams: choices, medians over the replicas and the share that diverged."""
    columns = [name for name in METRICS if row.get(name)]
    metrics = {f"final/{name.removesuffix('_median')}": float(row[name]) for name in columns}
    # Not add_hparams: it writes into another folder, with a list of columns that hides those for
    # which the first job has no number.
    for summary in hparams(choices, metrics)[1:]:
        add_summary(writer, summary, 0)
    for tag, value in metrics.items():
        add_curve(writer, tag, np.zeros(1, dtype=int), np.array([value]))
