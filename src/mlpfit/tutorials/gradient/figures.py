"""A line and a sine, by hand-derived gradients and by autograd."""

from functools import partial
from typing import Any

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Drawing, Figure, draw_band, draw_loss, new_axes
from mlpfit.runs.run import Run


def line_data(run: Run) -> Figure:
    """All 100 rows as generated, before rows are sampled and standardised."""
    figure, ax = new_axes()
    center, scale = run.data["center"][0], run.data["scale"][0]
    x = run.data["pool_x"][0, :, 0] * scale[0] + center[0]
    y = run.data["pool_y"][0, :, 0] * scale[1] + center[1]
    ax.plot(x, y, "o", color=style.TRUTH)
    ax.set(xlabel="x", ylabel="y", title="Noisy observations of a line")
    return figure


def fitted_line(run: Run, *, title: str) -> Figure:
    figure, ax = new_axes()
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="observed")
    slope, intercept = coefficients(run)
    label = f"{slope:.3f} x {'-' if intercept < 0 else '+'} {abs(intercept):.3f}"
    ax.axline((0, intercept), slope=slope, color=style.FIT, label=label)
    ax.set(xlabel="x, standardised", ylabel="y, standardised", title=title)
    ax.legend(loc="upper left")
    return figure


def sine_data(run: Run) -> Figure:
    figure, ax = new_axes()
    draw_sine(ax, run)
    ax.set(title="20 noisy observations of 4 sin x")
    ax.legend(loc="upper right")
    return figure


def sine_line_fit(run: Run) -> Figure:
    """The fitted line, and the line that the page draws, whose slope is the intercept."""
    figure, ax = new_axes()
    draw_sine(ax, run)
    slope, intercept = coefficients(run)
    ax.axline((0, intercept), slope=slope, color=style.FIT, label="fitted line")
    look: dict[str, Any] = {"color": style.PUBLISHED, "ls": "-.", "label": "as the page draws it"}
    ax.axline((0, intercept), slope=intercept, **look)
    ax.set(title="A straight line is no fit for a sine", ylim=(-7, 7))
    ax.legend(loc="upper right", ncols=2)
    return figure


def sine_network_fit(run: Run, replicas: Run | None = None) -> Figure:
    figure, ax = new_axes()
    x = np.linspace(run.data["pool_x"].min(), run.data["pool_x"].max(), 400)[:, None]
    draw_band(ax, replicas, x)
    draw_sine(ax, run)
    ax.plot(x[:, 0], run.predict(x)[0, :, 0], color=style.FIT, label="network")
    ax.set(title="64 ReLU units on the sine", ylim=(-7, 7))
    if replicas is not None:
        ax.autoscale(axis="y")  # the page's limits would cut the band
        ax.set_ylim(top=1.5 * ax.get_ylim()[1])
    ax.legend(loc="upper right", ncols=2)
    return figure


def draw_sine(ax: Axes, run: Run) -> None:
    x, truth = (run.data[name][0, :, 0] for name in ("pool_x", "pool_truth"))
    ax.plot(x, truth, "--", color=style.TRUTH, label="truth")
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="observed")
    ax.set(xlabel="x", ylabel="y")


def coefficients(run: Run) -> tuple[float, float]:
    """Slope and intercept of a linear unit."""
    ((weight, bias),) = run.parameters()
    return float(weight[0, 0, 0]), float(bias[0, 0, 0])


LINE, AUTOGRAD, SINE, NETWORK = "line_by_hand", "line_autograd", "sine_by_hand", "sine_network"
loss = partial(draw_loss, xlabel="epoch", ylabel="sum of squares")
line_loss = partial(loss, title="Descent on the line, gradient by hand")
sine_line_loss = partial(loss, title="Descent of a straight line on the sine")
by_hand = partial(fitted_line, title="The line found by hand-derived descent")
by_autograd = partial(fitted_line, title="The line found with autograd")
ROWS_AND_LINE = "Standardised rows and the line found"
BOTH_LINES = "The straight line over the sine, fitted and as the page draws it"
LINE_LOSS = "Loss of the hand-derived descent on the line"
SINE_LOSS = "Loss of the straight line on the sine"
FIGURES = [
    Drawing("line_data", LINE, "100 noisy observations of a line", line_data),
    Drawing("line_loss", LINE, LINE_LOSS, line_loss, band=True),
    Drawing("line_fit", LINE, f"{ROWS_AND_LINE} by hand-derived descent", by_hand),
    Drawing("sine_data", SINE, "4 sin x and 20 noisy observations", sine_data),
    Drawing("sine_line_loss", SINE, SINE_LOSS, sine_line_loss, band=True, ours=True),
    Drawing("sine_line_fit", SINE, BOTH_LINES, sine_line_fit),
    Drawing(
        "line_autograd_fit", AUTOGRAD, f"{ROWS_AND_LINE} with autograd", by_autograd, ours=True
    ),
    Drawing("sine_network_fit", NETWORK, "The network over the sine", sine_network_fit, band=True),
]
