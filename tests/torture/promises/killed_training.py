"""A killed training continues exactly."""

import random
import signal
from pathlib import Path

from comparison import KINDS, heals, nothing_partial, seconds_of, training
from injection import killed_at_random, killed_at_step
from table import Promise

STEPS = 50
EVERY_STEP = [
    f"trainer.max_steps={STEPS}",
    "trainer.chunk_steps=1",
    "recording.checkpoint_every=1",
]


def trial(number: int, folder: Path, quick: bool) -> None:
    if number < STEPS and not quick:  # after every step of a small run
        command = training(("full", "mini")[number % 2], *EVERY_STEP)
        killed_at_step(command, folder, number + 1)
    else:
        command, rng = training(list(KINDS)[number % 4]), random.Random(number)
        killed_at_random(command, folder, signal.SIGKILL, rng, within=seconds_of(command))
    nothing_partial(folder)
    heals(command, folder)


PROMISE = Promise(
    number=2,
    title="A killed training continues exactly",
    fault=f"kill -9 after each of {STEPS} steps and at random moments; single runs and ensembles, "
    "full and mini-batch",
    full=110,
    quick=3,
    trial=trial,
)
