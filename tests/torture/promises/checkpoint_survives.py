"""The last good checkpoint survives whatever happens while the next one is written."""

import os
import random
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from comparison import heals, nothing_partial, training
from injection import IS_ROOT, call, killed_at_step, remount, small_disk
from promise import promise


@promise(
    4,
    "The last good checkpoint survives",
    "kill inside the save, full disk, read-only folder",
    full=70,
    quick=3,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    command, rng = training(("full", "mini")[number % 2]), random.Random(number)
    kind = number % 3 if quick else (0 if number < 40 else 1 if number < 60 else 2)
    if kind == 0:
        killed_in_the_save(command, folder / "run", rng)
    elif kind == 1:
        full_disk(command, folder / "disk", rng.randint(8, 90))
    else:
        read_only(command, folder / "disk", rng.randint(20, 380))


def killed_in_the_save(command: list[str], folder: Path, rng: random.Random) -> None:
    """Before a write is synced, before it is moved into place, or right after: at the n-th of
    them."""
    place, at = rng.choice(["fsync", "replace", "after"]), rng.randint(1, 60)

    def prepare() -> None:
        count, name = 0, "fsync" if place == "fsync" else "replace"
        real = getattr(os, name)

        def counted(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            returned = real(*arguments) if place == "after" or count < at else None
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return returned

        setattr(os, name, counted)

    elsewhere = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    ended = call(command, folder, prepare, TMPDIR=elsewhere)
    shutil.rmtree(elsewhere, ignore_errors=True)
    assert ended.code == -signal.SIGKILL, ended
    heals(command, folder)


def full_disk(command: list[str], folder: Path, kilobytes: int) -> None:
    """A small disk; without the right to mount one, files that can't grow beyond a limit."""
    limits = (kilobytes * 100, kilobytes * 100)
    if not IS_ROOT:
        ended = call(command, folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
        ended.refused(1, "File too large")
        heals(command, folder)
        return
    with small_disk(folder, kilobytes):
        call(command, folder).refused(1, "No space left")
        nothing_partial(folder)
        remount(folder, "size=100m")
        heals(command, folder)


def read_only(command: list[str], folder: Path, step: int) -> None:
    """From that step on."""
    with small_disk(folder, 100_000) if IS_ROOT else nullcontext():
        killed_at_step(command, folder, step)
        before = {f: f.read_bytes() for f in folder.rglob("*.ckpt")}
        with protected(folder):
            refusal = "Read-only file system" if IS_ROOT else "Permission denied"
            call(command, folder).refused(1, refusal)
        assert before == {f: f.read_bytes() for f in folder.rglob("*.ckpt")} and before
        heals(command, folder)


@contextmanager
def protected(folder: Path) -> Iterator[None]:
    """Nothing can be written to this folder."""
    inner = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    remount(folder, "ro") if IS_ROOT else [path.chmod(0o555) for path in inner]
    yield
    remount(folder, "rw") if IS_ROOT else [path.chmod(0o755) for path in inner]
