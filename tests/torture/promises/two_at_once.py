"""Two runs at once do not mix."""

import random
import signal
from pathlib import Path

from comparison import KINDS, heals, seconds_of, training
from injection import Child, killed_at_random
from table import Promise

TUTORIALS = ("plane", "gradient", "restoration")


def trial(number: int, folder: Path, quick: bool) -> None:
    turn, kind = divmod(number, 5)
    command = training(list(KINDS)[number % 4])
    if kind == 0:
        command = ["mlpfit", "reproduce", TUTORIALS[turn % 3]]
    within = seconds_of(command)
    if kind == 4:  # the lock of a process that was killed
        killed_at_random(command, folder, signal.SIGKILL, random.Random(number), within=within)
    else:
        children = [Child(command, folder) for _ in range(2)]
        for child in children:
            child.wait().fine()
    heals(command, folder)


PROMISE = Promise(
    number=9,
    title="Two runs at once do not mix",
    fault="the same command twice in the same second; stale locks",
    full=50,
    quick=2,
    trial=trial,
)
