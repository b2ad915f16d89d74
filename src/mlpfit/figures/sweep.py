"""Figures of sweeps, from the rows of summary.csv: curves along one swept key, maps over two or
three, the trials of a search. A row has swept keys as texts, and numbers; a failed job's has None
for those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import (
    NARROW,
    Axes,
    Axis,
    Figure,
    grid_of_axes,
    is_for_narrow_screens,
    log_ticks,
)
from mlpfit.runs.run import QUANTITIES

Row = Mapping[str, Any]
LINES = ("-", "--", "-.", ":")
COLORS = (style.FIT, style.UNITS, style.PUBLISHED, style.BEFORE, style.ROWS)
# Keywords of the hollow points of jobs that lost replicas, and of the crosses of those that failed.
HOLLOW: dict[str, Any] = {"mfc": "white", "ls": "", "label": "some replicas\ndiverged"}
CROSS: dict[str, Any] = {"ls": "", "label": "job failed or most\nreplicas diverged"}


def curves(
    rows: Sequence[Row],
    x: str,
    lines: str = "",
    panels: Sequence[str] = ("mse",),
    stability: tuple[float, float, float, float | None] | None = None,
) -> Figure:
    """One panel a quantity: median and 5 to 95 % of the replicas along x, one line a value of the
    column ``lines``; if x is not numeric, points with bars.

    stability: 5 %, median and 95 % of 2 / sharpness; largest x up to which no replica diverged.
    """
    figure, axes = grid_of_axes(len(panels), len(panels), sharex=True, sharey=True)
    if not is_for_narrow_screens():
        figure.set_size_inches(7.2 if len(panels) == 1 else 9.6, 3.8)
    else:
        figure.set_size_inches(NARROW, 3 * len(panels) + 1)
    drawn = [
        r for r in rows if not {r[x], r[lines or x]} & {None, ""}
    ]  # a failed job has no parameters or layers
    groups = distinct(drawn, lines) if lines else [""]
    for ax, quantity in zip(axes, panels, strict=True):
        width = 170 if is_for_narrow_screens() else 400 / len(panels)  # points of an axis
        scale_x(ax, distinct(drawn, x), width)
        for i, group in enumerate(groups):
            rows_of_line = [row for row in drawn if not lines or row[lines] == group]
            draw_line(ax, rows_of_line, drawn, x, quantity, i, short_label(group))
        errors = quantiles_of(drawn, quantity)
        if suits_log_axis(errors[np.isfinite(errors)]):
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
        elif not np.isfinite(errors).any():
            ax.set_yticks([])
        ax.set(xlabel=x, ylabel=QUANTITIES[quantity])
        if stability:
            low, median, high, stable = stability
            ax.axvspan(low, high, color=style.TRUTH, alpha=0.1, lw=0)
            ax.axvline(median, color=style.TRUTH, ls="--", lw=1, label="2 / largest\neigenvalue")
            if stable is not None:
                ax.axvline(stable, color=style.TRUTH, ls=":", lw=1, label="largest stable\nvalue")
    missing = len(rows) - len(drawn)
    note = f"; {missing} failed jobs not shown" if missing else ""
    several = any((row.get("replicas") or 0) > 1 for row in drawn)
    what = "median and 5 to 95 % of the replicas" if several else "one run each"
    figure.suptitle(f"{what}{note}", fontsize=9)
    add_legend(figure, lines)
    return figure


def draw_line(
    ax: Axes, rows: list[Row], all_rows: list[Row], x: str, quantity: str, i: int, label: str
) -> None:
    """The i-th line with its band, or points with bars; an infinite 95 % quantile is drawn at the
    largest finite value of all rows. Crosses above the panel are jobs without a median."""
    texts = distinct(all_rows, x)
    numeric = all(as_number(text) < np.inf for text in texts)
    rows = sorted(rows, key=lambda row: texts.index(row[x]))
    at = np.array([as_number(r[x]) if numeric else texts.index(r[x]) + 0.1 * i for r in rows])
    low, median, high = quantiles_of(rows, quantity)
    errors = quantiles_of(all_rows, quantity)
    high = np.where(np.isinf(high), errors.max(initial=0, where=np.isfinite(errors)), high)
    color = COLORS[i % len(COLORS)]
    finite = np.isfinite(median)
    padded = np.pad(finite, 1)
    alone = finite & ~(numeric & (padded[:-2] | padded[2:]))  # has no neighbour to share a band
    ax.vlines(at[alone], low[alone], high[alone], color=color, alpha=0.5)
    if numeric:
        ax.fill_between(at, low, high, color=color, alpha=0.13, lw=0)
    ax.plot(at, median, "o", ls=LINES[i % len(LINES)] if numeric else "", color=color, label=label)
    diverged = finite & np.array([(row["diverged"] or 0) > 0 for row in rows])
    if diverged.any():
        ax.plot(at[diverged], median[diverged], "o", color=color, **HOLLOW)
    height = 1.03 + 0.03 * (i % len(COLORS))  # one above the other: lines may lack the same job
    draw_crosses(ax, at[~finite], color, height)


def draw_crosses(ax: Axes, x: np.ndarray, color: str, height: float = 1.03) -> None:
    """Crosses at x (n,); height: 1 is the top of the panel."""
    if len(x):
        above: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(x, np.full(len(x), height), "x", color=color, **above, **CROSS)


def maps(rows: Sequence[Row], keys: Sequence[str]) -> Figure:
    """The median by colour over two keys, the one with more values along x; with a third key, one
    map for each of its values. A cell without a median is grey."""
    from matplotlib.colors import LogNorm, Normalize

    x, y, *third = sorted(keys, key=lambda key: -len(distinct(rows, key)))
    xs, ys = distinct(rows, x), distinct(rows, y)
    panels = distinct(rows, third[0]) if third else [""]
    columns = min(3, len(panels))
    figure, axes = grid_of_axes(len(panels), columns, sharey=True)
    height = 4.2 if len(panels) <= 3 else 3.2 * -(-len(panels) // 3)
    if not is_for_narrow_screens():
        figure.set_size_inches(9.6 if third else 7.2, height)
    medians = np.array([v for row in rows if 0 < (v := as_number(row["mse_median"])) < np.inf])
    limits = (medians.min(), medians.max()) if medians.size else (0, 1)
    norm = LogNorm(*limits) if suits_log_axis(medians) else Normalize(*limits)
    width = ((500 if third else 330) - 5 * max(len(short_label(text)) for text in ys)) / columns
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        cells, diverged = np.full((2, len(ys), len(xs)), np.inf)
        for row in rows:
            if not third or row[third[0]] == panel:
                cell = ys.index(row[y]), xs.index(row[x])
                cells[cell], diverged[cell] = map(as_number, (row["mse_median"], row["diverged"]))
        finite = np.isfinite(cells)
        image = ax.imshow(np.where(finite, cells, np.nan), norm=norm, aspect="auto", origin="lower")
        size = np.clip(0.4 * width / len(xs), 2, 4)
        for marked, marker, look in (finite & (diverged > 0), "o", HOLLOW), (~finite, "x", CROSS):
            if marked.any():
                ax.plot(*np.nonzero(marked)[::-1], marker, ms=size, color=style.TRUTH, **look)
        name_ticks(ax.xaxis, xs, width)
        name_ticks(ax.yaxis, ys, 200 if height > 4 else 110)
        ax.set(xlabel=x, ylabel="" if i % columns else y, facecolor="0.88")
        ax.set_title(short_label(panel), fontsize=8)
        ax.grid(False)
    if medians.size:
        bar = figure.colorbar(image, ax=axes, label=f"{QUANTITIES['mse']}, median")
        if suits_log_axis(medians):
            log_ticks(bar.ax.yaxis)
    figure.suptitle("".join(third), fontsize=9)
    add_legend(figure, "")
    return figure


def search_figure(rows: Sequence[Row], keys: Sequence[str], metric: str) -> Figure:
    """The searched median of every trial, over the trials in order with the least so far, and over
    each searched key. Later trials are darker, the best has a ring, and a cross above the panel is
    a trial without a median: it failed, or most of its replicas diverged."""
    medians = np.array([as_number(row.get(f"{metric}_median", "")) for row in rows])
    panels = 1 + len(keys)
    columns = min(panels, 3)
    figure, axes = grid_of_axes(panels, columns, sharey=True)
    if not is_for_narrow_screens():
        figure.set_size_inches(9.6, 3.8 * -(-panels // columns))
    trials = np.arange(float(len(rows)))
    scatter(axes[0], trials, medians)
    least = np.minimum.accumulate(medians)
    least[np.isinf(least)] = np.nan
    axes[0].step(trials, least, where="post", color=style.TRUTH, lw=1, label="least so far")
    axes[0].set(xlabel="trial")
    for ax, key in zip(axes[1:], keys, strict=True):
        texts = distinct(rows, key)
        scale_x(ax, texts, 500 / columns)
        x = np.array([as_number(row[key]) for row in rows])
        if np.isinf(x).any():  # names, side by side
            x = np.array([float(texts.index(row[key])) for row in rows])
        scatter(ax, x, medians)
        ax.set_xlabel(key)
    for ax in axes[::columns]:
        ax.set_ylabel(QUANTITIES[metric])
    if suits_log_axis(medians[np.isfinite(medians)]):
        for ax in axes:
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
    figure.suptitle("medians over the replicas, later trials darker", fontsize=9)
    add_legend(figure, "")
    return figure


def scatter(ax: Axes, x: np.ndarray, medians: np.ndarray) -> None:
    """One point a trial: x (n,), medians (n,), infinite where there is none."""
    from matplotlib.colors import to_rgba_array

    finite = np.isfinite(medians)
    colors = np.repeat(to_rgba_array(style.FIT), len(x), axis=0)
    colors[:, 3] = np.linspace(0.25, 1, len(x))
    ax.scatter(x[finite], medians[finite], s=18, c=colors[finite], lw=0, zorder=3, label="trial")
    if finite.any():
        best = int(np.argmin(medians))
        ring: dict[str, Any] = {"mfc": "none", "ls": "", "label": "the best"}
        ax.plot(x[best], medians[best], "o", ms=9, color=style.TRUTH, zorder=4, **ring)
    draw_crosses(ax, x[~finite], style.FIT)


def scale_x(ax: Axes, texts: Sequence[str], width: float) -> None:
    """Scale and ticks for these values of x, labelled if the labels fit into the width (points)."""
    from matplotlib.ticker import MaxNLocator

    numbers, labels = np.array([as_number(t) for t in texts]), [short_label(t) for t in texts]
    if np.isinf(numbers).any():
        name_ticks(ax.xaxis, texts, width)
        return
    logarithmic = suits_log_axis(numbers)
    ax.set_xscale("log" if logarithmic else "linear")
    gaps = np.diff(np.log(numbers) if logarithmic else numbers)
    if gaps.min(initial=np.inf) * width > gaps.sum() * 6 * max(map(len, labels)):
        ax.set_xticks(numbers, labels)
        ax.minorticks_off()
    elif logarithmic:
        ax.set_xlim(numbers[0] / 1.1, numbers[-1] * 1.1)
        log_ticks(ax.xaxis)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=bool((numbers % 1 == 0).all())))


def name_ticks(axis: Axis, names: Sequence[str], length: float) -> None:
    """Names at 0, 1, ..., as many as fit into the length (points); along x long names slant."""
    labels = [short_label(name) for name in names]
    interval, longest = int(np.ceil(14 * len(names) / length)), max(map(len, labels))
    slanted = axis is axis.axes.xaxis and 6 * longest * len(names) / interval > length
    if slanted:  # the first label extends left of the axes, which become narrower
        interval = int(np.ceil(14 * len(names) / max(length - 4 * longest, 40)))
    axis.set_ticks(range(0, len(names), interval), labels[::interval])
    for label in axis.get_ticklabels() if slanted else []:
        label.set(rotation=40, rotation_mode="anchor", ha="right")


def add_legend(figure: Figure, title: str) -> None:
    """A legend right of the panels: every label once, those of hollow points and crosses last."""
    labelled = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in figure.axes]
    handles = {label: handle for pairs in labelled for handle, label in pairs if label}
    if labels := sorted(handles, key=(HOLLOW["label"], CROSS["label"]).__contains__):
        marks, columns = [handles[label] for label in labels], 1 + len(labels) // 18
        place: Any = "outside right upper"
        if is_for_narrow_screens():
            place, columns = "outside lower center", 2
        figure.legend(marks, labels, loc=place, ncols=columns, title=title)


def distinct(rows: Sequence[Row], key: str) -> list[Any]:
    """The values of a column: numbers by size, then names in alphabetical order."""
    return sorted({row[key] for row in rows}, key=lambda value: (as_number(value), str(value)))


def as_number(value: Any) -> float:
    """Infinite if it is a text that is no number, or None."""
    try:
        return float(value)
    except (ValueError, TypeError):
        return float("inf")


def short_label(value: Any) -> str:
    """A value as a label: Hydra's ranges give 0.30000000000000004, and names can be long."""
    if as_number(value) < np.inf:
        return f"{as_number(value):.6g}"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:11]}…{text[-12:]}"


def suits_log_axis(values: np.ndarray) -> bool:
    """Whether positive values span more than a factor of eight."""
    return bool(0 < 8 * values.min(initial=np.inf) < values.max(initial=0))


def quantiles_of(rows: Sequence[Row], quantity: str) -> np.ndarray:
    """5 %, median and 95 %: (3, rows); nan where the median is not finite."""
    columns = [f"{quantity}_{q}" for q in ("p5", "median", "p95")]
    values = [[as_number(row.get(column, "")) for row in rows] for column in columns]
    quantiles = np.array(values).reshape(3, -1)
    return np.where(np.isfinite(quantiles[1]), quantiles, np.nan)
