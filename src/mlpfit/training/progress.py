"""How far things are: bars on a terminal, plain lines when piped."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 200  # piped: tables keep their columns, lines are not cut


class Display:
    """One bar for all runs (if there are several) and one for the current run with its loss."""

    def __init__(self, bars: Progress | None, runs: int) -> None:
        self.bars = bars
        self.overall = bars.add_task("all", total=runs, note="") if bars and runs > 1 else None

    @contextmanager
    def run(self, name: str, steps: int) -> Iterator[Callable[[int, float], None]]:
        """Yields what to call with the steps done and the loss; says at the end how it went."""
        started, last = time.time(), (0, math.nan)
        task = self.bars.add_task(name, total=max(steps, 1), note="") if self.bars else None

        def report(step: int, loss: float) -> None:
            nonlocal last
            last = step, loss
            if self.bars and task is not None:
                self.bars.update(task, completed=step, note=f"loss {loss:.4g}")

        yield report
        if self.bars and task is not None:
            self.bars.remove_task(task)
        if self.bars and self.overall is not None:
            self.bars.advance(self.overall)
        taken, value = last
        loss = "" if math.isnan(value) else f", loss {value:<10.4g}"  # an ensemble has no one loss
        trained = f"{taken:>5} steps{loss}" if taken else "evaluated" + " " * 18
        done = trained if steps else "closed form" + " " * 16
        console.print(f"{name:<26} {done} {time.time() - started:5.1f} s")

    @contextmanager
    def ensemble(self, name: str, model_steps: int) -> Iterator[Callable[[int], None]]:
        """Yields what to call with the model-steps done."""
        task = self.bars.add_task(name, total=model_steps, note="") if self.bars else None

        def report(done: int) -> None:
            if self.bars and task is not None:
                self.bars.update(task, completed=done, note=f"{done:,} of {model_steps:,}")

        yield report
        if self.bars and task is not None:
            self.bars.remove_task(task)

    @contextmanager
    def jobs(self, count: int) -> Iterator[Callable[[], None]]:
        """Yields what to call whenever a job has ended."""
        task = self.bars.add_task("jobs", total=count, note="") if self.bars else None
        ended = 0

        def report() -> None:
            nonlocal ended
            ended += 1
            if self.bars and task is not None:
                self.bars.update(task, completed=ended, note=f"{ended} of {count}")

        yield report
        if self.bars and task is not None:
            self.bars.remove_task(task)


@contextmanager
def display(runs: int) -> Iterator[Display]:
    """The display for this many runs."""
    if not console.is_terminal:
        yield Display(None, runs)
        return
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
    )
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console
    ) as bars:
        yield Display(bars, runs)
