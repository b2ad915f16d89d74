"""The tower and what the two nets make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpfit.figures import style
from mlpfit.figures.parts import Picture, band, new, sorted_rows
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def target(run: Run, replicas: Run | None) -> Figure:
    """The step function itself."""
    figure, ax = new()
    draw_target(ax, run)
    ax.set(title="A tower function")
    return figure


def fit(run: Run, replicas: Run | None, title: str) -> Figure:
    """The trained net over the data, as the page draws them."""
    figure, ax = new()
    x, _ = sorted_rows(run)
    band(ax, replicas, x)
    draw_target(ax, run)
    ax.plot(x[:, 0], run.predict(x)[0, :, 0], color=style.FIT, label="neural net")
    ax.set(title=title)
    ax.legend(loc="upper right")
    return figure


def draw_target(ax: Axes, run: Run) -> None:
    x, y = sorted_rows(run)
    ax.plot(x[:, 0], y[:, 0], "--", color=style.TRUTH, label="data")
    ax.set(xlabel="X", ylabel="Y", ylim=(0.2, 0.95))


def small_fit(run: Run, replicas: Run | None) -> Figure:
    return fit(run, replicas, "1-32-1 after 1000 steps")


def large_fit(run: Run, replicas: Run | None) -> Figure:
    return fit(run, replicas, "1-64-64-64-1 after 1000 steps")


PICTURES = [
    Picture(target, "tower/small", "The target: a step function with three levels"),
    Picture(
        small_fit,
        "tower/small",
        "The net with one hidden layer of 32 units over the data",
        band=True,
    ),
    Picture(
        large_fit,
        "tower/large",
        "The net with three hidden layers of 64 units over the data",
        band=True,
    ),
]
