"""The last good checkpoint survives whatever happens while the next one is written."""

import os
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import torch
from comparison import heals, nothing_partial, training
from injection import IS_ROOT, call, killed_at_step, remount, small_disk
from table import Promise


def trial(number: int, folder: Path, quick: bool) -> None:
    command, rng = training(("full", "mini")[number % 2]), random.Random(number)
    kind = number % 3 if quick else (0 if number < 40 else 1 if number < 60 else 2)
    if kind == 0:
        killed_in_the_save(command, folder, rng)
    elif kind == 1:
        (full_disk if IS_ROOT else limited_files)(command, folder / "disk", rng.randint(8, 90))
    else:
        (read_only_disk if IS_ROOT else read_only_folder)(command, folder, rng.randint(20, 380))


def check_checkpoints(folder: Path) -> None:
    for file in folder.rglob("*.ckpt"):
        if not file.name.startswith("."):
            torch.load(file, weights_only=True)


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
    ended = call(command, folder / "run", prepare, TMPDIR=elsewhere)
    shutil.rmtree(elsewhere, ignore_errors=True)
    assert ended.code == -signal.SIGKILL, ended
    check_checkpoints(folder / "run")
    nothing_partial(folder / "run")
    heals(command, folder / "run")


def full_disk(command: list[str], folder: Path, kilobytes: int) -> None:
    with small_disk(folder, kilobytes):
        call(command, folder).refused(1, "No space left")
        check_checkpoints(folder)
        nothing_partial(folder)
        remount(folder, "size=100m")
        heals(command, folder)


def limited_files(command: list[str], folder: Path, size: int) -> None:
    """Without the right to mount: files can't grow beyond the limit."""
    import resource

    limits = (size * 100, size * 100)
    ended = call(command, folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    ended.refused(1, "File too large")
    check_checkpoints(folder)
    heals(command, folder)


def read_only_disk(command: list[str], folder: Path, step: int) -> None:
    """From that step on."""
    disk = folder / "disk"
    with small_disk(disk, 100_000):
        killed_at_step(command, disk, step)
        before = {f: f.read_bytes() for f in disk.rglob("*.ckpt")}
        remount(disk, "ro")
        call(command, disk).refused(1, "Read-only file system")
        assert before == {f: f.read_bytes() for f in disk.rglob("*.ckpt")} and before
        remount(disk, "rw")
        heals(command, disk)


def read_only_folder(command: list[str], folder: Path, step: int) -> None:
    """Without the right to mount: from the start."""
    (folder / "outputs").mkdir()
    (folder / "outputs").chmod(0o555)
    call(command, folder).refused(1, "Permission denied")
    (folder / "outputs").chmod(0o755)
    heals(command, folder)


PROMISE = Promise(
    number=4,
    title="The last good checkpoint survives",
    fault="kill inside the save, full disk, read-only folder",
    full=70,
    quick=3,
    trial=trial,
)
