"""Whatever stops a command, and whatever runs beside it: the same command again gives what an
undisturbed one gives."""

import random
import shutil
import signal
from pathlib import Path

from comparison import KINDS, heals, seconds_of, state, training, undisturbed
from injection import Child, Ended, killed_at_step
from promise import promise

from mlpfit.runs.run import MARKER

STEPS = 50
EVERY_STEP = [f"trainer.max_steps={STEPS}", "trainer.chunk_steps=1", "recording.checkpoint_every=1"]
HANDLERS_SET = 0.05  # seconds after the start
ATTEMPTS = 20  # to hit a command before it ends
TUTORIALS = ("plane", "gradient", "restoration")


def stopped(
    command: list[str], folder: Path, number: int, sent: int = signal.SIGKILL, group: bool = False
) -> Ended:
    """Send the signal at a random moment of the command, sooner if that came too late."""
    rng, within = random.Random(number), seconds_of(command)
    earliest = 0.02 if sent == signal.SIGKILL else HANDLERS_SET
    for attempt in range(ATTEMPTS):
        child = Child(command, folder)
        child.kill(sent, rng.uniform(earliest, within * 0.95**attempt), group)
        if (ended := child.wait()).code != 0:
            return ended
        shutil.rmtree(folder)
    raise AssertionError("never in time")


@promise(
    2,
    "A killed training continues exactly",
    f"kill -9 after each of {STEPS} steps and at random moments; single runs and ensembles, full "
    "and mini-batch",
    full=110,
    quick=3,
)
def killed_training(number: int, folder: Path, quick: bool) -> None:
    if number < STEPS and not quick:  # after every step of a small run
        command = training(("full", "mini")[number % 2], *EVERY_STEP)
        killed_at_step(command, folder, number + 1)
    else:
        command = training(list(KINDS)[number % 4])
        stopped(command, folder, number)
    heals(command, folder)


@promise(
    3,
    "A killed `make reproduce` heals",
    "kill -9 of the process group at random moments",
    full=30,
    quick=1,
)
def killed_reproduce(number: int, folder: Path, quick: bool) -> None:
    command = ["mlpfit", "reproduce", *(["plane"] if quick else [])]
    stopped(command, folder, number, group=True)
    heals(command, folder)


@promise(
    5,
    "A stopped run never looks finished",
    "SIGTERM, SIGINT, SIGHUP at random moments",
    full=60,
    quick=3,
)
def stopped_run(number: int, folder: Path, quick: bool) -> None:
    sent = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 3]
    command = training(list(KINDS)[number // 3 % 4])
    ended = stopped(command, folder, number, sent)
    assert ended.code == 128 + sent, ended
    assert ended.stderr.count("\n") <= 1 and "Traceback" not in ended.stderr, ended.stderr
    if [marker for marker in folder.rglob(MARKER) if ".mlpfit-" not in str(marker)]:
        assert state(folder) == undisturbed(tuple(command))[0]  # it was finished already
    heals(command, folder)


@promise(
    9,
    "Two runs at once do not mix",
    "the same command twice in the same second; stale locks",
    full=50,
    quick=2,
)
def two_at_once(number: int, folder: Path, quick: bool) -> None:
    turn, kind = divmod(number, 5)
    command = training(list(KINDS)[number % 4])
    if kind == 0:
        command = ["mlpfit", "reproduce", TUTORIALS[turn % 3]]
    if kind == 4:  # the lock of a process that was killed
        stopped(command, folder, number)
    else:
        for child in [Child(command, folder) for _ in range(2)]:
            child.wait().fine()
    heals(command, folder)
