"""A killed make reproduce heals."""

import random
import signal
from pathlib import Path

from comparison import heals, nothing_partial, seconds_of
from injection import killed_at_random
from table import Promise


def trial(number: int, folder: Path, quick: bool) -> None:
    command, rng = ["mlpfit", "reproduce", *(["plane"] if quick else [])], random.Random(number)
    within = seconds_of(command)
    killed_at_random(command, folder, signal.SIGKILL, rng, within=within, group=True)
    nothing_partial(folder)
    heals(command, folder)


PROMISE = Promise(
    number=3,
    title="A killed `make reproduce` heals",
    fault="kill -9 of the process group at random moments",
    full=30,
    quick=1,
    trial=trial,
)
