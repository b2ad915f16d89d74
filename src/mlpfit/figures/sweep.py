"""A sweep as a picture, from its summary.csv: curves for one swept key, a heat map for two, several
for three.

mlpfit figures sweep=parabola/learning_rate
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.config.catalogue import ready_sweep, ready_sweeps
from mlpfit.errors import ConfigError
from mlpfit.figures import style
from mlpfit.figures.heat_map import heat_maps
from mlpfit.figures.labels import NAMES, WORDS, cut, fates, in_order, number, part_labels, values_of
from mlpfit.figures.parts import grid_of_axes
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.sweeps.summary import Row, read, stability_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("-", "--", "-.", ":")
COLORS = (style.FIT, style.UNITS, style.PUBLISHED, style.BEFORE, style.ROWS)


def draw_sweep(folder: Path) -> str:
    """Draw figure.svg beside the summary. Returns its path, or why there is none. Raises RunError
    without a summary."""
    if ".." in folder.parts:
        raise ConfigError(f"sweep={folder}: must be the name of a sweep under outputs/sweeps")
    keys, rows = read(folder)
    name = str(folder).rpartition("sweeps/")[2]
    spec = checked_spec(name, keys) if name in ready_sweeps() else None
    if spec is None and len(keys) > 3:
        return f"no figure of {len(keys)} swept keys (three at most)"
    done = [row for row in rows if not row["failure"]]
    if not done:
        (folder / "figure.svg").unlink(missing_ok=True)
        return "no figure: no job has finished"
    with style.use():
        figure = curves(rows, **spec) if spec else by_keys(rows, keys)
        buffer = io.BytesIO()
        facts = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        source = f"{name}, {len(rows)} jobs; data {hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"
        metadata = {
            "Date": None,
            "Creator": "mlpfit",
            "Title": f"Sweep {name}",
            "Description": source,
        }
        figure.savefig(buffer, format="svg", metadata=metadata)
    write_file(folder / "figure.svg", sealed.svg_bytes(buffer.getvalue()))
    return str(folder / "figure.svg")


def checked_spec(ready: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """How a ready sweep's figure is to be drawn: x, and perhaps lines and panels. Raises
    ConfigError if it can't be."""
    spec = ready_sweep(ready).figure
    along = [*keys, "parameters", "layers"]
    allowed = {"x": along, "lines": along, "panels": [*WORDS]}
    for name, value in spec.items() if isinstance(spec, dict) else [("", spec)] if spec else []:
        if name not in allowed:
            raise ConfigError(
                f"sweep={ready}: figure.{name}={value}: a figure has x, and perhaps lines and panels"
            )
        values = value if name == "panels" and isinstance(value, list) else [value]
        if wrong := [v for v in values if v not in allowed[name]]:
            raise ConfigError(
                f"sweep={ready}: figure.{name}={wrong[0]}: allowed are {', '.join(allowed[name])}"
            )
    if spec and "x" not in spec:
        raise ConfigError(f"sweep={ready}: its figure needs an x; allowed are {', '.join(along)}")
    return spec


def by_keys(rows: list[Row], keys: list[str]) -> Figure:
    """What suits the number of swept keys."""
    return (
        heat_maps(rows, keys)
        if len(keys) > 1
        else curves(rows, x=keys[0] if keys else "parameters")
    )


def curves(
    rows: list[Row], x: str, lines: str | None = None, panels: Sequence[str] = ("mse",)
) -> Figure:
    """One panel a quantity: its median over the replicas and a band from 5 to 95 %, along x, one
    line a value of
    ``lines``; points with bars where x has no order. A cross above the panel is a job that failed
    or most of whose replicas diverged, a hollow point one that lost some."""
    figure, axes = grid_of_axes(rows=1, columns=len(panels), panels=len(panels))
    if len(panels) == 1:
        figure.set_size_inches(7.2, 3.6)
    # A failed job has no number of parameters or layers, only what was swept.
    placed = [row for row in rows if not row["failure"] or (row[x] and row[lines or x])]
    groups = values_of(placed, lines) if lines else [""]
    drawn = [
        v for row in placed for quantity in panels for v in _spread(row, quantity) if np.isfinite(v)
    ]
    for ax, quantity in zip(axes, panels, strict=True):
        for i, group in enumerate(groups):
            mine = sorted(
                (row for row in placed if not lines or row[lines] == group),
                key=lambda row: in_order(row[x]),
            )
            at = _positions(mine, x, placed) + (
                0
                if _numeric(placed, x)
                else min(0.12, 0.8 / len(groups)) * (i - (len(groups) - 1) / 2)
            )
            label = f"{NAMES.get(lines, lines)} {cut(group)}".strip() if lines else ""
            curve(ax, at, mine, quantity, _joined(placed, x), i, label, max(drawn, default=1))
        _scale(ax, placed, x)
        wide = min(drawn, default=1) > 0 and max(drawn, default=1) > 8 * min(drawn, default=1)
        ax.set(yscale="log" if wide else "linear", xlabel=NAMES.get(x, x), ylabel=WORDS[quantity])
        if "sharpness_median" in rows[0]:
            stability(ax, [row for row in rows if not row["failure"]], x)
        if not drawn:
            ax.set_yticks([])
            ax.text(
                0.5,
                0.5,
                f"no job has a median:\n{fates(placed)}",
                transform=ax.transAxes,
                ha="center",
                va="center",
            )
    add_legend(
        axes[-1], rows, placed, panels, _joined(placed, x), style.TRUTH if lines else COLORS[0]
    )
    part_labels(figure, [ax.xaxis for ax in axes])
    return figure


