"""A search as a picture: what was found when, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import grid_of_axes, log_ticks
from mlpfit.figures.sweep import CROSS, Row, add_legend, number, scale_x, values_of, wide
from mlpfit.runs.run import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALEST = 0.25  # opacity of the first trial; the last has 1
COLUMNS = 3


def search_figure(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    """The searched number of every trial in their order, with the least so far, and once more over
    each searched key. Later trials are darker, the best has a ring, and a cross above the panel is
    a trial without a number: it failed, or most of its replicas diverged."""
    numbers = np.array([number(row.get(f"{metric}_median", "")) for row in rows])
    panels = 1 + len(keys)
    columns = min(panels, COLUMNS)
    figure, axes = grid_of_axes(rows=1, columns=columns, panels=panels, share_x=False)
    figure.set_size_inches(9.6, 3.8 * -(-panels // columns))
    at = np.arange(float(len(rows)))
    scatter(axes[0], at, numbers)
    least = np.minimum.accumulate(numbers)
    so_far = np.where(np.isfinite(least), least, np.nan)
    axes[0].step(at, so_far, where="post", color=style.TRUTH, lw=1, label="least so far")
    axes[0].set(xlabel="trial")
    for ax, key in zip(axes[1:], keys, strict=True):
        texts = values_of(rows, key)
        scale_x(ax, texts, 500 / columns)
        scatter(ax, positions(rows, key, texts), numbers)
        ax.set_xlabel(key)
    for ax in axes[::columns]:
        ax.set_ylabel(QUANTITIES[metric])
    if wide(numbers[np.isfinite(numbers)]):
        for ax in axes:
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
    figure.suptitle("medians over the replicas, later trials darker", fontsize=9)
    add_legend(figure, "")
    return figure


def positions(rows: Sequence[Row], key: str, texts: Sequence[str]) -> np.ndarray:
    """Where the values of a key lie along x; those that are no numbers stand side by side."""
    sizes = np.array([number(row[key]) for row in rows])
    if np.isfinite(sizes).all():
        return sizes
    return np.array([float(texts.index(row[key])) for row in rows])


def scatter(ax: Axes, at: np.ndarray, numbers: np.ndarray) -> None:
    """One point a trial: at (n,), numbers (n,), infinite where there is none."""
    from matplotlib.colors import to_rgba_array

    known = np.isfinite(numbers)
    colors = np.repeat(to_rgba_array(style.FIT), len(at), axis=0)
    colors[:, 3] = np.linspace(PALEST, 1, len(at))
    ax.scatter(at[known], numbers[known], s=18, c=colors[known], lw=0, zorder=3, label="trial")
    if known.any():
        best = int(np.argmin(numbers))
        ring: dict[str, Any] = {"mfc": "none", "ls": "", "label": "the best"}
        ax.plot(at[best], numbers[best], "o", ms=9, color=style.TRUTH, zorder=4, **ring)
    if not known.all():
        height, above = np.full((~known).sum(), 1.03), ax.get_xaxis_transform()
        ax.plot(at[~known], height, "x", color=style.FIT, transform=above, clip_on=False, **CROSS)
