"""What the pictures of sweeps say in words: values in order, numbers, labels that don't cover each
other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.sweeps.summary import Row

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WORDS = {
    "mse": "mean squared error, training rows",
    "truth_mse": "distance to the truth",
    "val_mse": "mean squared error, fresh rows",
}
NAMES = {"parameters": "parameters", "layers": "hidden layers", "experiment": ""}


def values_of(rows: list[Row], key: str) -> list[str]:
    return sorted({row[key] for row in rows}, key=in_order)


def in_order(value: str) -> tuple[bool, Any]:
    """Numbers by size, before words by letters."""
    size = number(value)
    return (True, value) if np.isnan(size) else (False, size)


def number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def short(value: float) -> str:
    """Two digits, 120 and 0.0034, with an exponent only for the very large and small."""
    return f"{float(f'{value:.2g}'):g}"


def cut(name: str) -> str:
    """A value as a label: Hydra's ranges give 0.30000000000000004, and whole nets are long."""
    if len(name) > 10 and np.isfinite(size := number(name)):
        return f"{size:.10g}"
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"


def fates(rows: list[Row]) -> str:
    """Why these rows have no median."""
    lost = [float(row["diverged"]) for row in rows if not row["failure"]]
    diverged = (
        ["all replicas diverged" if min(lost) == 1 else "most replicas diverged"] if lost else []
    )
    return " or ".join(diverged + ["job failed"] * (len(lost) < len(rows)))


def part_labels(figure: Figure, axes: Sequence[Axis]) -> None:
    """Slant tick labels along x that would cover each other, in a figure as much taller, and leave
    out some where even that is too tight."""
    figure.draw_without_rendering()
    taller = 0.0
    for axis in axes:
        labels = [
            label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()
        ]
        boxes = [label.get_window_extent() for label in labels]
        vertical = axis is axis.axes.yaxis
        ends = np.array([box.get_points()[:, int(vertical)] for box in boxes]).reshape(-1, 2)
        ends = ends[ends.sum(1).argsort()]
        if (ends[1:, 0] - ends[:-1, 1] > (1 if vertical else 3)).all():
            continue
        line = min(box.height for box in boxes) + 1
        gap = np.diff(ends.mean(1)).min()
        for i, label in enumerate(labels):
            label.set_visible(i % int(np.ceil(line / gap)) == 0)
            if not vertical:
                steep = gap < 1.5 * line
                label.set(
                    rotation=90 if steep else 40,
                    rotation_mode="anchor",
                    ha="right",
                    va="center" if steep else "top",
                )
                taller = max(taller, label.get_window_extent().height - line)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + taller / figure.dpi)
