"""A page in one small picture: its fit over the seeds' band, and its result among theirs."""

import numpy as np

from mlpfit.config.compose import as_published
from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Figure
from mlpfit.judging import published
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.run import Run

SIZE = (2.3, 2.5)  # inches: it is read beside four others
POINTS, DOTS = 101, 60  # of the curve and of the rows


def portrait(run: Run, replicas: Run) -> Figure:
    """Above the rows, the function, one run's fit and the central 90 % of all replicas' fits; below
    the last error of every replica, the page's own marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE)
    fit, errors = figure.subplots(2, 1, height_ratios=(3, 1))
    draw_fit(fit, run, replicas)
    draw_errors(errors, run, replicas)
    return figure


def draw_fit(ax: Axes, run: Run, replicas: Run) -> None:
    """Rows, function, fit and band. Several inputs are walked along the straight line on which the
    function rises fastest."""
    inputs, across, truth, rows = walk(run)
    fits = replicas.predict(inputs)[~replicas.diverged, :, 0]
    if len(fits):
        low, high = quantiles(fits, (0.05, 0.95), axis=0)
        ax.fill_between(across, low, high, color=style.BAND, alpha=0.25, lw=0)
    chosen = np.linspace(0, len(rows[0]) - 1, min(len(rows[0]), DOTS)).round().astype(int)
    ax.plot(rows[0][chosen], rows[1][chosen], ".", color=style.ROWS, ms=3)
    ax.plot(across, truth, "--", color=style.TRUTH, lw=1)
    ax.plot(across, run.predict(inputs)[0, :, 0], color=style.FIT, lw=1.5)
    few_ticks(ax)


def walk(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Inputs (n, d) to predict at, their place on the horizontal axis (n,), the function there
    (n,), and the rows as places and values."""
    pool, truth = run.data["pool_x"][0], run.data["pool_truth"][0, :, 0]
    y = run.data["y"][0, :, 0]
    if pool.shape[1] == 1:
        order = np.argsort(pool[:, 0], kind="stable")
        return pool[order], pool[order, 0], truth[order], (run.data["x"][0, :, 0], y)
    target = as_published(run.config["name"]).target
    center = pool.mean(axis=0)
    slope = ((pool - center) * (truth - truth.mean())[:, None]).sum(axis=0)
    slope = slope / np.sqrt((slope * slope).sum())
    places = ((pool - center) * slope).sum(axis=1)
    along = np.linspace(places.min(), places.max(), POINTS)
    inputs = center + along[:, None] * slope
    rows = ((run.data["x"][0] - center) * slope).sum(axis=1)
    return inputs, along, target(inputs)[:, 0], (rows, y)


def draw_errors(ax: Axes, run: Run, replicas: Run) -> None:
    """Histogram of the quantity that the page prints last, else of the mean squared error."""
    name = run.config["name"]
    number, page = published.last_number(name), published.tutorial(name.split("/")[0])
    values = published.values_in(replicas, number)
    finite = values[np.isfinite(values) & ~replicas.diverged]
    own = number.value if number else float(published.values_in(run, None)[0])
    if len(finite):
        low, high = quantiles(finite, (0.005, 0.995))
        low, high = min(low, own), max(high, own)
        is_wide = 0 < 10 * low < high
        edges = (np.geomspace if is_wide else np.linspace)(low, high, 32)
        ax.hist(finite, bins=edges.tolist(), color=style.BAND, alpha=0.3)
        ax.set_xscale("log" if is_wide else "linear")
    if number or page.seed is not None:
        ax.axvline(own, color=style.PUBLISHED, lw=2.5)
    ax.set(yticks=[], xlabel="error at the end, all seeds")
    ax.spines["left"].set_visible(False)
    few_ticks(ax)


def few_ticks(ax: Axes) -> None:
    """Three to four ticks an axis, in small type."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    ax.tick_params(labelsize=7.5)
    ax.xaxis.label.set_fontsize(8)
    if len(ax.get_yticks()):
        ax.yaxis.set_major_locator(MaxNLocator(4))
    if ax.get_xscale() == "linear":
        ax.xaxis.set_major_locator(MaxNLocator(4))
        return
    low, high = sorted(ax.xaxis.get_view_interval())
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 100 * low else (1,), numticks=4))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
