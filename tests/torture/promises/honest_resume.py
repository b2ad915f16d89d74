"""A run that was interrupted goes on as what it was, or says what has changed."""

import shutil
from pathlib import Path

from comparison import clone, heals, state, training, undisturbed
from injection import call, killed_at_step, python
from promise import promise

from mlpfit.runs.run import MARKER

CHANGES = [
    *("optimizer.lr=0.002", "seed=5", "target.noise=0.25", "trainer.max_steps=300"),
    *("model.init=normal", "loss=sse", "recording.checkpoint_every=20", "streams=legacy"),
    *("trainer.precision=64-true",),
]


@promise(
    10,
    "Honest resume",
    "settings, seed or code changed between stop and resume",
    full=20,
    quick=2,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    command = training("full")
    killed_at_step(command, folder, 100)
    if number % 10 == 9:
        changed_code(command, folder)
    elif number % 10 == 8:
        foreign_checkpoint(command, folder)
    else:
        changed_setting(command, CHANGES[number % len(CHANGES)], folder, force=bool(number % 2))


def changed_code(command: list[str], folder: Path) -> None:
    tree = clone(folder.with_name(f"{folder.name}-clone"))
    with (tree / "src/mlpfit/model/mlp.py").open("a") as file:
        file.write("# another version\n")
    python(*command, cwd=folder, PYTHONPATH=str(tree / "src")).refused(1, "code: ", "force=true")
    heals(command, folder)


def foreign_checkpoint(command: list[str], folder: Path) -> None:
    """Of a run with another seed."""
    other = folder.with_name(f"{folder.name}-other")
    killed_at_step([*command, "seed=5"], other, 100)
    (foreign,), (ours,) = other.rglob("last.ckpt"), folder.rglob("last.ckpt")
    shutil.copy(foreign, ours)
    call(command, folder).refused(1, "last.ckpt", "force=true")
    call([*command, "force=true"], folder).fine()
    heals(command, folder)


def changed_setting(command: list[str], change: str, folder: Path, force: bool) -> None:
    key = change.split("=")[0]
    changed = [a for a in command if a.split("=")[0] != key] + [change]
    call(changed, folder).refused(1, f"{key}: ", "force=true")
    if force:
        call([*changed, "force=true"], folder).fine()
        assert state(folder) == undisturbed(tuple(changed))[0]
    else:
        heals(command, folder)
    (marker,) = folder.rglob(MARKER)
    before = marker.stat().st_mtime_ns
    call(changed if force else command, folder).fine()
    assert marker.stat().st_mtime_ns == before, "a finished run was trained again"
