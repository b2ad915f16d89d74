"""Sweeps as rows of HParams, one a job: swept keys, and final numbers over the replicas."""

from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mlpfit.runs.run import MARKER, load_run
from mlpfit.sweeps.summary import read_summary
from mlpfit.tensorboard.events import leaving_out, write_events

MAX_TEXTS = 4  # legible on an axis of parallel coordinates
METRICS = ("mse_median", "truth_mse_median", "val_mse_median", "diverged", "seconds")
Values = dict[str, Any]


def write_sweeps(folder: Path) -> int:
    """Write event files of the finished jobs of all sweeps in this folder, and return their number.

    Every row has all keys swept anywhere, since parallel coordinates leave out rows that lack one.
    A key that some jobs lack and the others have with few values becomes a text, "none" if absent.
    """
    swept: set[str] = set()
    jobs: list[tuple[Path, Values, Values]] = []  # folder, config, row of the summary
    for summary in sorted(folder.rglob("summary.csv")):
        with leaving_out(summary.parent):
            keys, rows = read_summary(summary.parent)
            swept |= {*keys} - {"experiment"}
            for row in rows:
                job = summary.parent / row["job"]
                if not row["failure"] and (job / MARKER).is_file():  # it can be kept without runs
                    with leaving_out(job):
                        jobs.append((job, load_run(job).config, row))
    columns = {key: [config_value(config, key) for _, config, _ in jobs] for key in sorted(swept)}
    for key, values in columns.items():
        few = None in values and len({*values}) <= MAX_TEXTS
        if few or any(isinstance(value, str) for value in values):
            columns[key] = ["none" if value is None else str(value) for value in values]
    written = 0
    for index, (job, config, row) in enumerate(jobs):
        choices = {"sweep": str(job.parent.relative_to(folder)), "experiment": config["name"]}
        choices |= {name: row[name] for name in ("parameters", "layers")}
        choices |= {key: values[index] for key, values in columns.items()}
        names = [name for name in METRICS if row.get(name) is not None]
        metrics = {f"final/{name.removesuffix('_median')}": row[name] for name in names}
        written += write_events(job, [choices, metrics], partial(add_row, choices, metrics))
    return written


def config_value(config: Values, key: str) -> Any:
    """The value of "optimizer.lr": of a group its name, of a list its text; None if absent."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, int | float | str | None) else str(value)


def add_row(choices: Values, metrics: dict[str, float], writer: SummaryWriter) -> None:
    """Add one row of HParams."""
    assert writer.file_writer is not None  # open
    # Not add_hparams: it also writes a list of columns, and the first job's list hides columns for
    # which that job has no value.
    for summary in hparams(choices, metrics)[1:]:
        writer.file_writer.add_summary(summary, 0)
    for tag, value in metrics.items():
        writer.add_scalar(tag, value, 0)
