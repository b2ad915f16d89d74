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
from typing import TYPE_CHECKING, Any

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


def verdicts(run: Run) -> Verdicts:
    """See :meth:`mlpfit.Run.verdicts`."""
    from mlpfit.config.compose import as_published
    from mlpfit.judging import claims, ledger, published, rows
    from mlpfit.runs.identity import recipe_differences

    if run.replicas < 2:
        remedy = "train it with replicas=1000"
        raise RunError(f"{run.path}: one replica can't judge a number; {remedy}")
    name = run.config["name"]
    tutorial, departs = name.split("/")[0], recipe_differences(run, as_published(name))
    findings = claims.findings(tutorial)
    return Verdicts(
        rows.plain(row) | {"departs": departs}
        for row in ledger.judge_numbers(
            [n for n in published.tutorial(tutorial).numbers if n.experiment == name],
            {name: run},
            findings,
        )
    )


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


class Verdicts(list[dict[str, Any]]):
    """Rows of :meth:`Run.verdicts`, shown as a table."""

    HEADS = ("number", "on the page", "percentile", "median (5 to 95 %)", "verdict")

    def cells(self) -> list[tuple[str, ...]]:
        """The cells of the table, row by row."""
        from mlpfit.judging import words

        return [
            (
                row["key"],
                f"{row['published']:g}",
                words.percent(row["percentile"]) if "percentile" in row else "",
                words.band(row) if "median" in row else "",
                words.number_verdict(row),
            )
            for row in self
        ]

    def __repr__(self) -> str:
        rows = [self.HEADS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join([*lines, *self._remark()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.HEADS)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.cells()
        )
        remark = "".join(f"<p>{html.escape(line)}</p>" for line in self._remark())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{remark}"

    def _remark(self) -> list[str]:
        """That the run's recipe is not the page's, so that its verdicts are not about the page."""
        departs = self[0]["departs"] if self else []
        return [f"another recipe than the experiment's: {'; '.join(departs)}"] if departs else []


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
