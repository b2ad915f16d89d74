"""Event files that torch's SummaryWriter adds to finished runs. A file's name ends with a hash of
its sources, so that files up to date are kept and others replaced."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from mlpfit.errors import RunError
from mlpfit.figures.draw import STYLE_FILES

BINS = 30
QUEUE = 1000  # events; torch's 10 make the drawing wait for the disk


def write(folder: Path, sources: Any, add: Callable[[SummaryWriter], None]) -> int:
    """Write one event file, filled by ``add``, unless there is one of these sources (anything that
    JSON can hold), and remove older ones. Returns how many files were written: 1 or 0.

    ``write(run.path, run.number_hashes(), lambda writer: writer.add_text("question", "Why?"))``
    """
    code = [*sorted(Path(__file__).parent.glob("*.py")), *STYLE_FILES]
    content = json.dumps([sources, [file.read_text() for file in code]], sort_keys=True).encode()
    suffix = f".after-{hashlib.sha256(content).hexdigest()[:12]}"
    older = list(folder.glob("events.out.tfevents.*.after-*"))
    if any(file.name.endswith(suffix) for file in older):
        return 0
    for abandoned in folder.glob(".after.*"):  # by a process that was killed
        if abandoned.is_dir() and not abandoned.is_symlink():
            for file in abandoned.glob("events.out.tfevents.*"):
                file.unlink()
            with suppress(OSError):  # it holds what TensorBoard did not write
                abandoned.rmdir()
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".after.", dir=folder) as scratch:
        with SummaryWriter(scratch, max_queue=QUEUE, filename_suffix=suffix) as writer:
            add(writer)
        (file,) = Path(scratch).iterdir()
        os.replace(file, folder / file.name)
    for file in older:
        file.unlink()
    return 1


def add_summary(writer: SummaryWriter, summary: Summary, step: int) -> None:
    """Add a summary for which SummaryWriter has no method."""
    assert writer.file_writer is not None  # open
    writer.file_writer.add_summary(summary, step)


def add_curve(writer: SummaryWriter, tag: str, steps: np.ndarray, values: np.ndarray) -> None:
    """Add the finite ones of values (n,) at steps (n,) as scalars."""
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        if np.isfinite(value):
            writer.add_scalar(tag, value, step)


def add_histogram(writer: SummaryWriter, tag: str, values: np.ndarray, step: int) -> None:
    """Add a histogram of the finite ones of values (any shape); none if there are none."""
    finite = values[np.isfinite(values)].astype(float)
    if len(finite):
        low, high = finite.min(), finite.max()
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        writer.add_histogram(tag, finite, step, bins=edges)


@contextmanager
def skipping_damaged() -> Iterator[None]:
    """Skip a damaged run or sweep with a line on stderr, so that the others are still shown."""
    try:
        yield
    except RunError as error:
        print(f"mlpfit: left out: {error}", file=sys.stderr)
