"""Train every experiment and draw every published figure; what is up to date is left alone.

mlpfit reproduce [tutorial | experiment | figure ...]
"""

import sys
import time
from pathlib import Path

from rich.table import Table

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_published
from mlpfit.errors import ConfigError
from mlpfit.figures import draw
from mlpfit.report import table as results
from mlpfit.runs.identity import is_current
from mlpfit.training.progress import console, display
from mlpfit.training.train import train

OUTPUTS = Path("outputs")


def main() -> int:
    started = time.time()
    names = sys.argv[1:]
    wanted = selected(names)
    configs = [as_published(name) for name in wanted]
    stale = [config for config in configs if not is_current(config, config.folder)]
    if stale:
        with display(len(stale)) as shown:
            for config in stale:
                with shown.run(config.name, config.trainer.max_steps) as report:
                    train(config, report=report)
    figures = [n for n in names if n not in experiments()] + [
        n for n in names if n in experiments()
    ]
    drawn, current = draw.draw_all(figures, OUTPUTS)
    if not stale and not drawn:
        console.print(
            f"everything is up to date: {len(wanted)} runs, {current} figures "
            f"({time.time() - started:.1f} s)"
        )
        return 0
    found = [results.result(name, OUTPUTS) for name in wanted]
    if wanted == experiments():
        results.write(found, OUTPUTS)
        results.update_readme(OUTPUTS)
    console.print(closing_table(found))
    console.print(
        f"{len(stale)} trained, {drawn} figures drawn, {current} up to date "
        f"({time.time() - started:.1f} s)"
    )
    return 0


def selected(names: list[str]) -> list[str]:
    """The experiments that the named tutorials, experiments and figures need; all if none is
    named."""
    every = experiments()
    if not names:
        return every
    needed = {p.name: p.experiment for p in draw.drawings()}
    known = [*(tutorial.name for tutorial in tutorials()), *every, *needed]
    for name in names:
        if name not in known:
            allowed = ", ".join(known)
            raise ConfigError(
                f"{name}: no such tutorial, experiment or figure; there are {allowed}"
            )
    return [
        e
        for e in every
        if e in names or e.split("/")[0] in names or e in {needed.get(n) for n in names}
    ]


def closing_table(found: list[results.Result]) -> Table:
    table = Table(
        "experiment",
        "steps",
        "seconds",
        "final number",
        "published",
        "figures",
        box=None,
        pad_edge=False,
    )
    for r in found:
        stems = [Path(f).stem for f in r.figures]
        folder = str(Path(r.figures[0]).parent) if r.figures else ""
        paths = (
            f"{folder}/{stems[0] if len(stems) == 1 else '{' + ','.join(stems) + '}'}.svg"
            if stems
            else ""
        )
        known = "" if r.published is None else f"{r.published:.10g}"
        table.add_row(
            r.experiment,
            str(r.steps),
            f"{r.seconds:.1f}",
            f"{r.quantity} {r.value:.5g}",
            known,
            paths,
        )
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[-1].overflow = "fold"
    return table
