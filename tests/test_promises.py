"""A few trials of every promise; ``make torture`` runs the full counts."""

import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).with_name("torture.py")
SHARES = {"stops": (2, 3, 4, 5, 9, 10), "files and surroundings": (1, 6, 7, 8, 11, 12, 13, 14)}


@pytest.mark.parametrize("share", SHARES)
def test_every_promise_is_kept_in_a_few_trials(share):
    numbers = [str(number) for number in SHARES[share]]
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--quick", *numbers], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if " of " in line]) == len(numbers)


def test_all_promises_are_shared_out():
    text = TORTURE.read_text()
    assert sorted(n for share in SHARES.values() for n in share) == list(range(1, 15))
    assert all(f"{n}: Promise(" in text for n in range(1, 15))
