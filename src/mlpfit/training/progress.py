"""Display of progress: bars on a terminal, plain lines if piped."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

OnStep = Callable[[int, float], None]  # steps done, last loss (median over the replicas)

console = Console(highlight=False, markup=False, emoji=False)
if not console.is_terminal:
    console.width = 200  # so that piped tables and lines are not cut


def counted(number: int, noun: str) -> str:
    """counted(2, "run") is "2 runs"."""
    return f"{number} {noun}{'s' * (number != 1)}"


class Bar:
    """Progress bar of one run; call it with the steps done and the loss."""

    def __init__(self, display: "Display", name: str, steps: int) -> None:
        self.display, self.name, self.steps = display, name, steps
        self.started, self.steps_done, self.loss = time.time(), 0, math.nan
        self.task = display.bars.add_task(name, total=max(steps, 1), note="")

    def __call__(self, step: int, loss: float) -> None:
        self.steps_done, self.loss = step, loss
        note = "" if math.isnan(loss) else f"loss {loss:.4g}"
        self.display.bars.update(self.task, completed=step, note=note)

    def end(self) -> None:
        """Replace the bar by a line with steps, loss and seconds."""
        self.display.bars.remove_task(self.task)
        self.display.bars.advance(self.display.overall)
        loss = "" if math.isnan(self.loss) else f", loss {self.loss:<10.4g}"  # NaN: an ensemble
        outcome = f"{'evaluated' if self.steps else 'closed form':<27}"
        if self.steps and self.steps_done:
            outcome = f"{self.steps_done:>5} steps{loss}"
        console.print(f"{self.name:<26} {outcome} {time.time() - self.started:5.1f} s")


class Display:
    """A bar for each current run with its loss and, if there are several runs, one for all."""

    def __init__(self, bars: Progress, runs: int) -> None:
        self.bars = bars
        self.overall = bars.add_task("all", total=runs, note="", visible=runs > 1)

    def add_run(self, name: str, steps: int) -> Bar:
        return Bar(self, name, steps)

    @contextmanager
    def counter(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that counts to total; yields a function to call with the number done."""
        task = self.bars.add_task(name, total=total, note="")
        yield lambda done: self.bars.update(task, completed=done, note=f"{done:,} of {total:,}")
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
        yield Display(bars, runs)
