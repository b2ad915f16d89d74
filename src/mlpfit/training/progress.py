"""Display of progress: bars on a terminal, elsewhere a line at least every five seconds."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

OnStep = Callable[[int, float], None]  # steps done, last loss (median over the replicas)
Tell = Callable[[float], str]  # seconds since the work began -> how far it is
SILENCE = 4.5  # seconds without a line, at most, where no bar is shown
MAX_NAMES = 4  # of current runs in a line


class _Console(Console):
    """A console that knows when it last printed."""

    last = time.monotonic() - 2.5  # what may have been imported before

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        self.last = time.monotonic()


console = _Console(highlight=False, markup=False, emoji=False)
if not console.is_terminal:
    console.width = 200  # so that piped tables and lines are not cut


def counted(number: int, noun: str) -> str:
    """counted(2, "run") is "2 runs"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def in_time(seconds: float) -> str:
    """in_time(400) is "7 minutes"."""
    return f"{seconds:.0f} s" if seconds < 100 else counted(round(seconds / 60), "minute")


_works: list[tuple[float, Tell]] = []  # what this process is doing, with its beginning
_has_worked = False
_pulse_at = threading.Lock()  # held while the thread prints, so that no process is forked then


def start_pulse() -> None:
    """From now on print what the process is doing whenever it has been silent for ``SILENCE``; on a
    terminal do nothing, since bars are shown there."""
    if console.is_terminal:
        return
    _works.append((time.monotonic(), _between_works))
    os.register_at_fork(
        before=_pulse_at.acquire,
        after_in_parent=_pulse_at.release,
        after_in_child=_pulse_at.release,
    )
    threading.Thread(target=_pulse, daemon=True).start()


def _between_works(seconds: float) -> str:
    return f"{'working' if _has_worked else 'loading'}, {seconds:.0f} s"


def _pulse() -> None:
    while True:
        time.sleep(max(0.1, console.last + SILENCE - time.monotonic()))
        with _pulse_at:
            if time.monotonic() - console.last >= SILENCE and (works := _works[-1:]):
                began, tell = works[0]
                console.print(tell(time.monotonic() - began), soft_wrap=True)


@contextmanager
def doing(tell: str | Tell) -> Iterator[None]:
    """Say inside what the process is doing: a text, or a function of the seconds it has taken. On a
    terminal a text is shown with a spinner."""
    global _has_worked
    _has_worked = True
    if console.is_terminal and isinstance(tell, str):
        with console.status(tell):
            yield
        return
    text = tell if callable(tell) else lambda seconds: f"{tell}, {seconds:.0f} s"
    _works.append(work := (time.monotonic(), text))
    try:
        yield
    finally:
        _works.remove(work)


class Bar:
    """Progress bar of one run; call it with the steps done and the loss."""

    def __init__(self, display: "Display", name: str, steps: int) -> None:
        self.display, self.name, self.steps = display, name, steps
        self.started, self.steps_done, self.loss = time.time(), 0, math.nan
        self.first: tuple[float, int] | None = None  # seconds and steps, when first called
        self.task = display.bars.add_task(name, total=max(steps, 1), note="loading")
        display.running[self.task] = self

    def __call__(self, step: int, loss: float) -> None:
        self.steps_done, self.loss = step, loss
        if step and self.first is None:
            self.first = time.time(), step
        note = "" if math.isnan(loss) else f"loss {loss:.4g}"
        self.display.bars.update(self.task, completed=step, note=note)

    def end(self, seconds: float | None = None) -> None:
        """Replace the bar by a line with steps, loss and seconds: those recorded with the run, or
        since the bar was made."""
        del self.display.running[self.task]
        self.display.bars.remove_task(self.task)
        self.display.bars.advance(self.display.overall)
        self.display.done += 1
        loss = "" if math.isnan(self.loss) else f", loss {self.loss:<10.4g}"  # NaN: an ensemble
        outcome = f"{'evaluated' if self.steps else 'closed form':<27}"
        if self.steps and self.steps_done:
            outcome = f"{self.steps_done:>5} steps{loss}"
        taken = time.time() - self.started if seconds is None else seconds
        console.print(f"{self.name:<26} {outcome} {taken:5.1f} s")

    def share(self) -> str:
        """How far it is: "40 %", or "loading"."""
        return f"{self.steps_done / self.steps:.0%}" if self.steps_done else "loading"

    def remaining(self) -> float | None:
        """Seconds that it will take at the speed so far; None before that is known."""
        if self.first is None or self.steps_done == self.first[1]:
            return None
        rate = (time.time() - self.first[0]) / (self.steps_done - self.first[1])
        return rate * (self.steps - self.steps_done)


class Display:
    """A bar for each current run with its loss and, if there are several runs, one for all."""

    def __init__(self, bars: Progress, runs: int) -> None:
        self.bars, self.runs, self.done = bars, runs, 0
        self.running: dict[TaskID, Bar] = {}
        self.overall = bars.add_task("all", total=runs, note="", visible=runs > 1)

    def add_run(self, name: str, steps: int) -> Bar:
        return Bar(self, name, steps)

    def line(self, seconds: float) -> str:
        """How far the runs are, where no bars are shown."""
        bars = list(self.running.values())
        if not bars:
            return f"loading, {seconds:.0f} s"
        if self.runs == 1:
            if not bars[0].steps_done:
                return f"{bars[0].name}: loading, {seconds:.0f} s"
            text = f"{bars[0].name}: {bars[0].share()} after {seconds:.0f} s"
            left = bars[0].remaining()
            return text if left is None else f"{text}, about {max(left, 0.0):.0f} s left"
        shares = [f"{bar.name} {bar.share()}" for bar in bars[:MAX_NAMES]]
        finished = f"{self.done} of {counted(self.runs, 'run')} finished after {seconds:.0f} s"
        return f"{finished}; {', '.join(shares)}"

    @contextmanager
    def counter(self, name: str) -> Iterator[Callable[[float], None]]:
        """A bar from 0 to 1; yields a function to call with the share done."""
        task = self.bars.add_task(name, total=1, note="loading")
        share, first = 0.0, (0.0, 0.0)

        def update(done: float) -> None:
            nonlocal share, first
            share = done
            first = first if first[0] else (time.time(), done)
            self.bars.update(task, completed=done, note="")

        def tell(seconds: float) -> str:
            if share <= first[1]:
                return f"loading and compiling, {seconds:.0f} s"
            left = (time.time() - first[0]) * (1 - share) / (share - first[1])
            return f"{share:.0%} after {seconds:.0f} s, about {max(left, 0.0):.0f} s left"

        with doing(tell):
            yield update
        self.bars.remove_task(task)


@contextmanager
def display(runs: int) -> Iterator[Display]:
    """The display for this many runs."""
    columns = (
        TextColumn("{task.description:<26}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        shown = Display(bars, runs)
        with doing(shown.line):
            yield shown
