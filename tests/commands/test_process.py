"""How a command begins and ends in the environment that it is started in."""

import subprocess
import sys

import pytest

HANGS_UP = """
import os, signal, sys
signal.signal(signal.SIGHUP, {})
from mlpfit.process import run_command
run_command(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0)
"""


@pytest.mark.parametrize(("handler", "code"), [("signal.SIG_DFL", 128 + 1), ("signal.SIG_IGN", 0)])
def test_a_command_under_nohup_outlives_its_terminal(handler, code):
    done = subprocess.run([sys.executable, "-c", HANGS_UP.format(handler)], timeout=60)
    assert done.returncode == code
