"""The tower and what the two nets make of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mlpfit.figures import style
from mlpfit.figures.parts import Drawing, band, new, sorted_rows
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def target(run: Run) -> Figure:
    """The step function itself."""
    figure, ax = new()
    draw_target(ax, run)
    ax.set(title="A tower function")
    return figure


def fit(run: Run, replicas: Run | None = None, *, title: str) -> Figure:
    """The trained net over the data, as the page draws them."""
    figure, ax = new()
    x, _ = sorted_rows(run)
    band(ax, replicas, x)
    draw_target(ax, run)
    ax.plot(x[:, 0], run.predict(x)[0, :, 0], color=style.FIT, label="neural net")
    ax.set(title=title)
    ax.legend(loc="upper right")
    if replicas is not None:
        ax.autoscale(axis="y")  # the page's limits would cut the band
        ax.set_ylim(min(ax.get_ylim()[0], 0.2), 1.1)
        ax.legend(loc="upper center", ncols=2)
    return figure


def draw_target(ax: Axes, run: Run) -> None:
    x, y = sorted_rows(run)
    ax.plot(x[:, 0], y[:, 0], "--", color=style.TRUTH, label="data")
    ax.set(xlabel="X", ylabel="Y", ylim=(0.2, 0.95))


FIGURES = [
    Drawing("tower/target", "tower/small", "The target: a step function with three levels", target),
    Drawing(
        "tower/small_fit",
        "tower/small",
        "The net with one hidden layer of 32 units over the data",
        partial(fit, title="1-32-1 after 1000 steps"),
        band=True,
    ),
    Drawing(
        "tower/large_fit",
        "tower/large",
        "The net with three hidden layers of 64 units over the data",
        partial(fit, title="1-64-64-64-1 after 1000 steps"),
        band=True,
    ),
]
