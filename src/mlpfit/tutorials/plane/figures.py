"""Observed against predicted for the three ways of fitting the plane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mlpfit.figures import style
from mlpfit.figures.parts import Drawing, new
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def observed_predicted(run: Run, *, title: str) -> Figure:
    """One point a row; on the red diagonal the prediction is right."""
    figure, ax = new()
    y = run.data["y"][0, :, 0]
    predicted = run.predict(run.data["x"])[0, :, 0]
    ax.plot(y, predicted, "o", color=style.TRUTH, mfc="none", alpha=0.8, label="row")
    ax.axline((0, 0), slope=1, color=style.DIAGONAL, label="observed = predicted")
    ax.set(xlabel="Observed", ylabel="Predicted", title=title)
    ax.legend(loc="upper left")
    return figure


FIGURES = [
    Drawing(
        "plane/scratch",
        "plane/scratch",
        "Observed against predicted, plain matrices and autograd",
        partial(observed_predicted, title="Neural network from scratch"),
    ),
    Drawing(
        "plane/sequential",
        "plane/sequential",
        "Observed against predicted, ready-made layers and Adam",
        partial(observed_predicted, title="Neural network: a sequential module"),
    ),
    Drawing(
        "plane/least_squares",
        "plane/least_squares",
        "Observed against predicted, least squares",
        partial(observed_predicted, title="Linear regression"),
    ),
]
