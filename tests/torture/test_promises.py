"""A few trials of every promise, two minutes; ``make torture`` runs the full counts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARES = {"stops": (2, 3, 4, 5, 9, 10), "files and surroundings": (1, 6, 7, 8, 11, 12, 13)}


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_every_promise_is_kept_in_a_few_trials(share):
    numbers = [str(number) for number in SHARES[share]]
    command = [sys.executable, str(HERE), "--quick", *numbers]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len([line for line in ended.stdout.splitlines() if " of " in line]) == len(numbers)


def test_all_promises_are_shared_out():
    texts = [file.read_text() for file in (HERE / "promises").glob("*.py")]
    numbers = sorted(int(n) for text in texts for n in re.findall(r"@promise\(\s*(\d+)", text))
    assert sorted(n for share in SHARES.values() for n in share) == numbers
    assert numbers == list(range(1, len(numbers) + 1))
