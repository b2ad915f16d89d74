"""A run at a glance: its fit and its loss, on axes of anyone's."""

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, draw_band, fill_between_quantiles, fit_panels, log_ticks
from mlpfit.runs.run import Run

SIZE = (7.2, 2.6)  # inches, of both
POINTS = 120  # of a line or of the rows, evenly chosen: pictures in a notebook are kept in its file


def draw_fit(ax: Axes, run: Run) -> None:
    """Rows, truth and fit of the first replica, behind them the band of all. With several inputs:
    predicted over observed."""
    panels = fit_panels(run, POINTS)
    if run.data["x"].shape[2] > 1:
        ends = [panels.rows_y.min(), panels.rows_y.max()]
        ax.plot(ends, ends, "--", color=style.DIAGONAL, lw=1)
        ax.plot(panels.rows_y, panels.prediction[-1], ".", color=style.FIT)
        ax.set(xlabel="observed", ylabel="predicted")
        return
    rows = thinned(len(panels.rows_y))
    ax.plot(panels.rows_x[rows], panels.rows_y[rows], ".", color=style.ROWS)
    ax.plot(panels.x, panels.truth, "--", color=style.TRUTH, lw=1, label="truth")
    draw_band(ax, run if run.replicas > 1 else None, panels.x[:, None])
    ax.plot(panels.x, panels.prediction[-1], color=style.FIT, label=f"seed {run.seeds[0]}")
    ax.set(xlabel="x", ylabel="y")
    ax.legend()


def thinned(count: int) -> np.ndarray:
    """Indices of at most POINTS of so many, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def draw_losses(ax: Axes, run: Run) -> None:
    """Loss of every step before its update, of the first replica before the band of all. Axes of a
    run without steps (a closed form) stay empty."""
    shown = thinned(len(run.history["step"]))
    steps, losses = run.history["step"][shown], run.history["loss"][shown]
    ax.set(xlabel="step", ylabel=run.config["loss"])
    if not len(steps):
        return
    if run.replicas > 1:
        fill_between_quantiles(ax, steps, losses)
    ax.plot(steps, losses[:, 0], color=style.FIT)
    if np.nanmin(losses[:, 0]) > 0:
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
