"""Two swept keys as a map, a third as several maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlpfit.figures.labels import NAMES, WORDS, cut, fates, number, part_labels, short, values_of
from mlpfit.figures.parts import grid_of_axes
from mlpfit.sweeps.summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROSS = "\N{MULTIPLICATION SIGN}"
Cell = tuple["Axes", int, int, Row]  # column and line of its map


def heat_maps(rows: list[Row], keys: list[str]) -> Figure:
    """A map of two keys, the one with the most values along x; several maps, one a value of a
    third."""
    x, y, *third = sorted(keys, key=lambda key: -len(values_of(rows, key)))
    panels = values_of(rows, third[0]) if third else [""]
    across = min(3, len(panels))
    figure, axes = grid_of_axes(rows=1, columns=across, panels=len(panels))
    width = 9.6 if across > 1 else np.clip(1.8 + 0.5 * len(values_of(rows, x)), 4.8, 9.6)
    height = np.clip(1.2 + 0.3 * len(values_of(rows, y)), 2.3 if len(panels) > 3 else 3.4, 5)
    figure.set_size_inches(width, height * -(-len(panels) // across))
    medians = [v for row in rows if 0 < (v := number(row["mse_median"])) < np.inf] or [1.0]
    cells: list[Cell] = []
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        mine = [row for row in rows if not third or row[third[0]] == panel]
        cells += heat_map(
            ax, mine, (x, values_of(rows, x)), (y, values_of(rows, y)), (min(medians), max(medians))
        )
        lowest, first = i + across >= len(panels), i % across == 0
        ax.tick_params(
            labelbottom=lowest, labelleft=first
        )  # a column may end above the lowest row of panels
        ax.set(xlabel=x if lowest else "", ylabel=y if first else "")
        if third:
            ax.set_title(f"{NAMES.get(third[0], third[0])} {cut(panel)}".strip(), fontsize=9)
    title = figure.suptitle(f"{WORDS['mse']}: median", fontsize=10)
    part_labels(
        figure, [*(ax.xaxis for ax in axes[-across:]), *(ax.yaxis for ax in axes[::across])]
    )
    title.set_text("\n".join(filter(None, [title.get_text(), write_cells(figure, cells)])))
    return figure


def heat_map(
    ax: Axes,
    rows: list[Row],
    x: tuple[str, list[str]],
    y: tuple[str, list[str]],
    limits: tuple[float, float],
) -> list[Cell]:
    """Median error by colour (logarithmic), grey where there is none. x and y: key and values.
    Returns its cells."""
    from matplotlib.colors import LogNorm

    low, high = limits
    cells = [(ax, x[1].index(row[x[0]]), y[1].index(row[y[0]]), row) for row in rows]
    grid = np.full((len(y[1]), len(x[1])), np.nan)
    for _, column, line, row in cells:
        value = number(row["mse_median"])
        grid[line, column] = max(value, low) if np.isfinite(value) else np.nan
    ax.set_facecolor("0.88")
    ax.imshow(
        grid,
        norm=LogNorm(low, max(high, low * 1.001)),
        cmap="viridis",
        aspect="auto",
        origin="lower",
    )
    ax.set_xticks(range(len(x[1])), [cut(value) for value in x[1]])
    ax.set_yticks(range(len(y[1])), [cut(value) for value in y[1]])
    ax.grid(False)
    return cells


def write_cells(figure: Figure, cells: Sequence[Cell]) -> str:
    """Numbers into the cells: with words, with marks, or, where even those don't fit, marks alone
    beside a colour bar. Returns what the marks mean."""
    figure.draw_without_rendering()  # only the layout knows how large the cells are
    maps = list(dict.fromkeys(ax for ax, *_ in cells))
    shape = np.array(maps[0].images[0].get_array().shape)[::-1]  # type: ignore[union-attr]
    room = np.min([ax.get_window_extent().size for ax in maps], axis=0) / shape * 72 / figure.dpi
    for size, words in (7, _in_words), (7, _in_marks), (6, _in_marks), (5, _in_marks), (5, _mark):
        texts = [words(row) for *_, row in cells]
        wide = max(len(line) for text in texts for line in text.split("\n"))
        tall = max(text.count("\n") + 1 for text in texts)
        if (
            wide * 0.64 * size + 2 <= room[0] and tall * 1.3 * size <= room[1]
        ):  # a digit is 0.64 of the size wide
            break
    else:
        texts = [""] * len(cells)
    low, high = maps[0].images[0].get_clim()
    if words is _mark and any(_mark(row) != CROSS for *_, row in cells):
        figure.colorbar(maps[0].images[0], ax=maps)
    for (ax, column, line, row), text in zip(cells, texts, strict=True):
        dark = number(row["mse_median"]) < low**0.45 * high**0.55
        ax.text(
            column,
            line,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else "black",
        )
    marks = {mark for *_, row in cells if (mark := _mark(row))} if words is not _in_words else set()
    crossed = [row for *_, row in cells if _mark(row) == CROSS]
    meaning = {
        CROSS: f"{CROSS if any(texts) else 'grey'}: {fates(crossed)}",
        "*": "*: some replicas diverged",
    }
    return "    ".join(meaning[mark] for mark in sorted(marks) if mark == CROSS or any(texts))


def _in_words(row: Row) -> str:
    if row["failure"]:
        return "failed"
    value, lost = number(row["mse_median"]), float(row["diverged"])
    return (short(value) if np.isfinite(value) else "diverged") + (
        f"\n{lost:.0%} lost" if lost else ""
    )


def _in_marks(row: Row) -> str:
    return CROSS if _mark(row) == CROSS else short(number(row["mse_median"])) + _mark(row)


def _mark(row: Row) -> str:
    if not np.isfinite(number(row["mse_median"])):
        return CROSS
    return "*" if float(row["diverged"]) else ""
