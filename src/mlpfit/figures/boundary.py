"""The decision boundary of a classification with two inputs."""

from typing import Any

import numpy as np

from mlpfit.config.combinations import loss_name
from mlpfit.engine.metrics import predicted, predicted_classes
from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Figure, new_axes
from mlpfit.runs.run import Run

SIDE = 121  # points of the grid along each input
MARGIN = 0.08  # beyond the rows, as a share of their range
# Of classes, in order; they differ in lightness, and the rows in markers, for black and white.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#b22222", "#7f7f7f", "#cc79a7")
MARKERS = ("o", "^", "s", "D", "v", "P")


def decision_boundary(
    run: Run,
    replicas: Run | None = None,
    *,
    title: str = "",
    names: tuple[str, str] = ("x1", "x2"),
    step: int | None = None,
) -> Figure:
    """Which class the run's first replica predicts where, after a step (None: the last), and its
    rows, those for training filled, those held out empty. The shade is the probability of the
    class, with replicas the share of them that predict it; the lines are the run's own.

    In a tutorial's figures.py:
    ``Drawing("boundary", "net", "Decision boundary", decision_boundary, band=True)``. Raises
    ValueError for a run of other than two inputs, or without classes.
    """
    figure, ax = new_axes()
    draw_boundary(ax, run, replicas, step)
    ax.set(title=title, xlabel=names[0], ylabel=names[1])
    ax.legend(loc="best")
    return figure


def draw_boundary(ax: Axes, run: Run, replicas: Run | None = None, step: int | None = None) -> None:
    """Regions, boundaries and rows, in the units of the tutorial's inputs."""
    if run.data["x"].shape[2] != 2:
        raise ValueError(f"{run.path}: a decision boundary needs two inputs")
    rows = run.data["y"][0, :, 0]
    if not run.classifies and not np.isin(rows, (0.0, 1.0)).all():
        raise ValueError(f"{run.path}: a decision boundary needs classes, and y has numbers")
    axes, mesh = grid(run)
    shape = (SIDE, SIDE)
    own = class_scores(run, scaled(run, mesh), step)[0]  # (n, C)
    scores = own if replicas is None else class_shares(replicas, mesh, step)
    for number, share in enumerate(scores.T):
        _shade(ax, axes, share.reshape(shape), number)
    for number in range(1 if own.shape[1] == 2 else own.shape[1]):
        others = np.delete(own, number, axis=1).max(axis=1)
        values = (own[:, number] - others).reshape(shape)
        if values.min() < 0 < values.max():
            ax.contour(*axes, values, levels=[0.0], colors=style.TRUTH, linewidths=1.2)
    _draw_rows(ax, run)


def grid(run: Run) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The values of both inputs, and all pairs of them (SIDE^2, 2), around all rows of the first
    replica, in the units of the tutorial."""
    pool = raw(run, run.data["pool_x"][0])
    low, high = pool.min(axis=0), pool.max(axis=0)
    edge = MARGIN * np.where(high > low, high - low, 1.0)
    first, second = np.linspace(low - edge, high + edge, SIDE).T
    mesh = np.stack([np.tile(first, SIDE), np.repeat(second, SIDE)], axis=1)
    return (first, second), mesh


def raw(run: Run, x: np.ndarray) -> np.ndarray:
    """Inputs (n, 2) of the first replica in the units of the tutorial."""
    return x * run.data["scale"][0, :2] + run.data["center"][0, :2]


def scaled(run: Run, x: np.ndarray) -> np.ndarray:
    """Inputs (n, 2) in the units of the tutorial as each replica's net takes them: (R, n, 2)."""
    return (x - run.data["center"][:, None, :2]) / run.data["scale"][:, None, :2]


def class_scores(run: Run, x: np.ndarray, step: int | None = None) -> np.ndarray:
    """Probability of each class: x (R, n, 2) -> (R, n, C); of a net that is trained to the numbers
    0 and 1 without logits, its output and 1 minus it, cut to 0 .. 1."""
    outputs = run.predict(x, step).astype(float)
    values, _ = predicted(loss_name(run.config["loss"]), outputs, np.zeros((*outputs.shape[:2], 1)))
    if values.shape[2] > 1:
        return values
    values = np.clip(values, 0.0, 1.0)
    return np.concatenate([1.0 - values, values], axis=2)


def class_shares(replicas: Run, mesh: np.ndarray, step: int | None = None) -> np.ndarray:
    """Share of the replicas that predict each class at (n, 2): (n, C). Those that diverged are left
    out."""
    outputs = replicas.predict(scaled(replicas, mesh), step)[~replicas.diverged]
    classes = predicted_classes(loss_name(replicas.config["loss"]), outputs)
    count = max(outputs.shape[2], 2)
    return np.stack([(classes == k).mean(axis=0) for k in range(count)], axis=1)


def _shade(ax: Axes, axes: tuple[np.ndarray, np.ndarray], share: np.ndarray, number: int) -> None:
    """Fill where a class is more probable than 1/2, the darker the more; where none is stays
    white."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("class", ["white", COLOURS[number % 6]])
    if share.max() > 0.5:
        ax.contourf(*axes, share, levels=np.linspace(0.5, 1.0, 6), cmap=colours, alpha=0.5)


def _draw_rows(ax: Axes, run: Run) -> None:
    y = run.data["y"][0, :, 0].astype(int)
    held = [name for name in ("val", "test") if f"{name}_x" in run.data]
    for k in range(int(run.data["pool_y"][0].max()) + 1):
        look: dict[str, Any] = {"marker": MARKERS[k % 6], "color": COLOURS[k % 6], "ls": "none"}
        x = raw(run, run.data["x"][0])[y == k]
        ax.plot(x[:, 0], x[:, 1], **look, ms=4, mec="white", mew=0.4, label=f"class {k}")
        for name in held:
            of = run.data[f"{name}_y"][0, :, 0].astype(int) == k
            other = raw(run, run.data[f"{name}_x"][0])[of]
            ax.plot(other[:, 0], other[:, 1], **look, ms=4, mfc="none", mew=0.8)
