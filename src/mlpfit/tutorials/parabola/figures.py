"""Eight ReLU units on a parabola, and a look inside them."""

from functools import partial

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Drawing, Figure, draw_band, draw_loss, grid_of_axes, new_axes
from mlpfit.runs.run import Run

GRID = np.linspace(-5, 5, 100)[:, None]


def samples(run: Run) -> Figure:
    figure, ax = new_axes()
    draw_parabola(ax)
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0], "o", color=style.ROWS, label="samples")
    ax.set(title="samples", xlabel="x", ylabel="y")
    ax.legend()
    return figure


def prediction(run: Run, replicas: Run | None = None) -> Figure:
    """The net on a grid; the page labels these points "samples", but they are predictions."""
    figure, ax = new_axes()
    draw_band(ax, replicas, GRID)
    draw_parabola(ax)
    ax.plot(GRID[:, 0], run.predict(GRID)[0, :, 0], "o", color=style.FIT, label="prediction")
    ax.set(title="prediction", xlabel="x", ylabel="y")
    ax.legend()
    return figure


def neurons(run: Run) -> Figure:
    """Output of each hidden unit on a grid, which the page labels "samples", over the parabola."""
    hidden = run.hidden(GRID)[0][0]
    figure, axes = grid_of_axes(hidden.shape[1], columns=4, sharex=True, sharey=True)
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


NET = "eight_neurons"
loss = partial(draw_loss, title="Loss of eight units", xlabel="epoch", ylabel="MSE loss")
FIGURES = [
    Drawing("samples", NET, "x squared and the 100 samples", samples),
    Drawing("loss", NET, "Loss of every step", loss, band=True),
    Drawing("prediction", NET, "Prediction over x squared", prediction, band=True),
    Drawing("neurons", NET, "Output of each of the eight hidden units", neurons),
]
