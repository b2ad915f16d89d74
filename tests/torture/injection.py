"""How faults are injected: processes that can be killed at any moment, and disks that fill up.

A forked child runs a command of mlpfit, or a function. It is forked from a process that has
imported everything but used none of it: a trial then costs no start-up.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mlpfit.config.compose import compose
from mlpfit.training.train import train

COMMANDS = ("train", "reproduce", "ensembles", "evidence", "verify")
for name in (*(f"mlpfit.commands.{command}" for command in COMMANDS), "mlpfit.training.run"):
    importlib.import_module(name)

torch.set_num_threads(1)
ROOT = Path(__file__).parents[2]
WORK = Path(tempfile.mkdtemp(prefix="torture-"))
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its code (negative: the signal), its stderr, seconds."""

    code: int
    stderr: str
    seconds: float

    def refused(self, code: int, *parts: str) -> None:
        """Assert one line on stderr that holds these parts, and this exit code."""
        assert self.code == code, f"exit code {self.code}, not {code}: {self.stderr}"
        one_line = self.stderr.startswith("mlpfit: ") and self.stderr.count("\n") == 1
        assert one_line, f"not one line: {self.stderr}"
        for part in parts:
            assert part in self.stderr, f"{part!r} not in {self.stderr}"

    def fine(self) -> None:
        assert self.code == 0, f"exit code {self.code}: {self.stderr[-600:]}"


class Child:
    """A forked process that runs ["mlpfit", ...], or a function, in a folder and a process group of
    its own; ``prepare`` is called first."""

    def __init__(
        self, command: list[str] | Callable[[], Any], folder: Path, prepare: Any = None, **env: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = WORK / f"log-{time.monotonic_ns()}"
        self.started = time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(command, folder, prepare, env)

    def _run(self, command: Any, folder: Path, prepare: Any, env: dict[str, str]) -> None:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(env)
            for number, file in ((1, os.devnull), (2, str(self.log))):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            if prepare:
                prepare()
            code = _called(command) or 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def kill(self, number: int, after: float = 0.0, group: bool = False) -> None:
        """Send the signal after that many seconds, unless the process has ended by then."""
        while time.monotonic() < self.started + after:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.001)
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> Ended:
        _, status = os.waitpid(self.pid, 0)
        stderr = self.log.read_text() if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), stderr, time.monotonic() - self.started)


def _called(command: list[str] | Callable[[], Any]) -> Any:
    if callable(command):
        command()
        return 0
    from mlpfit.__main__ import main

    sys.argv = list(command)
    return main()


def call(command: Any, folder: Path, prepare: Any = None, **env: str) -> Ended:
    return Child(command, folder, prepare, **env).wait()


def python(*arguments: str, cwd: Path, wrap: tuple[str, ...] = (), **env: str) -> Ended:
    """``python -m arguments`` in a process of its own, from the interpreter on."""
    started = time.monotonic()
    command = [*wrap, sys.executable, "-m", *arguments]
    ended = subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False
    )
    return Ended(ended.returncode, ended.stderr, time.monotonic() - started)


def killed_at_step(command: list[str], folder: Path, step: int) -> None:
    """Train what the command names, and be killed once that step is done."""

    def report(done: int, loss: float) -> None:
        if done >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    ended = call(lambda: train(compose(command[1:]), on_step=report), folder)
    assert ended.code == -signal.SIGKILL, ended


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system of that size at the folder; needs root."""
    folder.mkdir(parents=True)
    size = f"size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
