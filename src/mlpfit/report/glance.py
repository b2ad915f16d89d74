"""A run's fit and loss, drawn on two given axes."""

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, draw_band, fill_between_quantiles, fit_panels, log_ticks
from mlpfit.runs.run import Run

SIZE = (7.2, 2.6)  # inches, of both axes together
POINTS = 120  # at most, of a line or of the rows: a notebook's file contains its pictures


def draw_fit(ax: Axes, run: Run) -> None:
    """Rows, truth and fit of the first replica, behind them the band of all replicas; with several
    inputs predicted over observed values."""
    panels = fit_panels(run, POINTS)
    if run.data["x"].shape[2] > 1:
        ends = [panels.rows_y.min(), panels.rows_y.max()]
        ax.plot(ends, ends, "--", color=style.DIAGONAL, lw=1)
        ax.plot(panels.rows_y, panels.prediction[-1], ".", color=style.FIT)
        ax.set(xlabel="observed", ylabel="predicted")
        return
    chosen = evenly_chosen(len(panels.rows_y))
    ax.plot(panels.rows_x[chosen], panels.rows_y[chosen], ".", color=style.ROWS)
    ax.plot(panels.x, panels.truth, "--", color=style.TRUTH, lw=1, label="truth")
    draw_band(ax, run if run.replicas > 1 else None, panels.x[:, None])
    ax.plot(panels.x, panels.prediction[-1], color=style.FIT, label=f"seed {run.seeds[0]}")
    ax.set(xlabel="x", ylabel="y")
    ax.legend()


def evenly_chosen(count: int) -> np.ndarray:
    """At most POINTS of the indices 0 ... count - 1, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def draw_losses(ax: Axes, run: Run) -> None:
    """Loss before each step's update: the first replica over the band of all. The axes stay empty
    for a run without steps (a closed form)."""
    chosen = evenly_chosen(len(run.history["step"]))
    steps, losses = run.history["step"][chosen], run.history["loss"][chosen]
    ax.set(xlabel="step", ylabel=run.config["loss"])
    if not len(steps):
        return
    if run.replicas > 1:
        fill_between_quantiles(ax, steps, losses)
    ax.plot(steps, losses[:, 0], color=style.FIT)
    if np.nanmin(losses[:, 0]) > 0:
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
