"""A stopped run never looks finished."""

import random
import signal
from pathlib import Path

from comparison import KINDS, heals, seconds_of, state, training, undisturbed
from injection import killed_at_random
from table import Promise

from mlpfit.runs.run import MARKER

HANDLERS_SET = 0.05  # seconds after the start


def trial(number: int, folder: Path, quick: bool) -> None:
    sent = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 3]
    command, rng = training(list(KINDS)[number // 3 % 4]), random.Random(number)
    within = seconds_of(command)
    ended = killed_at_random(command, folder, sent, rng, within=within, earliest=HANDLERS_SET)
    assert ended.code == 128 + sent, ended
    if [marker for marker in folder.rglob(MARKER) if ".mlpfit-" not in str(marker)]:
        assert state(folder) == undisturbed(tuple(command))[0]  # it was finished already
    assert ended.stderr.count("\n") <= 1 and "Traceback" not in ended.stderr, ended.stderr
    heals(command, folder)


PROMISE = Promise(
    number=5,
    title="A stopped run never looks finished",
    fault="SIGTERM, SIGINT, SIGHUP at random moments",
    full=60,
    quick=3,
    trial=trial,
)
