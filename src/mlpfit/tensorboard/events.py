"""Event files of finished runs, written by torch's SummaryWriter beside what the run logged."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from mlpfit.errors import RunError, one_line
from mlpfit.figures.draw import STYLE_FILES
from mlpfit.files import write_file

NAME = "events.out.tfevents.mlpfit-"  # and a hash of its sources; no other program's files begin so
BINS = 30
QUEUE = 1000  # events; with torch's 10 the drawing waits for the disk


def write_events(folder: Path, sources: Any, add: Callable[[SummaryWriter], None]) -> int:
    """Write the folder's event file, filled by ``add``, in place of an older one, unless it is up
    to date with its sources (anything that JSON can hold) and with this code. Returns how many
    files were written, 1 or 0. Raises OSError, which names the file.

    ``write_events(run.path, run.number_hashes(), lambda writer: writer.add_text("tag", "text"))``
    """
    code = [
        file.read_text() for file in (*sorted(Path(__file__).parent.glob("*.py")), *STYLE_FILES)
    ]
    content = json.dumps([sources, code], sort_keys=True).encode()
    file = folder / f"{NAME}{hashlib.sha256(content).hexdigest()[:16]}"
    if file.is_file():
        return 0
    try:
        with TemporaryDirectory() as scratch:  # TensorBoard may be reading the folder
            with SummaryWriter(scratch, max_queue=QUEUE) as writer:
                add(writer)
            (written,) = Path(scratch).iterdir()
            events = written.read_bytes()
        older = list(folder.glob(f"{NAME}*"))
        write_file(file, events)
        for replaced in older:
            replaced.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    return 1


def add_curve(writer: SummaryWriter, tag: str, steps: np.ndarray, values: np.ndarray) -> None:
    """Add the finite ones of values (n,) at steps (n,) as scalars."""
    for index in np.flatnonzero(np.isfinite(values)):
        writer.add_scalar(tag, values[index], int(steps[index]))


def add_histogram(writer: SummaryWriter, tag: str, values: np.ndarray, step: int) -> None:
    """Add a histogram of the finite ones of values (any shape); none if there are none."""
    finite = values[np.isfinite(values)].astype(float)
    if len(finite):
        # Neither numpy's edges, which refuse [1e17], nor torch's, which end at 1e20.
        low, high = finite.min(), finite.max()
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        writer.add_histogram(tag, finite, step, bins=edges)


@contextmanager
def leaving_out(folder: Path) -> Iterator[None]:
    """Leave out a folder that is damaged or not a run of this program's, whatever it raises, with a
    line on stderr. An OSError, which comes from writing, passes."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        known = isinstance(error, RunError) and str(folder) in str(error)
        reason = (
            str(error) if known else f"{folder}: not a run that can be read ({one_line(error)})"
        )
        print(f"mlpfit: left out: {' '.join(reason.split())}", file=sys.stderr)
