"""Eight ReLU units on a parabola, and a look inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Picture, band, draw_loss, grid_of_axes, new
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = np.linspace(-5, 5, 100)[:, None]


def samples(run: Run, replicas: Run | None) -> Figure:
    figure, ax = new()
    draw_parabola(ax)
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="samples")
    ax.set(title="samples", xlabel="x", ylabel="y")
    ax.legend()
    return figure


def loss(run: Run, replicas: Run | None) -> Figure:
    return draw_loss(run, replicas, "Loss of eight units", "MSE loss")


def prediction(run: Run, replicas: Run | None) -> Figure:
    """The page labels these points "samples"; they are predictions."""
    figure, ax = new()
    band(ax, replicas, GRID)
    draw_parabola(ax)
    ax.plot(GRID[:, 0], run.predict(GRID)[0, :, 0], "o", color=style.FIT, label="prediction")
    ax.set(title="prediction", xlabel="x", ylabel="y")
    ax.legend()
    return figure


def neurons(run: Run, replicas: Run | None) -> Figure:
    """Output of each hidden unit on the grid, the parabola behind it (the page labels the outputs
    "samples")."""
    hidden = run.hidden(GRID)[0][0]
    figure, axes = grid_of_axes(rows=2, columns=4, panels=hidden.shape[1])
    for unit, ax in enumerate(axes):
        draw_parabola(ax)
        ax.plot(GRID[:, 0], hidden[:, unit], "o", ms=2.5, color=style.UNITS, label="activation")
        ax.set(title=f"hidden neuron {unit}")
    axes[0].legend(loc="upper center")
    figure.supxlabel("x", fontsize=9)
    figure.supylabel("y", fontsize=9)
    return figure


def draw_parabola(ax: Axes) -> None:
    ax.plot(GRID[:, 0], GRID[:, 0] ** 2, "--", color=style.TRUTH, label="$f(x) = x^2$")


PICTURES = [
    Picture(samples, "parabola/eight_neurons", "x squared and the 100 samples"),
    Picture(loss, "parabola/eight_neurons", "Loss of every step", band=True),
    Picture(prediction, "parabola/eight_neurons", "Prediction over x squared", band=True),
    Picture(neurons, "parabola/eight_neurons", "Output of each of the eight hidden units"),
]
