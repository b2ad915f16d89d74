"""A search as a picture: what was found when, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.labels import WORDS, cut, number, part_labels, values_of
from mlpfit.figures.parts import grid_of_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALEST = 0.25  # opacity of the first trial; the last has 1
COLUMNS = 3
FEW = 8  # values with a tick each


def search_figure(rows: list[dict[str, str]], keys: list[str], metric: str) -> Figure:
    """The searched number of every trial in their order, with the least so far, and once more over
    each searched key. Later trials are darker, the best has a ring, and a cross above the panel is
    a trial without a number: it failed, or most of its replicas diverged."""
    numbers = np.array([number(row.get(f"{metric}_median", "")) for row in rows])
    panels = 1 + len(keys)
    figure, axes = grid_of_axes(
        rows=1, columns=min(panels, COLUMNS), panels=panels, share_x=False, share_y=True
    )
    at = np.arange(float(len(rows)))
    known = np.isfinite(numbers)
    scatter(axes[0], at, numbers)
    so_far = np.minimum.accumulate(np.where(known, numbers, np.inf))
    so_far[~np.isfinite(so_far)] = np.nan
    axes[0].step(at, so_far, where="post", color=style.TRUTH, lw=1, label="least so far")
    axes[0].set(xlabel="trial", ylabel=WORDS.get(metric, metric))
    for ax, key in zip(axes[1:], keys, strict=True):
        over_key(ax, rows, key, numbers)
    low, high = numbers[known].min(initial=np.inf), numbers[known].max(initial=-np.inf)
    for ax in axes:
        ax.set_yscale("log" if low > 0 and high > 8 * low else "linear")
        ax.yaxis.set_tick_params(labelleft=ax in axes[::COLUMNS])
    explain(axes[0], known)
    part_labels(figure, [ax.xaxis for ax in axes])
    return figure


def scatter(ax: Axes, at: np.ndarray, numbers: np.ndarray) -> None:
    """One point a trial: at (n,), numbers (n,), not finite where there is none."""
    from matplotlib.colors import to_rgba_array

    known = np.isfinite(numbers)
    colors = np.repeat(to_rgba_array(style.FIT), len(at), axis=0)
    colors[:, 3] = np.linspace(PALEST, 1, len(at))
    ax.scatter(at[known], numbers[known], s=18, c=colors[known], lw=0, zorder=3)
    if known.any():
        best = int(np.argmin(np.where(known, numbers, np.inf)))
        ax.plot(at[best], numbers[best], "o", ms=9, mfc="none", color=style.TRUTH, zorder=4)
    if not known.all():
        above = ax.get_xaxis_transform()
        height = np.full((~known).sum(), 1.03)
        ax.plot(at[~known], height, "x", color=style.FIT, transform=above, clip_on=False)


def over_key(ax: Axes, rows: list[dict[str, str]], key: str, numbers: np.ndarray) -> None:
    """The trials along the values of a key; those that are no numbers stand side by side."""
    values = values_of(rows, key)
    sizes = np.array([number(row[key]) for row in rows])
    named = not np.isfinite(sizes).all()
    if named:
        sizes = np.array([float(values.index(row[key])) for row in rows])
        ax.set_xticks(range(len(values)), [cut(value) for value in values])
        ax.set_xlim(-0.5, len(values) - 0.5)
    elif sizes.min() > 0 and sizes.max() >= 8 * sizes.min():
        ax.set_xscale("log")
    if not named and len(values) <= FEW:
        ax.set_xticks([number(value) for value in values], [cut(value) for value in values])
        ax.minorticks_off()
    ax.set_xlabel(key)
    scatter(ax, sizes, numbers)


def explain(ax: Axes, known: np.ndarray) -> None:
    """What the marks mean."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=style.FIT, marker="o", ls="none", label="a trial, later ones darker"),
        Line2D(
            [], [], color=style.TRUTH, marker="o", mfc="none", ms=9, ls="none", label="the best"
        ),
        *ax.get_legend_handles_labels()[0],
    ]
    if not known.all():
        lost = "failed, or most replicas diverged"
        entries.append(Line2D([], [], color=style.FIT, marker="x", ls="none", label=lost))
    ax.figure.legend(handles=entries, loc="outside lower center", ncols=4)
