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

    def __init__(self, bars: Progress, runs: int) -> None:
        self.bars = bars
        self.overall = bars.add_task("all", total=runs, note="", visible=runs > 1)

    @contextmanager
    def run(self, name: str, steps: int) -> Iterator[Callable[[int, float], None]]:
        """Yields what to call with the steps done and the loss; says at the end how it went."""
        started, last = time.time(), (0, math.nan)
        task = self.bars.add_task(name, total=max(steps, 1), note="")

        def report(step: int, loss: float) -> None:
            nonlocal last
            last = step, loss
            self.bars.update(task, completed=step, note=f"loss {loss:.4g}")

        yield report
        self.bars.remove_task(task)
        self.bars.advance(self.overall)
        taken, value = last
        loss = "" if math.isnan(value) else f", loss {value:<10.4g}"  # an ensemble has no one loss
        trained = f"{taken:>5} steps{loss}" if taken else "evaluated" + " " * 18
        done = trained if steps else "closed form" + " " * 16
        console.print(f"{name:<26} {done} {time.time() - started:5.1f} s")

    @contextmanager
    def counted(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields what to call with how many are done."""
        task = self.bars.add_task(name, total=total, note="")
        yield lambda done: self.bars.update(task, completed=done, note=f"{done:,} of {total:,}")
        self.bars.remove_task(task)


@contextmanager
def display(runs: int) -> Iterator[Display]:
    """The display for this many runs."""
    columns = (
        *(TextColumn("{task.description:<26}"), BarColumn()),
        *(TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn()),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield Display(bars, runs)
