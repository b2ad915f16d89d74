"""A full disk: one line that names the file, exit code 1, and the same command heals it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from filelock import FileLock

from mlpfit.errors import about_file
from mlpfit.files import write_arrays, write_file
from mlpfit.runs.folder import locked

SHORT = ("experiment=parabola/eight_neurons", "trainer.max_steps=5", "logger=none")
SEARCH = ("hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.2)", "hydra.sweeper.n_trials=1")
BASIC = "hydra/launcher=basic"
COMMANDS = {
    "a run": (SHORT, 64, "eight_neurons"),
    "events": ((SHORT[0], "trainer.max_steps=300", "logger=tensorboard"), 6000, "eight_neurons"),
    "a sweep": (("-m", *SHORT, "seed=1,2", BASIC), 64, "sweep.json"),
    "a search": (("-m", *SHORT, *SEARCH, BASIC), 8192, "study.db"),
    "a search without its marker": (("-m", *SHORT, *SEARCH, BASIC), 8, "sweep.json"),
    "shards": (
        ("-m", *SHORT, "replicas=3", "hydra/sweeper=shards", BASIC),
        64,
        "identity.json",
    ),
}


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file may have more bytes, as where a disk or a quota is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Of the thread that writes events; a command's process passes it over for the error in one line.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("what", COMMANDS)
def test_the_line_names_the_file_and_the_same_command_heals(what, command):
    arguments, size, file = COMMANDS[what]
    try:
        with small_files(size):
            code, printed = command(*arguments)
    except OSError as error:  # which run_command reports
        code, printed = 1, about_file(error)
    (line,) = (
        line for line in printed.splitlines() if "File too large" in line or "No space" in line
    )
    assert code == 1 and file in line, printed
    assert "Traceback" not in printed and "None" not in line, printed
    code, printed = command(*arguments)
    assert code == 0, printed


WRITE = {
    "bytes": lambda path: write_file(path, b"x" * 11),
    "arrays": lambda path: write_arrays(path, {"x": np.ones(3)}),
}


@pytest.mark.parametrize("what", WRITE)
def test_a_file_is_named_and_nothing_half_written(what, tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError) as caught, small_files(10):
        WRITE[what](tmp_path / "a.txt")
    assert str(caught.value).endswith(f"'{tmp_path}/a.txt'")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_lock_ends_although_the_traceback_of_an_interrupt_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt) as kept, locked(tmp_path / "run", tmp_path):
        raise KeyboardInterrupt
    (file,) = (tmp_path / ".locks").iterdir()
    with FileLock(file, timeout=0):  # a notebook trains again
        assert kept.tb is not None
