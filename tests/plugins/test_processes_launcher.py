"""hydra/launcher=processes: what a job does to itself it does to no other."""

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import pytest
from hydra import initialize
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode

from hydra_plugins.processes_launcher import Processes


class Stubborn(Exception):
    """One that can't be unpickled."""

    def __init__(self, key, value):
        super().__init__(f"{key} is {value}")


def task(config):
    what = config.get("what")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise ValueError("no such thing")
    if what == "stubborn":
        raise Stubborn("x", 3)
    if what in ("0", "5"):
        sys.exit(int(what))
    if what == "lambda":
        return lambda: None
    if what == "random":
        return random.random(), float(np.random.rand())
    if what == "first":  # its process does not end before the second job has begun
        Finalize(None, meet, (Path(config.begun),), exitpriority=0)
    if what == "second":
        Path(config.begun).touch()
    if what == "parent":
        return os.getppid()
    return time.monotonic()


def meet(begun):
    """Note in a file whether the other begins within ten seconds."""
    deadline = time.monotonic() + 10
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    begun.with_name("met" if begun.exists() else "alone").touch()


def launch(folder, *jobs, first=0, **settings):
    """Results of jobs with these overrides."""
    with initialize(version_base="1.3", config_path=None):
        hydra = GlobalHydra.instance().hydra
        given = [f"hydra.sweep.dir={folder}", "hydra/hydra_logging=none"]
        config = hydra.compose_config(None, given, RunMode.MULTIRUN)
        launcher = Processes(**settings)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        launcher.setup(hydra_context=context, task_function=task, config=config)
        return launcher.launch(list(jobs), first)


def test_a_job_that_is_killed_or_fails_stops_no_other(tmp_path):
    names = ("kill", "raise", "stubborn", "0", "5", "lambda", "fine")
    results = launch(tmp_path, *([f"+what='{name}'"] for name in names), processes=3)
    reasons = [
        repr(result._return_value) if result.status == JobStatus.FAILED else None
        for result in results
    ]
    assert "killed by signal 9" in reasons[0]
    assert reasons[1] == "ValueError('no such thing')"
    assert reasons[2] == "RuntimeError('Stubborn: x is 3')"
    assert reasons[3] is None and results[3].return_value is None
    assert reasons[4] == "RuntimeError('exited with code 5')"
    assert "returned a function that can't be sent" in reasons[5]
    assert reasons[6] is None
    for number, (name, result) in enumerate(zip(names, results, strict=True)):
        assert result.overrides == [f"+what='{name}'"] and result.cfg == {"what": name}
        assert result.hydra_cfg.hydra.job.num == number
    assert "raise ValueError" in results[1]._return_value.__notes__[0]  # the traceback


def test_a_job_that_does_not_compose_is_a_failed_one(tmp_path):
    results = launch(tmp_path, ["+what=fine"], ["nothing=3"])
    assert [result.status for result in results] == [JobStatus.COMPLETED, JobStatus.FAILED]


def test_jobs_start_in_the_order_that_is_given_and_return_in_theirs(tmp_path):
    jobs = [[f"+job={number}"] for number in range(4)]
    results = launch(tmp_path, *jobs, first=10, processes=1, order=[13, 11])
    times = [result.return_value for result in results]
    assert sorted(range(4), key=times.__getitem__) == [3, 1, 0, 2]
    assert [result.hydra_cfg.hydra.job.num for result in results] == [10, 11, 12, 13]


def test_a_job_begins_while_the_process_of_the_last_one_ends_and_a_launch_waits_for_all(tmp_path):
    jobs = [[f"+what={name}", f"+begun={tmp_path}/begun"] for name in ("first", "second", "first")]
    launch(tmp_path, *jobs, processes=1)
    assert {path.name for path in tmp_path.iterdir()} >= {"begun", "met"}
    assert not (tmp_path / "alone").exists()


def test_unseeded_jobs_draw_other_numbers(tmp_path):
    results = launch(tmp_path, *[["+what=random"]] * 3)
    for drawn in zip(*(result.return_value for result in results), strict=True):
        assert len({*drawn}) == 3


def test_a_job_is_a_child_of_the_application(tmp_path):
    (result,) = launch(tmp_path, ["+what=parent"])
    assert result.return_value == os.getpid()


@pytest.mark.parametrize("processes", [0, -1])
def test_no_process_is_refused(processes):
    with pytest.raises(ValueError, match=f"processes={processes}: must be at least 1"):
        Processes(processes=processes)


WAITING = """
import os, time, hydra
from pathlib import Path

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    Path(f"pid{config.x}").write_text(str(os.getpid()))
    time.sleep(600)

main()
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_jobs_end_with_the_application(tmp_path, number):
    (tmp_path / "app.py").write_text(WAITING)
    command = [sys.executable, "app.py", "-m", "hydra/launcher=processes"]
    more = ["hydra.launcher.processes=2", "+x=0,1"]
    process = subprocess.Popen([*command, *more], cwd=tmp_path, stderr=subprocess.DEVNULL)
    pids = []
    while len(pids) < 2:
        assert process.poll() is None
        files = [file for file in tmp_path.glob("pid*") if file.read_text()]
        pids = [int(file.read_text()) for file in files]
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() != 0
    while any(map(alive, pids)):
        time.sleep(0.05)
