"""What a finished run shows in a notebook, and sweeps as tables.

Functions import what they need, so that ``import mlpfit`` is quick.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlpfit.errors import RunError
from mlpfit.runs.run import QUANTITIES, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


def plot(run: Run, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
    """See :meth:`mlpfit.Run.plot`."""
    from mlpfit.report import glance

    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(1, 2, figsize=glance.SIZE, layout="constrained")[1]
    fit, loss = axes
    glance.draw_fit(fit, run)
    glance.draw_losses(loss, run)
    return fit, loss


VERDICTS = (  # columns of Run.verdicts
    *("published", "percentile", "median", "p5", "p95", "ratio", "p", "p_low", "p_high"),
    *("verdict", "between", "reason", "recovered", "replicas"),
)


def verdicts(run: Run) -> DataFrame:
    """See :meth:`mlpfit.Run.verdicts`."""
    import pandas

    from mlpfit.config.compose import as_published
    from mlpfit.judging import claims, ledger, published, rows
    from mlpfit.runs.identity import recipe_differences

    if run.replicas < 2:
        remedy = "train it with replicas=1000"
        raise RunError(f"{run.path}: one replica can't judge a number; {remedy}")
    name = run.config["name"]
    tutorial = name.split("/")[0]
    numbers = [n for n in published.tutorial(tutorial).numbers if n.experiment == name]
    judged = ledger.judge_numbers(numbers, {name: run}, claims.findings(tutorial))
    plain = [rows.plain(row) for row in judged]
    index = pandas.Index([row["key"] for row in plain], name="number")
    table = pandas.DataFrame(plain, index, columns=[*VERDICTS])
    if differing := recipe_differences(run, as_published(name)):
        table["departs"] = "; ".join(differing)
    return table


def shown(run: Run) -> str:
    """A table of the final numbers and a small picture of fit and loss, for Jupyter."""
    ensemble = f"{run.replicas} replicas, {run.diverged.sum()} diverged"
    seeds = ensemble if run.replicas > 1 else f"seed {run.seeds[0]}"
    rows = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{_median_in_words(run, name)}</td></tr>"
        for name, label in QUANTITIES.items()
        if name in run.metrics
    )
    caption = html.escape(f"{run.config['name']}: {seeds}")
    return f"<table><caption>{caption}</caption>{rows}</table>{_svg(run)}"


def _median_in_words(run: Run, quantity: str) -> str:
    from mlpfit.judging.statistics import quantiles

    low, median, high = quantiles(run.final(quantity))
    return f"{median:.4g}" + (f" ({low:.4g} to {high:.4g})" if run.replicas > 1 else "")


def _svg(run: Run) -> str:
    """The picture of ``plot``; equal runs give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    from mlpfit.figures import style
    from mlpfit.report import glance

    buffer = io.StringIO()
    with style.use(), matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=glance.SIZE)
        plot(run, figure.subplots(1, 2))
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = "<svg" + buffer.getvalue().partition("<svg")[2]
    return re.sub(r"(\.\d\d)\d+", r"\1", svg)  # hundredths of a point suffice


def load_sweep(path: str | Path) -> DataFrame:
    """The summary of the sweep in this folder, one row a job; the columns are those of
    :mod:`mlpfit.sweeps.summary`.

        mlpfit.load_sweep("outputs/sweeps/parabola/learning_rate")

    Raises RunError for a missing or damaged summary.
    """
    import pandas

    from mlpfit.sweeps import summary

    table = summary.read_table(Path(path))
    for key in table.columns[: table.columns.get_loc(summary.JOB_COLUMN)]:
        with suppress(ValueError):  # a key of texts
            table[key] = pandas.to_numeric(table[key])
    return table.set_index(summary.JOB_COLUMN)
