"""Train every experiment and draw every published figure, unless they are up to date."""

import sys
import time
from pathlib import Path

from rich.table import Table

from mlpfit.commands.arguments import Parser
from mlpfit.config.catalogue import experiments, tutorial
from mlpfit.config.compose import as_published, keep_published
from mlpfit.figures import draw
from mlpfit.judging.variants import check_tutorial
from mlpfit.processes import Workers, cores, start_workers, stop_workers
from mlpfit.report import table as results
from mlpfit.runs.run import MARKER
from mlpfit.training.progress import console, counted
from mlpfit.training.train import train_runs

OUTPUTS = Path("outputs")
TRAINING = "mlpfit.training.run"  # a module that imports torch and Lightning
parser = Parser(
    "reproduce",
    "Train every experiment (or those named) and draw their figures, unless they are up to date; "
    "print the table of results.",
)
parser.add_names("tutorial | experiment | tutorial/figure")


def main() -> int:
    started, names = time.time(), parser.parse().names
    workers = early_workers(names)
    try:
        return reproduce(started, names, workers)
    finally:
        stop_workers(workers)


def early_workers(names: list[str]) -> Workers:
    """Processes for the runs that are not there, which import torch while this one composes and
    checks the experiments; none for a single run."""
    missing = [e for e in experiments() if not (OUTPUTS / "runs" / e / MARKER).is_file()]
    if names:
        missing = [e for e in missing if {e, e.split("/")[0]} & {*names}]
    return start_workers(min(cores(), len(missing)), TRAINING) if len(missing) > 1 else []


def reproduce(started: float, names: list[str], workers: Workers) -> int:
    chosen = select_experiments(names)
    configs = [as_published(name) for name in chosen]
    stale = train_runs(configs, workers)
    keep_published()  # for the processes that draw
    # Before the figures: if this is killed, some figures are missing, and the next time goes on.
    missing = not names and not (OUTPUTS / "results.csv").is_file()
    finished = write_results(chosen) if stale or missing else []
    owners = {name.split("/")[0] for name in chosen}  # whose distributions are drawn, too
    drawable = [name for name in experiments() if name.split("/")[0] in owners]
    other = draw.stale_ensembles(drawable, OUTPUTS)
    poorer = draw.poorer_ensembles(drawable, OUTPUTS)
    for head, reasons in (("no bands: ", [*other.values()]), ("", [*poorer.values()])):
        if reasons:
            more = f" (and {len(reasons) - 1} others likewise)" if len(reasons) > 1 else ""
            print(f"mlpfit: {head}{reasons[0]}{more}", file=sys.stderr)
    drawn, current = draw.draw_all(names, OUTPUTS, [*other, *poorer], workers)
    if not stale and not drawn:
        current_files = f"{counted(len(chosen), 'run')}, {counted(current, 'figure')}"
        seconds = time.time() - started
        console.print(f"everything is up to date: {current_files} ({seconds:.1f} s)")
        return 0
    console.print(closing_table(finished or write_results(chosen)))
    trained, figures = counted(len(stale), "run"), counted(drawn, "figure")
    seconds = time.time() - started
    console.print(f"{trained} trained, {figures} drawn, {current} up to date ({seconds:.1f} s)")
    return 0


def write_results(chosen: list[str]) -> list[results.Result]:
    """The results of these experiments; those of all are written to results.csv and README."""
    finished = [results.result(name, OUTPUTS) for name in chosen]
    if chosen == experiments():
        results.write([r for r in finished if tutorial(r.experiment).packaged], OUTPUTS)
        if why := results.update_readme(OUTPUTS):
            print(f"mlpfit: {why}", file=sys.stderr)
    return finished


def select_experiments(names: list[str]) -> list[str]:
    """The experiments of the named tutorials, experiments and figures (default: all). Raises
    ConfigError for an unknown name, here or in a file of these tutorials."""
    drawn_run = {d.name: d.experiment for d in draw.drawings()} if names else {}
    draw.check_names(names)
    needed = {*names, *(drawn_run.get(name) for name in names)}
    chosen = [e for e in experiments() if not names or {e, e.split("/")[0]} & needed]
    for owner in dict.fromkeys(name.split("/")[0] for name in chosen):
        check_tutorial(owner)
    return chosen


def closing_table(finished: list[results.Result]) -> Table:
    """Table of the finished runs, their final numbers and figures."""
    heads = ("experiment", "steps", "seconds", "final number", "published", "figures")
    table = Table(*heads, box=None, pad_edge=False)
    for r in finished:
        stems = ",".join(r.figures)
        stems = f"{{{stems}}}" if len(r.figures) > 1 else stems
        files = f"{OUTPUTS}/figures/{r.experiment.split('/')[0]}/{stems}.svg" if stems else ""
        value = f"{r.quantity}{f'@{r.at}' if r.at else ''} {r.value:.5g}"
        table.add_row(r.experiment, str(r.steps), f"{r.seconds:.1f}", value, r.published, files)
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[-1].overflow = "fold"
    return table
