"""Finished runs and sweeps for notebooks.

``mlpfit.runs.run`` reads runs with numpy alone; the Run of this module adds figures, tables and
verdicts. Its methods import what they need, so that ``import mlpfit`` is quick.
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
from mlpfit.runs import run as finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Run(finished.Run):
    """A finished run, displayed as a table and a picture; its arrays are described in
    :class:`mlpfit.runs.run.Run`.

    >>> import mlpfit
    >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
    >>> run.predict([[0.5], [1.0]]).shape
    (3, 2, 1)
    >>> sorted(run.metrics)
    ['dead_units', 'diverged_at', 'mse', 'sse', 'truth_mse', 'val_mse']
    """

    def plot(self, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw the fit and the loss, of an ensemble with bands, on these two axes (None: on a new
        figure's), and return the two.

        >>> import mlpfit
        >>> from matplotlib.figure import Figure
        >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
        >>> fit, loss = run.plot(Figure().subplots(1, 2))
        >>> loss.get_yscale()
        'log'
        """
        from mlpfit.report import glance

        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(1, 2, figsize=glance.SIZE, layout="constrained")[1]
        fit, loss = axes
        glance.draw_fit(fit, self)
        glance.draw_losses(loss, self)
        return fit, loss

    def to_frame(self) -> DataFrame:
        """The final numbers, one row a replica, indexed by seed.

        >>> import mlpfit
        >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
        >>> run.to_frame()["mse"].shape
        (3,)
        """
        import pandas

        index = pandas.Index(self.seeds, name="seed")
        return pandas.DataFrame(self.metrics, index=index)

    def verdicts(self) -> Verdicts:
        """The numbers that the experiment's page prints, judged by these replicas as in the ledger
        (:mod:`mlpfit.judging.ledger`): a list, printed as a table, of dicts with key, published,
        verdict, percentile, p, median, p5, p95, ...; a reason instead for a number that no run has.
        "departs" lists the keys in which the run's recipe differs from the experiment's, with both
        values ("target.noise: 3.0, now 1.0").

        Raises RunError for a single replica, or if the run has too few steps for one of them.

        >>> import mlpfit
        >>> run = mlpfit.fit("tower/large", replicas=2, trainer={"max_steps": 1})
        >>> run.verdicts()
        Traceback (most recent call last):
        mlpfit.errors.RunError: ...tower/large:...: not a step of this run, which took 1
        """
        from mlpfit.config.compose import as_published
        from mlpfit.judging import claims, ledger, published
        from mlpfit.runs.identity import recipe_differences

        if self.replicas < 2:
            remedy = "train it with replicas=1000"
            raise RunError(f"{self.path}: one replica can't judge a number; {remedy}")
        name = self.config["name"]
        tutorial, departs = name.split("/")[0], recipe_differences(self, as_published(name))
        findings = claims.findings(tutorial)
        return Verdicts(
            {"key": n.key} | ledger.judge_number(n, {name: self}, findings) | {"departs": departs}
            for n in published.tutorial(tutorial).numbers
            if n.experiment == name
        )

    def _repr_html_(self) -> str:
        """A table of the final numbers and a small picture of fit and loss, for Jupyter."""
        ensemble = f"{self.replicas} replicas, {self.diverged.sum()} diverged"
        seeds = ensemble if self.replicas > 1 else f"seed {self.seeds[0]}"
        rows = "".join(
            f"<tr><td>{html.escape(label)}</td><td>{self._median_in_words(name)}</td></tr>"
            for name, label in finished.QUANTITIES.items()
            if name in self.metrics
        )
        caption = html.escape(f"{self.config['name']}: {seeds}")
        return f"<table><caption>{caption}</caption>{rows}</table>{self._svg()}"

    def _median_in_words(self, quantity: str) -> str:
        from mlpfit.judging.statistics import quantiles

        low, median, high = quantiles(self.final(quantity))
        return f"{median:.4g}" + (f" ({low:.4g} to {high:.4g})" if self.replicas > 1 else "")

    def _svg(self) -> str:
        """The picture of ``plot``; equal runs give equal bytes."""
        import matplotlib
        from matplotlib.figure import Figure

        from mlpfit.figures import style
        from mlpfit.report import glance

        buffer = io.StringIO()
        with style.use(), matplotlib.rc_context({"svg.fonttype": "none"}):
            figure = Figure(figsize=glance.SIZE)
            self.plot(figure.subplots(1, 2))
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


def load_run(path: str | Path) -> Run:
    """The finished run or ensemble in this folder. Raises RunError, naming the file, if it is
    incomplete or damaged.

    >>> import mlpfit
    >>> path = mlpfit.fit("parabola/eight_neurons", trainer={"max_steps": 20}).path
    >>> mlpfit.load_run(path).history["loss"].shape
    (20, 1)
    """
    run = finished.load_run(path)
    return Run(run.path, {"identity": run.identity, "files": run._digests}, run.shards)


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
