"""Event files added to finished runs by torch's SummaryWriter. A file's name ends with a hash of
what it was made from: what is up to date stays, the rest is replaced."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from mlpfit.errors import RunError
from mlpfit.figures import parts

BINS = 30
QUEUE = 1000  # events; with torch's 10 the drawing waits for the disk


def write(folder: Path, sources: Any, add: Callable[[SummaryWriter], None]) -> int:
    """One event file, filled by ``add``, in place of the one made from other sources (anything JSON
    can hold); 1, or 0 if it is there already.

        write(run.path, run.number_hashes(), lambda writer: writer.add_text("question", "Why?"))
    """
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(parts.__file__)]  # what draws it
    content = json.dumps([sources, [file.read_text() for file in files]], sort_keys=True).encode()
    suffix = f".after-{hashlib.sha256(content).hexdigest()[:12]}"
    older = list(folder.glob("events.out.tfevents.*.after-*"))
    if any(file.name.endswith(suffix) for file in older):
        return 0
    for abandoned in folder.glob(".after.*"):  # by a process that was killed
        shutil.rmtree(abandoned)
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".after.", dir=folder) as beside:
        with SummaryWriter(beside, max_queue=QUEUE, filename_suffix=suffix) as writer:
            add(writer)
        (file,) = Path(beside).iterdir()
        os.replace(file, folder / file.name)
    for file in older:
        file.unlink()
    return 1


def add_summary(writer: SummaryWriter, summary: Summary, step: int) -> None:
    """What SummaryWriter has no fitting method for."""
    assert writer.file_writer is not None  # open
    writer.file_writer.add_summary(summary, step)


def add_curve(writer: SummaryWriter, tag: str, steps: np.ndarray, values: np.ndarray) -> None:
    """The finite ones of these values (n,) at steps (n,)."""
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        if np.isfinite(value):
            writer.add_scalar(tag, value, step)


def add_histogram(writer: SummaryWriter, tag: str, values: np.ndarray, step: int) -> None:
    """The finite ones of these values (any shape) in ``BINS`` bins; nothing if there are none."""
    finite = values[np.isfinite(values)].astype(float)
    if len(finite):
        low, high = finite.min(), finite.max()
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        writer.add_histogram(tag, finite, step, bins=edges)


@contextmanager
def skipping_damaged() -> Iterator[None]:
    """A damaged run costs itself and a line on stderr: the others are shown."""
    try:
        yield
    except RunError as error:
        print(f"mlpfit: left out: {error}", file=sys.stderr)
