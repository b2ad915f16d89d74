"""A line and a sine, by hand-derived gradients and by autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Drawing, band, draw_loss, new
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def line_data(run: Run) -> Figure:
    """All 100 rows as generated, before rows are sampled and standardised."""
    figure, ax = new()
    center, scale = run.data["center"][0], run.data["scale"][0]
    x = run.data["pool_x"][0, :, 0] * scale[0] + center[0]
    y = run.data["pool_y"][0, :, 0] * scale[1] + center[1]
    ax.plot(x, y, "o", color=style.TRUTH)
    ax.set(xlabel="x", ylabel="y", title="Noisy observations of a line")
    return figure


def fitted_line(run: Run, *, title: str) -> Figure:
    figure, ax = new()
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="observed")
    slope, intercept = coefficients(run)
    ax.axline((0, intercept), slope=slope, color=style.FIT, label=f"{slope:.3f} x {intercept:+.3f}")
    ax.set(xlabel="x, standardised", ylabel="y, standardised", title=title)
    ax.legend(loc="upper left")
    return figure


def sine_data(run: Run) -> Figure:
    figure, ax = new()
    draw_sine(ax, run)
    ax.set(title="20 noisy observations of 4 sin x")
    ax.legend(loc="upper right")
    return figure


def sine_line_fit(run: Run) -> Figure:
    """The line that was fitted, and the line the page draws: it passes the intercept as the slope,
    too."""
    figure, ax = new()
    draw_sine(ax, run)
    slope, intercept = coefficients(run)
    ax.axline((0, intercept), slope=slope, color=style.FIT, label="fitted line")
    ax.axline(
        (0, intercept),
        slope=intercept,
        color=style.PUBLISHED,
        ls="-.",
        label="as the page draws it",
    )
    ax.set(title="A straight line is no fit for a sine", ylim=(-7, 7))
    ax.legend(loc="upper right", ncols=2)
    return figure


def sine_network_fit(run: Run, replicas: Run | None = None) -> Figure:
    figure, ax = new()
    x = np.linspace(run.data["pool_x"].min(), run.data["pool_x"].max(), 400)[:, None]
    band(ax, replicas, x)
    draw_sine(ax, run)
    ax.plot(x[:, 0], run.predict(x)[0, :, 0], color=style.FIT, label="network")
    ax.set(title="64 ReLU units on the sine", ylim=(-7, 7))
    if replicas is not None:
        ax.autoscale(axis="y")  # the page's limits would cut the band
        ax.set_ylim(top=1.5 * ax.get_ylim()[1])
    ax.legend(loc="upper right", ncols=2)
    return figure


def draw_sine(ax: Axes, run: Run) -> None:
    ax.plot(
        run.data["pool_x"][0, :, 0],
        run.data["pool_truth"][0, :, 0],
        "--",
        color=style.TRUTH,
        label="truth",
    )
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="observed")
    ax.set(xlabel="x", ylabel="y")


def coefficients(run: Run) -> tuple[float, float]:
    """Slope and intercept of a linear unit."""
    ((weight, bias),) = run.parameters()
    return float(weight[0, 0, 0]), float(bias[0, 0, 0])


def loss(title: str) -> Callable[..., Figure]:
    return partial(draw_loss, title=title, ylabel="sum of squares")


FIGURES = [
    Drawing(
        "gradient/line_data",
        "gradient/line_by_hand",
        "100 noisy observations of a line",
        line_data,
    ),
    Drawing(
        "gradient/line_loss",
        "gradient/line_by_hand",
        "Loss of the hand-derived descent on the line",
        loss("Descent on the line, gradient by hand"),
        band=True,
    ),
    Drawing(
        "gradient/line_fit",
        "gradient/line_by_hand",
        "Standardised rows and the line found by hand-derived descent",
        partial(fitted_line, title="The line found by hand-derived descent"),
    ),
    Drawing(
        "gradient/sine_data",
        "gradient/sine_by_hand",
        "4 sin x and 20 noisy observations",
        sine_data,
    ),
    Drawing(
        "gradient/sine_line_loss",
        "gradient/sine_by_hand",
        "Loss of the straight line on the sine",
        loss("Descent of a straight line on the sine"),
        band=True,
        ours=True,
    ),
    Drawing(
        "gradient/sine_line_fit",
        "gradient/sine_by_hand",
        "The straight line over the sine, fitted and as the page draws it",
        sine_line_fit,
    ),
    Drawing(
        "gradient/line_autograd_fit",
        "gradient/line_autograd",
        "Standardised rows and the line found with autograd",
        partial(fitted_line, title="The line found with autograd"),
        ours=True,
    ),
    Drawing(
        "gradient/sine_network_fit",
        "gradient/sine_network",
        "The network over the sine",
        sine_network_fit,
        band=True,
    ),
]
