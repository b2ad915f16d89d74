"""Where a tutorial's published final numbers lie among the replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import grid_of_axes
from mlpfit.judging import published
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.run import QUANTITIES, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def distribution(ensembles: Mapping[str, Run]) -> Figure:
    """One panel an experiment: histogram of its final number over the replicas, the published one
    marked."""
    columns = min(len(ensembles), 2)
    figure, axes = grid_of_axes(
        rows=1, columns=columns, panels=len(ensembles), share_y=False, share_x=False
    )
    for ax, (name, run) in zip(axes, ensembles.items(), strict=True):
        number = published.final(name)
        quantity, update, step = (
            (number.quantity, number.update, number.step) if number else ("mse", "after", None)
        )
        values = published.measured(run, quantity, update, step)
        shown = values[np.isfinite(values) & ~run.diverged]
        low, high = quantiles(shown, (0.001, 0.999))
        if number:
            low, high = min(low, number.value), max(high, number.value)
        wide = high > 10 * low
        bins = np.geomspace(low, high, 50) if wide else np.linspace(low, high, 50)
        ax.hist(
            shown, bins=bins.tolist(), color=style.BAND, alpha=0.35, label=f"{len(shown)} replicas"
        )
        median = float(quantiles(np.where(run.diverged, np.inf, values), (0.5,))[0])
        if np.isfinite(median):
            ax.axvline(
                median,
                color=style.FIT,
                ls=":",
                label="median of all" if run.diverged.any() else "median",
            )
        if number:
            ax.axvline(
                number.value,
                color=style.PUBLISHED,
                ls="--",
                lw=2,
                label=f"published {number.value:g}",
            )
        lost = int(run.diverged.sum())
        ax.set(
            xscale="log" if wide else "linear",
            xlabel=QUANTITIES[quantity],
            title=name + (f" ({lost} diverged)" if lost else ""),
            yticks=[],
        )
        ax.legend()
    return figure
