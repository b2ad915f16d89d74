"""End of a sweep: its table, answer and figure, and the jobs that failed."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mlpfit.config.catalogue import ready_sweep, tutorial
from mlpfit.errors import ConfigError, allowed, as_config_error
from mlpfit.figures.save import save, short_hash
from mlpfit.figures.sweep import curves, maps, search_figure
from mlpfit.sweeps.summary import (
    QUANTITIES,
    Row,
    diverged,
    figure_sweep_name,
    read_summary,
    read_sweep,
    ready_sweep_name,
    stability_of,
    sweep_name,
    sweep_note,
    texts_of,
    write_summary,
)
from mlpfit.training.progress import console

BEST = 10  # trials of a search in its table


def finish_sweep(folder: Path, content: Mapping[str, Any] | None = None) -> bool:
    """Write a sweep's summary and figure, print them and the answer; content: of sweep.json, None:
    read it. Returns whether jobs failed."""
    keys, _ = read_sweep(folder, content)
    rows = write_summary(folder, content)
    metric = sweep_note(folder, "search")
    console.print(summary_table(rows, keys) if metric is None else best_table(rows, keys, metric))
    console.print(f"{folder}/summary.csv, {draw_rows(folder, keys, rows)}", soft_wrap=True)
    if ready := ready_sweep_name(folder):
        console.print(answer(ready, rows) or "no answer: jobs have failed, or answers.py has none")
    elif ready := figure_sweep_name(folder, keys):
        console.print(f"no answer: sweep={ready} has other settings")
    failed = [row for row in rows if row["failure"]]
    if metric is not None:  # to a search, a diverged trial is a result
        failed = [row for row in failed if not diverged(row["failure"])]
    for row in failed:
        values = ", ".join(f"{key}={row[key]}" for key in keys) or row["job"]
        print(f"mlpfit: {values}: {row['failure']}", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {len(rows)} jobs failed"
        print(f"mlpfit: {count}; the same command runs them again", file=sys.stderr)
    return bool(failed)


def best_table(rows: list[Row], keys: list[str], metric: str) -> Table:
    """Table of the trials of a search with the lowest metric."""
    finished = [row for row in rows if not row["failure"]]
    best = sorted(finished, key=lambda row: row[f"{metric}_median"])[:BEST]
    table = summary_table(best, keys)
    table.title = f"the best {len(best)} of {len(rows)} trials"
    table.title_justify = "left"
    return table


def summary_table(rows: list[Row], keys: list[str]) -> Table:
    """Table of the jobs: swept keys, error, seconds."""
    heads = (*keys, "replicas", "diverged", "mse, median (5 to 95 %)", "seconds")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        cells = ["", "", "failed", ""]
        if not row["failure"]:
            low, middle, high = (f"{row[f'mse_{q}']:.4g}" for q in ("p5", "median", "p95"))
            share, seconds = f"{row['diverged']:.0%}", f"{row['seconds']:.1f}"
            error = f"{middle} ({low} to {high})" if row["replicas"] > 1 else middle
            cells = [str(row["replicas"]), share, error, seconds]
        table.add_row(*(row[key] for key in keys), *cells)
    return table


def answer(ready: str, rows: list[Row]) -> str:
    """The answer of a ready sweep in a sentence, by the tutorial's ``answers.py`` from the
    summary's rows; "" if there is none or if jobs failed. Raises ConfigError if it fails."""
    make_sentence = answers_of(ready).get(ready.split("/")[1])
    if make_sentence is None or any(row["failure"] for row in rows):
        return ""
    with as_config_error(f"the answer of sweep={ready}"):
        sentence = make_sentence([Columns(row) for row in rows])
    if not isinstance(sentence, str) or not sentence:
        raise ConfigError(f"the answer of sweep={ready}: {sentence!r}: must be a sentence")
    return sentence


class Columns(dict[str, Any]):
    """A row of the summary."""

    def __missing__(self, column: str) -> str:
        raise ValueError(f"{column}: no such column; {allowed(column, self)}")


def answers_of(sweep: str) -> dict[str, Callable[[list[Row]], str]]:
    """``ANSWERS`` of the tutorial of a ready sweep: sweep's name -> function of the rows."""
    return getattr(tutorial(sweep).module("answers", "ANSWERS"), "ANSWERS", {})


def draw_sweep(folder: Path) -> str:
    """:func:`draw_rows` of the summary in this folder. Raises RunError if there is none."""
    return draw_rows(folder, *read_summary(folder))


def draw_rows(folder: Path, keys: list[str], rows: list[Row]) -> str:
    """Draw figure.svg beside the summary: for a ready sweep as its YAML says, for a search its
    trials, else curves for one swept key, maps for two or three. Returns the path, or why there is
    no figure."""
    name, metric = sweep_name(folder), sweep_note(folder, "search")
    ready = figure_sweep_name(folder, keys)
    spec = checked_figure(ready, keys) if ready else None
    if spec is None and metric is None and len(keys) > 3:
        return f"no figure of {len(keys)} swept keys (three at most)"
    finished = [row for row in rows if not row["failure"]]
    if not finished:
        (folder / "figure.svg").unlink(missing_ok=True)
        return "no figure: no job has finished"
    results = [{k: v for k, v in texts_of(row).items() if k != "seconds"} for row in rows]
    data = short_hash(json.dumps(results).encode())
    source = f"{name}, {len(rows)} jobs; data {data}"

    def draw() -> Any:
        if metric is not None:
            return search_figure(rows, keys, metric)
        if spec is None and len(keys) > 1:
            return maps(rows, keys)
        axes = spec or {"x": keys[0] if keys else "parameters"}
        has_sharpness = "sharpness_median" in rows[0]
        limits = stability_of(finished, axes["x"]) if has_sharpness else None
        return curves(rows, **axes, stability=limits)

    save(folder / "figure.svg", draw, f"Sweep {name}", source)
    return str(folder / "figure.svg")


def checked_figure(ready: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """Axes of a ready sweep's figure: x, optionally lines and panels; None: default figure. Raises
    ConfigError if they are wrong, or if ``answers.py`` names a sweep that does not exist."""
    owner = tutorial(ready)
    for name in answers_of(ready):
        if (sweep := owner.full_name(name)) not in owner.sweeps():
            problem = f"no such sweep; {allowed(sweep, owner.sweeps())}"
            raise ConfigError(f"{owner.name}/answers.py: {name}: {problem}")
    spec = ready_sweep(ready).figure
    if not spec:
        return spec
    columns = [*keys, "parameters", "layers"]
    values_of = {"x": columns, "lines": columns, "panels": [*QUANTITIES]}
    for name, value in spec.items() if isinstance(spec, dict) else [("", spec)]:
        given = f"sweep={ready}: figure.{name}="
        if name not in values_of:
            raise ConfigError(f"{given}{value}: a figure has x, and may have lines and panels")
        values = value if name == "panels" and isinstance(value, list) else [value]
        if wrong := [v for v in values if v not in values_of[name]]:
            raise ConfigError(f"{given}{wrong[0]}: {allowed(wrong[0], values_of[name])}")
    if "x" not in spec:
        raise ConfigError(f"sweep={ready}: its figure needs an x; allowed are {', '.join(columns)}")
    return spec
