"""The tower function and the two nets trained on it."""

from functools import partial

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Drawing, Figure, draw_band, new_axes, sorted_rows
from mlpfit.runs.run import Run


def target(run: Run) -> Figure:
    """The step function itself."""
    figure, ax = new_axes()
    draw_target(ax, run)
    ax.set(title="A tower function")
    return figure


def fit(run: Run, replicas: Run | None = None, *, title: str) -> Figure:
    """The trained net over the data, as the page draws them."""
    figure, ax = new_axes()
    x, _ = sorted_rows(run)
    draw_band(ax, replicas, x)
    draw_target(ax, run)
    ax.plot(x[:, 0], run.predict(x)[0, :, 0], color=style.FIT, label="neural net")
    ax.set(title=title)
    ax.legend(loc="upper right")
    if replicas is not None:
        ax.autoscale(axis="y")  # the page's limits would cut the band
        ax.set_ylim(min(ax.get_ylim()[0], 0.2), 1.1)
        ax.legend(loc="upper center", ncols=2)
    return figure


def draw_target(ax: Axes, run: Run) -> None:
    x, y = sorted_rows(run)
    ax.plot(x[:, 0], y[:, 0], "--", color=style.TRUTH, label="data")
    ax.set(xlabel="X", ylabel="Y", ylim=(0.2, 0.95))


ONE_LAYER, THREE_LAYERS = "one hidden layer of 32 units", "three hidden layers of 64 units"
small = partial(fit, title="1-32-1 after 1000 steps")
large = partial(fit, title="1-64-64-64-1 after 1000 steps")
FIGURES = [
    Drawing("target", "small", "The target: a step function with three levels", target),
    Drawing("small_fit", "small", f"The net with {ONE_LAYER} over the data", small, band=True),
    Drawing("large_fit", "large", f"The net with {THREE_LAYERS} over the data", large, band=True),
]
