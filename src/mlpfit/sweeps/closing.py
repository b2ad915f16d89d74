"""How a sweep ends: its table, what it answers, its figure, and which jobs failed."""

import sys
from pathlib import Path

from rich.table import Table

from mlpfit.config.catalogue import ready_sweeps, tutorial
from mlpfit.errors import users_code
from mlpfit.sweeps.figure import draw_sweep
from mlpfit.sweeps.jobs import diverged, read_sweep, searched_in
from mlpfit.sweeps.summary import Row, write
from mlpfit.training.progress import console

BEST = 10  # trials that the end of a search shows


def close(folder: Path, sharpness: bool) -> bool:
    """Write the summary of a sweep and its figure, say what they answer and which jobs failed.
    Returns whether any did."""
    keys, _ = read_sweep(folder)
    rows = write(folder, sharpness)
    metric = searched_in(folder)
    console.print(closing_table(rows, keys) if metric is None else best_table(rows, keys, metric))
    name = str(folder).rpartition("sweeps/")[2]
    if sentence := answer(name, rows):
        console.print(sentence)
    console.print(f"{folder}/summary.csv, {draw_sweep(folder)}", soft_wrap=True)
    failed = [row for row in rows if row["failure"]]
    if metric is not None:  # to a search, that is an answer
        failed = [row for row in failed if not diverged(row["failure"])]
    for row in failed:
        given = ", ".join(f"{key}={row[key]}" for key in keys) or row["job"]
        print(f"mlpfit: {given}: {row['failure']}", file=sys.stderr)
    if failed:
        print(
            f"mlpfit: {len(failed)} of {len(rows)} jobs failed; the same command runs them again",
            file=sys.stderr,
        )
    return bool(failed)


def best_table(rows: list[Row], keys: list[str], metric: str) -> Table:
    """The trials of a search with the least numbers."""
    done = [row for row in rows if not row["failure"]]
    best = sorted(done, key=lambda row: float(row[f"{metric}_median"]))[:BEST]
    table = closing_table(best, keys)
    table.title = f"the best {len(best)} of {len(rows)} trials"
    table.title_justify = "left"
    return table


def closing_table(rows: list[Row], keys: list[str]) -> Table:
    heads = (*keys, "replicas", "diverged", "mse, median (5 to 95 %)", "seconds")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        if row["failure"]:
            cells = ["", "", "failed", ""]
        else:
            low, middle, high = (f"{float(row[f'mse_{q}']):.4g}" for q in ("p5", "median", "p95"))
            lost, seconds = f"{float(row['diverged']):.0%}", f"{float(row['seconds']):.1f}"
            cells = [row["replicas"], lost, f"{middle} ({low} to {high})", seconds]
        table.add_row(*(row[key] for key in keys), *cells)
    return table


def answer(sweep: str, rows: list[Row]) -> str:
    """What a ready sweep answers, in a sentence made from its summary by the tutorial's
    ``answers.py``; empty for any other, and where jobs have failed."""
    if sweep not in ready_sweeps() or any(row["failure"] for row in rows):
        return ""
    answers = getattr(tutorial(sweep).part("answers"), "ANSWERS", {})
    name = sweep.split("/")[1]
    with users_code(f"the answer of sweep={sweep}"):
        return answers[name](rows) if name in answers else ""
