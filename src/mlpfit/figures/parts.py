"""Building blocks of figures: empty axes, ticks, bands over replicas, the panels of a fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.figures import style
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
else:  # functions import matplotlib themselves: finding a figure up to date takes no half second
    Axes = Axis = Figure = Any


WIDE, NARROW = 5.6, 3.9  # inches: wider figures are drawn again for a narrow screen, this wide
BAND_PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Drawing:
    """One figure of a tutorial; its ``figures.py`` lists them as ``FIGURES``.

    name        of the file outputs/figures/<tutorial>/<name>.svg
    experiment  whose run is drawn; both names may omit the tutorial
    caption     title and alternative text
    draw        run -> figure
    band        ``draw(run, replicas)`` can draw the experiment's ensemble behind the run; if there
                is one, the figure is drawn a second time, as <name>_band
    ours        the page has no such figure, and the picture says so

    ``Drawing("target", "small", "The target", target)``
    """

    name: str
    experiment: str
    caption: str
    draw: Callable[..., Figure]
    band: bool = False
    ours: bool = False

    @property
    def tutorial(self) -> str:
        return self.name.split("/")[0]


def new_axes() -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure()
    return figure, figure.add_subplot()


_for_narrow_screens = ContextVar("for narrow screens", default=False)


@contextmanager
def narrow_screens() -> Iterator[None]:
    """Inside, figures of several panels are drawn for a screen of 400 pixels: the panels below one
    another, the legends below them."""
    token = _for_narrow_screens.set(True)
    try:
        yield
    finally:
        _for_narrow_screens.reset(token)


def is_for_narrow_screens() -> bool:
    return _for_narrow_screens.get()


def grid_of_axes(panels: int, columns: int, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of this many axes; shared: matplotlib's sharex, sharey."""
    from matplotlib.figure import Figure

    is_narrow = is_for_narrow_screens()
    columns = columns if not is_narrow else 2 if columns > 3 else 1
    rows = -(-panels // columns)
    figure = Figure(figsize=(9.6, 4.2 if rows == 1 else 2.3 * rows))
    if is_narrow:
        figure.set_size_inches(NARROW, (1.9 if columns > 1 else 2.5) * rows)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for empty in axes[panels:]:
        empty.remove()
    return figure, list(axes[:panels])


def log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: 1 of each decade, up to two decades 2 and 5,
    too, within one decade also 3."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    subs = (1, 2, 3, 5) if high <= 10 * low else (1, 2, 5) if high <= 100 * low else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def sorted_rows(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The first replica's rows sorted by their only input: x (n, 1), y (n, 1)."""
    x, y = run.data["x"][0], run.data["y"][0]
    order = np.argsort(x[:, 0], kind="stable")
    return x[order], y[order]


def draw_band(ax: Axes, replicas: Run | None, x: np.ndarray, step: int | None = None) -> None:
    """Median, central 50 % and 90 % of the replicas' predictions at x (n, 1); None draws none."""
    if replicas is not None:
        fill_between_quantiles(ax, x[:, 0], replicas.predict(x, step)[..., 0].T)


def fill_between_quantiles(ax: Axes, x: np.ndarray, values: np.ndarray) -> None:
    """Median, central 50 % and 90 % of values (n, R) over x (n,), of the replicas that are finite
    throughout; the legend says how many are not."""
    finite = np.isfinite(values).all(axis=0)
    lost = int((~finite).sum())
    if not finite.any():
        ax.plot([], [], label=f"all {lost:,} replicas diverged")
        return
    q5, q25, q50, q75, q95 = quantiles(values[:, finite], BAND_PROBABILITIES, axis=1)
    whose = f"the {int(finite.sum()):,} finite replicas,\n{lost:,} diverged" if lost else "replicas"
    for low, high, alpha, share in ((q5, q95, 0.12, 90), (q25, q75, 0.22, 50)):
        look: dict[str, Any] = {"color": style.BAND, "alpha": alpha, "lw": 0}
        name = whose if share == 90 else "them" if lost else "replicas"
        ax.fill_between(x, low, high, **look, label=f"{share} % of {name}")
    name = "their median" if lost else "median of replicas"
    ax.plot(x, q50, ":", color=style.BAND, lw=1, label=name)


def draw_loss(
    run: Run, replicas: Run | None = None, *, title: str, ylabel: str, xlabel: str = "step"
) -> Figure:
    """Loss of every step before its update: left on the page's linear axis, right on our own
    logarithmic one."""
    figure, axes = grid_of_axes(2, columns=2, sharex=True)
    for ax, scale in zip(axes, ("linear", "log"), strict=True):
        if replicas is not None:
            fill_between_quantiles(ax, replicas.history["step"], replicas.history["loss"])
        ax.plot(run.history["step"], run.history["loss"][:, 0], color=style.FIT, label="loss")
        ax.set(xlabel=xlabel, ylabel=ylabel, yscale=scale)
        if replicas is not None:
            ax.legend()
    axes[0].set_title(title)
    axes[1].set_title("the same, logarithmic (ours)")
    log_ticks(axes[1].yaxis)
    return figure


@dataclass(frozen=True)
class FitPanels:
    """A fit at S snapshots as three panels: fit, residual, share of each hidden unit. Of the first
    replica, with n rows, at m points of the only input; with several inputs the horizontal axis is
    the observed value of each row (m = n).

    x           (m,)       input, or observed value
    truth       (m,)       noise-free function there
    rows_x      (n,)       input, or observed value, of the rows
    rows_y      (n,)       observed values
    prediction  (S, m)     at x
    residual    (S, n)     observed - predicted
    shares      (S, m, h)  of the units of the last hidden layer
    kinks       (S, h)     of the units of the first hidden layer; h = 0 if there is none
    """

    x: np.ndarray
    truth: np.ndarray
    rows_x: np.ndarray
    rows_y: np.ndarray
    prediction: np.ndarray
    residual: np.ndarray
    shares: np.ndarray
    kinks: np.ndarray


def fit_panels(run: Run, points: int | None = None) -> FitPanels:
    """The panels of a run's fit. points: how many evenly spaced inputs, the truth interpolated;
    None: the inputs of the pool.

    ``fit_panels(load_run("outputs/runs/tower/small"), 41).prediction[-1]``
    """
    rows, y = run.data["x"][0], run.data["y"][0, :, 0]
    inputs, truth, x, rows_x = rows, y, y, y
    if rows.shape[1] == 1:
        order = np.argsort(run.data["pool_x"][0, :, 0], kind="stable")
        inputs, truth = run.data["pool_x"][0, order], run.data["pool_truth"][0, order, 0]
        if points is not None:
            pool, inputs = inputs, np.linspace(inputs[0], inputs[-1], points)
            truth = np.interp(inputs[:, 0], pool[:, 0], truth)
        x, rows_x = inputs[:, 0], rows[:, 0]
    steps = run.snapshots.tolist()
    has_kinks = rows.shape[1] == 1 and len(run.parameters()) > 1
    return FitPanels(
        x,
        truth,
        rows_x,
        rows_y=y,
        prediction=np.stack([run.predict(inputs, step)[0, :, 0] for step in steps]),
        residual=np.stack([y - run.predict(rows, step)[0, :, 0] for step in steps]),
        shares=np.stack([run.shares(inputs, step)[0] for step in steps]),
        kinks=np.stack([run.kinks(step)[0] if has_kinks else np.empty(0) for step in steps]),
    )
