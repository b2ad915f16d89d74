"""A promise, its trials, and the table of the results."""

import os
import re
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from injection import WORK

from mlpfit.runs.provenance import provenance

HEAD = """# Promises under torture

Written by `make torture`. Every trial injects the fault and compares with an undisturbed run made \
beside it.

| # | promise | fault | trials | passed | seconds |
| --- | --- | --- | --- | --- | --- |
"""
Trial = Callable[[int, Path, bool], str | None]  # of this number, in its own folder, quick


@dataclass(frozen=True)
class Promise:
    """trial raises where the promise is not kept; what it returns is a note for the table. ``full``
    and ``quick`` are the counts of trials."""

    number: int
    title: str
    fault: str
    full: int
    quick: int
    trial: Trial


PROMISES: dict[int, Promise] = {}


def promise(number: int, title: str, fault: str, *, full: int, quick: int) -> Callable[..., Trial]:
    """Make a promise of the trial below."""

    def kept(trial: Trial) -> Trial:
        PROMISES[number] = Promise(number, title, fault, full, quick, trial)
        return trial

    return kept


@dataclass(frozen=True)
class Result:
    promise: Promise
    trials: int
    passed: int
    seconds: float
    note: str = ""

    def __str__(self) -> str:
        trials = f"{self.passed} of {self.trials} in {self.seconds:.0f} s"
        return f"{self.promise.number:>2} {self.promise.title}: {trials}{self.note}"

    def row(self) -> str:
        fault = f"{self.promise.fault}{self.note}"
        cells = self.promise.number, self.promise.title, fault, self.trials, self.passed
        return f"| {' | '.join(map(str, cells))} | {self.seconds:.0f} |"


def tried(promise: Promise, quick: bool) -> Result:
    """All trials of a promise; failures are printed."""
    started, passed, note = time.monotonic(), 0, ""
    trials = promise.quick if quick else promise.full
    for trial in range(trials):
        (folder := WORK / f"{promise.number}-{trial}").mkdir()
        try:
            returned = promise.trial(trial, folder, quick)
            note = f" ({returned})" if returned else note
            passed += 1
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            message = " ".join(str(error).split())[-400:]
            failure = f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {message}"
            print(f"promise {promise.number}, trial {trial}: {failure}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    return Result(promise, trials, passed, time.monotonic() - started, note)


def write_row(result: Result, file: Path) -> None:
    """Put the result in its row of the table; rows of other promises stay."""
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = {int(found[1]): line for line in lines if (found := re.match(r"\| (\d+) \|", line))}
    rows[result.promise.number] = result.row()
    here, body = provenance(), "\n".join(rows[number] for number in sorted(rows))
    machine = f"{here['processor']}, {os.cpu_count()} cores, torch {here['versions']['torch']}"
    file.write_text(f"{HEAD}{body}\n\nOn {machine}, {here['platform']}.\n")
