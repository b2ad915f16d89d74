"""Observed against predicted for the three ways of fitting the plane."""

from functools import partial

from mlpfit.figures import style
from mlpfit.figures.parts import Drawing, Figure, new_axes
from mlpfit.runs.run import Run


def observed_predicted(run: Run, *, title: str) -> Figure:
    """One point a row; on the red diagonal the prediction is exact."""
    figure, ax = new_axes()
    y = run.data["y"][0, :, 0]
    predicted = run.predict(run.data["x"])[0, :, 0]
    ax.plot(y, predicted, "o", color=style.TRUTH, mfc="none", alpha=0.8, label="row")
    ax.axline((0, 0), slope=1, color=style.DIAGONAL, label="observed = predicted")
    ax.set(xlabel="Observed", ylabel="Predicted", title=title)
    ax.legend(loc="upper left")
    return figure


METHODS = {
    "scratch": ("plain matrices and autograd", "Neural network from scratch"),
    "sequential": ("ready-made layers and Adam", "Neural network: a sequential module"),
    "least_squares": ("least squares", "Linear regression"),
}
FIGURES = [
    Drawing(n, n, f"Observed against predicted, {method}", partial(observed_predicted, title=title))
    for n, (method, title) in METHODS.items()
]