def curve(
    ax: Axes,
    at: np.ndarray,
    rows: list[Row],
    quantity: str,
    joined: bool,
    i: int,
    label: str,
    ceiling: float,
) -> None:
    """The i-th line with its band, or points with bars, from rows in the order of x; where the 95 %
    point has diverged, the band is open up to the ceiling."""
    color = COLORS[i % len(COLORS)]
    low, middle, high = np.array([_spread(row, quantity) for row in rows]).T
    lost = np.array([number(row["diverged"]) for row in rows])
    known = np.isfinite(middle)
    top = np.where(known & ~np.isfinite(high), max([ceiling, *middle[known]]), high)
    if joined:
        ax.plot(
            at, np.where(known, middle, np.nan), LINES[i % len(LINES)], color=color, label=label
        )
        ax.fill_between(at, low, top, where=known, color=color, alpha=0.13, lw=0)
    alone = (
        known & ~(np.append(known[1:], False) | np.append(False, known[:-1])) if joined else known
    )
    ax.vlines(
        at[alone], low[alone], top[alone], color=color, alpha=0.5, label="" if joined else label
    )
    for shown, fill in (known & (lost == 0), color), (known & (lost > 0), "white"):
        ax.plot(at[shown], middle[shown], "o", color=color, mfc=fill)
    if not known.all():  # one above the other: several lines may lose the same job
        height = np.full((~known).sum(), 1.03 + (0.03 * (i % len(COLORS)) if joined else 0))
        ax.plot(
            at[~known], height, "x", color=color, transform=ax.get_xaxis_transform(), clip_on=False
        )


def add_legend(
    ax: Axes, rows: list[Row], placed: list[Row], panels: Sequence[str], joined: bool, color: str
) -> None:
    """The lines of the panel and the marks that occur in it."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines, names = ax.get_legend_handles_labels()
    known = [row for row in placed if np.isfinite(number(row[f"{panels[0]}_median"]))]
    point = Line2D([], [], color=color, marker="o", ls="-" if joined else "none")
    spread = any(low < high for row in known for low, _, high in [_spread(row, panels[0])])
    bar = (
        Patch(color=color, alpha=0.13, lw=0)
        if joined
        else Line2D([], [], color=color, marker="|", ms=14, ls="none")
    )
    entries: list[tuple[Any, str]] = list(zip(lines, names, strict=True))
    if known:
        entries += (
            [((bar, point), "median, 5 to 95 %\nof the replicas")]
            if spread
            else [(point, "median")]
        )
    if any(float(row["diverged"]) for row in known):
        entries.append(
            (
                Line2D([], [], color=color, marker="o", mfc="white", ls="none"),
                "some replicas diverged",
            )
        )
    if crossed := [row for row in placed if row not in known]:
        entries.append(
            (
                Line2D([], [], color=color, marker="x", ls="none"),
                fates(crossed).replace(" or ", "\nor "),
            )
        )
    if missing := len(rows) - len(placed):
        entries.append((Line2D([], [], ls="none"), f"not shown: {missing} failed"))
    ax.legend(*zip(*entries, strict=True), loc="upper left", bbox_to_anchor=(1.02, 1))


def stability(ax: Axes, rows: list[Row], x: str) -> None:
    """The limit 2 / sharpness at the minima that the gentlest job has found, and the largest value
    up to which no replica diverged."""
    low, middle, high, stable = stability_of(rows, x)
    ax.axvspan(low, high, color=style.TRUTH, alpha=0.1, lw=0)
    ax.axvline(middle, color=style.TRUTH, ls="--", lw=1, label="2 / largest eigenvalue")
    if stable is not None:
        ax.axvline(stable, color=style.TRUTH, ls=":", lw=1, label="largest stable value")


def _scale(ax: Axes, rows: list[Row], x: str) -> None:
    from matplotlib.ticker import MaxNLocator

    values = values_of(rows, x)
    if not _numeric(rows, x):
        ax.set_xticks(range(len(values)), [cut(value) for value in values])
        ax.set_xlim(-0.5, len(values) - 0.5)
        return
    numbers = sorted(map(float, values))
    logarithmic = numbers[0] > 0 and numbers[-1] >= 8 * numbers[0]
    ax.set_xscale("log" if logarithmic else "linear")
    gaps = np.diff(np.log(numbers) if logarithmic else numbers)
    if not gaps.size or gaps.min() > gaps.sum() / 25:  # else their labels would cover each other
        ax.set_xticks(numbers, [f"{n:.10g}" for n in numbers])
        ax.minorticks_off()
    elif not logarithmic and all(n.is_integer() for n in numbers):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _positions(rows: list[Row], x: str, every: list[Row]) -> np.ndarray:
    values = values_of(every, x)
    return np.array([float(row[x] if _numeric(every, x) else values.index(row[x])) for row in rows])


def _joined(rows: list[Row], x: str) -> bool:
    """Whether lines along x mean something."""
    return _numeric(rows, x) and len(values_of(rows, x)) > 1


def _numeric(rows: list[Row], key: str) -> bool:
    return all(np.isfinite(number(row[key])) for row in rows)


def _spread(row: Row, quantity: str) -> tuple[float, float, float]:
    """5 %, median, 95 %; nothing without a finite median."""
    low, middle, high = (number(row[f"{quantity}_{q}"]) for q in ("p5", "median", "p95"))
    return (low, middle, high) if np.isfinite(middle) else (np.nan, np.nan, np.nan)
