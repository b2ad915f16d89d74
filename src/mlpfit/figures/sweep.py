"""A sweep as a picture, from the rows of its summary.csv: curves along one swept key, maps of two
or three, the trials of a search. A row holds texts by column; that of a failed job only what was
swept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Axis, Figure, grid_of_axes, log_ticks
from mlpfit.runs.run import QUANTITIES

Row = Mapping[str, str]
LINES = ("-", "--", "-.", ":")
COLORS = (style.FIT, style.UNITS, style.PUBLISHED, style.BEFORE, style.ROWS)
LOST: dict[str, Any] = {"mfc": "white", "ls": "", "label": "some replicas\ndiverged"}
CROSS: dict[str, Any] = {"ls": "", "label": "job failed or most\nreplicas diverged"}


def curves(
    rows: Sequence[Row],
    x: str,
    lines: str = "",
    panels: Sequence[str] = ("mse",),
    stability: tuple[float, float, float, float | None] | None = None,
) -> Figure:
    """One panel a quantity: median and 5 to 95 % of the replicas along x, one line a value of
    ``lines``; points with bars where x has no order. Crosses stand above the panel.

    stability: 5 %, median and 95 % of 2 / sharpness; largest x up to which no replica diverged.
    """
    figure, axes = grid_of_axes(len(panels), len(panels), sharex=True, sharey=True)
    figure.set_size_inches(7.2 if len(panels) == 1 else 9.6, 3.8)
    placed = [r for r in rows if r[x] and r[lines or x]]  # a failed job has no parameters or layers
    groups = values_of(placed, lines) if lines else [""]
    for ax, quantity in zip(axes, panels, strict=True):
        scale_x(ax, values_of(placed, x), 400 / len(panels))
        for i, group in enumerate(groups):
            mine = [row for row in placed if not lines or row[lines] == group]
            draw_line(ax, mine, placed, x, quantity, i, cut(group))
        errors = spread(placed, quantity)
        if wide(errors[np.isfinite(errors)]):
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
        elif not np.isfinite(errors).any():
            ax.set_yticks([])
        ax.set(xlabel=x, ylabel=QUANTITIES[quantity])
        if stability:
            low, middle, high, stable = stability
            ax.axvspan(low, high, color=style.TRUTH, alpha=0.1, lw=0)
            ax.axvline(middle, color=style.TRUTH, ls="--", lw=1, label="2 / largest\neigenvalue")
            if stable is not None:
                ax.axvline(stable, color=style.TRUTH, ls=":", lw=1, label="largest stable\nvalue")
    missing = len(rows) - len(placed)
    note = f"; {missing} failed jobs not shown" if missing else ""
    figure.suptitle(f"median and 5 to 95 % of the replicas{note}", fontsize=9)
    add_legend(figure, lines)
    return figure


def draw_line(
    ax: Axes, rows: list[Row], every: list[Row], x: str, quantity: str, i: int, label: str
) -> None:
    """The i-th line with its band, or points with bars; where the 95 % point has diverged, both
    reach to the largest value of ``every`` row."""
    texts = values_of(every, x)
    joined = all(number(text) < np.inf for text in texts)
    rows = sorted(rows, key=lambda row: texts.index(row[x]))
    at = np.array([number(row[x]) if joined else texts.index(row[x]) + 0.1 * i for row in rows])
    low, middle, high = spread(rows, quantity)
    errors = spread(every, quantity)
    high = np.where(np.isinf(high), errors.max(initial=0, where=np.isfinite(errors)), high)
    color = COLORS[i % len(COLORS)]
    known = np.pad(np.isfinite(middle), 1)
    bar = known[1:-1] & ~(joined & (known[:-2] | known[2:]))
    ax.vlines(at[bar], low[bar], high[bar], color=color, alpha=0.5)
    if joined:
        ax.fill_between(at, low, high, color=color, alpha=0.13, lw=0)
    ax.plot(at, middle, "o", ls=LINES[i % len(LINES)] if joined else "", color=color, label=label)
    lost = known[1:-1] & np.array([number(row["diverged"]) > 0 for row in rows])
    if lost.any():
        ax.plot(at[lost], middle[lost], "o", color=color, **LOST)
    if len(cross := at[~known[1:-1]]):  # one above the other: several lines may lose the same job
        height = np.full(len(cross), 1.03 + 0.03 * (i % len(COLORS)))
        above = ax.get_xaxis_transform()
        ax.plot(cross, height, "x", color=color, transform=above, clip_on=False, **CROSS)


def maps(rows: Sequence[Row], keys: Sequence[str]) -> Figure:
    """The median by colour over two keys, the one with the most values along x; several maps, one
    a value of a third. A cell without a median is grey."""
    from matplotlib.colors import LogNorm, Normalize

    x, y, *third = sorted(keys, key=lambda key: -len(values_of(rows, key)))
    xs, ys = values_of(rows, x), values_of(rows, y)
    panels = values_of(rows, third[0]) if third else [""]
    columns = min(3, len(panels))
    figure, axes = grid_of_axes(len(panels), columns, sharey=True)
    height = 4.2 if len(panels) <= 3 else 3.2 * -(-len(panels) // 3)
    figure.set_size_inches(9.6 if third else 7.2, height)
    medians = np.array([v for row in rows if 0 < (v := number(row["mse_median"])) < np.inf])
    limits = (medians.min(), medians.max()) if medians.size else (0, 1)
    norm = LogNorm(*limits) if wide(medians) else Normalize(*limits)
    width = ((500 if third else 330) - 5 * max(len(cut(name)) for name in ys)) / columns
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        cells, lost = np.full((2, len(ys), len(xs)), np.inf)
        for row in rows:
            if not third or row[third[0]] == panel:
                at = ys.index(row[y]), xs.index(row[x])
                cells[at], lost[at] = number(row["mse_median"]), number(row["diverged"])
        known = np.isfinite(cells)
        image = ax.imshow(np.where(known, cells, np.nan), norm=norm, aspect="auto", origin="lower")
        for marked, mark, look in (known & (lost > 0), "o", LOST), (~known, "x", CROSS):
            if marked.any():
                size = np.clip(0.4 * width / len(xs), 2, 4)
                ax.plot(*np.nonzero(marked)[::-1], mark, ms=size, color=style.TRUTH, **look)
        name_ticks(ax.xaxis, xs, width)
        name_ticks(ax.yaxis, ys, 200 if height > 4 else 110)
        ax.set(xlabel=x, ylabel="" if i % columns else y, facecolor="0.88")
        ax.set_title(cut(panel), fontsize=8)
        ax.grid(False)
    if medians.size:
        bar = figure.colorbar(image, ax=axes, label=f"{QUANTITIES['mse']}, median")
        if wide(medians):
            log_ticks(bar.ax.yaxis)
    figure.suptitle("".join(third), fontsize=9)
    add_legend(figure, "")
    return figure


def search_figure(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    """The searched number of every trial in their order, with the least so far, and once more over
    each searched key. Later trials are darker, the best has a ring, and a cross above the panel is
    a trial without a number: it failed, or most of its replicas diverged."""
    numbers = np.array([number(row.get(f"{metric}_median", "")) for row in rows])
    panels = 1 + len(keys)
    columns = min(panels, 3)
    figure, axes = grid_of_axes(panels, columns, sharey=True)
    figure.set_size_inches(9.6, 3.8 * -(-panels // columns))
    at = np.arange(float(len(rows)))
    scatter(axes[0], at, numbers)
    least = np.minimum.accumulate(numbers)
    least[np.isinf(least)] = np.nan
    axes[0].step(at, least, where="post", color=style.TRUTH, lw=1, label="least so far")
    axes[0].set(xlabel="trial")
    for ax, key in zip(axes[1:], keys, strict=True):
        texts = values_of(rows, key)
        scale_x(ax, texts, 500 / columns)
        at = np.array([number(row[key]) for row in rows])
        if np.isinf(at).any():  # no numbers: side by side
            at = np.array([float(texts.index(row[key])) for row in rows])
        scatter(ax, at, numbers)
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


def scatter(ax: Axes, at: np.ndarray, numbers: np.ndarray) -> None:
    """One point a trial: at (n,), numbers (n,), infinite where there is none."""
    from matplotlib.colors import to_rgba_array

    known = np.isfinite(numbers)
    colors = np.repeat(to_rgba_array(style.FIT), len(at), axis=0)
    colors[:, 3] = np.linspace(0.25, 1, len(at))
    ax.scatter(at[known], numbers[known], s=18, c=colors[known], lw=0, zorder=3, label="trial")
    if known.any():
        best = int(np.argmin(numbers))
        ring: dict[str, Any] = {"mfc": "none", "ls": "", "label": "the best"}
        ax.plot(at[best], numbers[best], "o", ms=9, color=style.TRUTH, zorder=4, **ring)
    if not known.all():
        height, above = np.full((~known).sum(), 1.03), ax.get_xaxis_transform()
        ax.plot(at[~known], height, "x", color=style.FIT, transform=above, clip_on=False, **CROSS)


def scale_x(ax: Axes, texts: Sequence[str], width: float) -> None:
    """Ticks at the values of x where they have room in this width (points)."""
    from matplotlib.ticker import MaxNLocator

    numbers = np.array([number(text) for text in texts])
    if np.isinf(numbers).any():
        name_ticks(ax.xaxis, texts, width)
        return
    ax.set_xscale("log" if wide(numbers) else "linear")
    gaps = np.diff(np.log(numbers) if wide(numbers) else numbers)
    if gaps.min(initial=np.inf) * width > gaps.sum() * 6 * max(len(cut(text)) for text in texts):
        ax.set_xticks(numbers, [cut(text) for text in texts])
        ax.minorticks_off()
    elif wide(numbers):
        ax.set_xlim(numbers[0] / 1.1, numbers[-1] * 1.1)
        log_ticks(ax.xaxis)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=bool((numbers % 1 == 0).all())))


def name_ticks(axis: Axis, names: Sequence[str], room: float) -> None:
    """Names at 0, 1, ..., as many as have room (points); along x they slant where they are long."""
    every, longest = int(np.ceil(14 * len(names) / room)), max(len(cut(name)) for name in names)
    slanted = axis is axis.axes.xaxis and 6 * longest * len(names) / every > room
    if slanted:  # the first one reaches left of the axes, which get the narrower
        every = int(np.ceil(14 * len(names) / max(room - 4 * longest, 40)))
    axis.set_ticks(range(0, len(names), every), [cut(name) for name in names[::every]])
    for label in axis.get_ticklabels() if slanted else []:
        label.set(rotation=40, rotation_mode="anchor", ha="right")


def add_legend(figure: Figure, title: str) -> None:
    """Right of the panels, every label once, marks last."""
    labelled = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in figure.axes]
    marks = {name: mark for pairs in labelled for mark, name in pairs if name}
    if names := sorted(marks, key=(LOST["label"], CROSS["label"]).__contains__):
        handles, columns = [marks[name] for name in names], 1 + len(names) // 18
        figure.legend(handles, names, loc="outside right upper", ncols=columns, title=title)


def values_of(rows: Sequence[Row], key: str) -> list[str]:
    """Numbers by size, before names by letters."""
    return sorted({row[key] for row in rows}, key=lambda text: (number(text), text))


def number(text: str) -> float:
    """Infinite where there is none."""
    try:
        return float(text)
    except ValueError:
        return float("inf")


def cut(text: str) -> str:
    """A value as a label: Hydra's ranges give 0.30000000000000004, and nets are long."""
    if number(text) < np.inf:
        return f"{number(text):.6g}"
    return text if len(text) <= 24 else f"{text[:11]}…{text[-12:]}"


def wide(values: np.ndarray) -> bool:
    """Whether they span a factor of eight: a logarithmic axis suits them."""
    return bool(0 < 8 * values.min(initial=np.inf) < values.max(initial=0))


def spread(rows: Sequence[Row], quantity: str) -> np.ndarray:
    """5 %, median and 95 % (3, rows); nan without a finite median."""
    columns = [f"{quantity}_{q}" for q in ("p5", "median", "p95")]
    values = np.array([[number(row.get(c, "")) for row in rows] for c in columns]).reshape(3, -1)
    return np.where(np.isfinite(values[1]), values, np.nan)
