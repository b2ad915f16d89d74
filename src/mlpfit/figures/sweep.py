"""A sweep as a picture, from its summary.csv: curves for one swept key, a heat map for two, several for three.

python -m mlpfit.figures sweep=parabola/learning_rate
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.config import ready_sweep, ready_sweeps
from mlpfit.errors import ConfigError
from mlpfit.figures import style
from mlpfit.figures.parts import grid_of_axes, new
from mlpfit.runs import write_file
from mlpfit.summary import Row, read, stability_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = {
    "mse": "mean squared error, training rows",
    "truth_mse": "distance to the truth",
    "fresh_mse": "mean squared error, fresh rows",
}
NAMES = {"parameters": "parameters", "layers": "hidden layers", "experiment": ""}
LINES = ("-", "--", "-.", ":")


def draw_sweep(folder: Path) -> str:
    """Draw figure.svg beside the summary. Returns its path, or why there is none. Raises RunError without a summary."""
    if ".." in folder.parts:
        raise ConfigError(f"sweep={folder}: must be the name of a sweep under outputs/sweeps")
    keys, rows = read(folder)
    name = str(folder).rpartition("sweeps/")[2]
    spec = ready_sweep(name).get("figure") if name in ready_sweeps() else None
    if spec is None and len(keys) > 3:
        return f"no figure of {len(keys)} swept keys (three at most)"
    done = [row for row in rows if not row["failure"]]
    if not done:
        (folder / "figure.svg").unlink(missing_ok=True)
        return "no figure: no job has finished"
    for key in (spec or {}).get("x"), (spec or {}).get("lines"):
        if key is not None and key not in done[0]:
            raise ConfigError(f"sweep={name}: figure names {key}; there are {', '.join(done[0])}")
    with style.use():
        figure = curves(done, **spec) if spec else by_keys(done, keys)
        buffer = io.BytesIO()
        facts = [{k: v for k, v in row.items() if k != "seconds"} for row in done]
        source = f"{name}, {len(done)} jobs; data {hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"
        metadata = {"Date": None, "Creator": "mlpfit", "Title": f"Sweep {name}", "Description": source}
        figure.savefig(buffer, format="svg", metadata=metadata)
    write_file(folder / "figure.svg", buffer.getvalue())
    return str(folder / "figure.svg")


def by_keys(rows: list[Row], keys: list[str]) -> Figure:
    """What suits the number of swept keys."""
    if len(keys) < 2:
        return curves(rows, x=keys[0] if keys else "parameters")
    keys = sorted(keys, key=lambda key: -len({row[key] for row in rows}))
    panels = sorted({row[keys[2]] for row in rows}, key=_order) if len(keys) == 3 else [None]
    figure, axes = (None, []) if len(panels) > 1 else ((made := new())[0], [made[1]])
    if figure is None:
        figure, axes = grid_of_axes(rows=1, columns=min(3, len(panels)), panels=len(panels))
    values = [_number(row["mse_median"]) for row in rows]
    finite = [v for v in values if np.isfinite(v) and v > 0] or [1.0]
    for ax, panel in zip(axes, panels, strict=True):
        mine = [row for row in rows if panel is None or row[keys[2]] == panel]
        heat_map(ax, mine, keys[0], keys[1], (min(finite), max(finite)))
        if panel is not None:
            ax.set(title=f"{keys[2]} {panel}")
    figure.suptitle(f"{WORDS['mse']}: median", fontsize=10)
    return figure


def heat_map(ax: Axes, rows: list[Row], x: str, y: str, limits: tuple[float, float]) -> None:
    """Median error by colour (logarithmic) and as text, with the share of diverged replicas where there are any."""
    from matplotlib.colors import LogNorm

    columns, lines = (sorted({row[key] for row in rows}, key=_order) for key in (x, y))
    grid = np.full((len(lines), len(columns)), np.nan)
    for row in rows:
        at = lines.index(row[y]), columns.index(row[x])
        value = grid[at] = _number(row["mse_median"])
        lost = float(row["diverged"])
        text = (f"{value:.2g}" if np.isfinite(value) else "diverged") + (f"\n{lost:.0%} lost" if lost else "")
        ax.text(at[1], at[0], text, ha="center", va="center", fontsize=7, bbox={"fc": "white", "ec": "none", "pad": 1})
    low, high = limits
    shown = np.where(np.isfinite(grid) & (grid > 0), grid, np.nan)
    ax.imshow(shown, norm=LogNorm(low, max(high, low * 1.001)), cmap="viridis", aspect="auto", origin="lower")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(lines)), yticklabels=lines)
    ax.set(xlabel=x, ylabel=y)
    ax.grid(False)


def curves(rows: list[Row], x: str, lines: str | None = None, panels: Sequence[str] = ("mse",)) -> Figure:
    """One panel a quantity: its median over the replicas and a band from 5 to 95 %, along x, one line a value of
    ``lines``. A cross at the top is a job most of whose replicas diverged, a hollow point one that lost some."""
    if len(panels) > 1:
        figure, axes = grid_of_axes(rows=1, columns=len(panels), panels=len(panels))
    else:
        figure, ax = new()
        figure.set_size_inches(7.2, 3.6)
        axes = [ax]
    groups: list[str] = sorted({row[lines] for row in rows}, key=_order) if lines else [""]
    colors = [style.FIT, style.UNITS, style.PUBLISHED, style.BEFORE, style.ROWS]
    for ax, quantity in zip(axes, panels, strict=True):
        drawn = [v for row in rows for q in ("p5", "p95") if np.isfinite(v := _number(row[f"{quantity}_{q}"]))]
        for i, group in enumerate(groups):
            mine = sorted((row for row in rows if not lines or row[lines] == group), key=lambda row: _order(row[x]))
            label = f"{NAMES.get(lines, lines)} {group}".strip() if lines else "median"
            curve(ax, mine, x, quantity, colors[i % len(colors)], LINES[i % len(LINES)], label, max(drawn, default=1))
        _scale(ax, rows, x)
        wide = min(drawn, default=1) > 0 and max(drawn, default=1) > 8 * min(drawn, default=1)
        ax.set(yscale="log" if wide else "linear", xlabel=NAMES.get(x, x), ylabel=WORDS[quantity])
        if "sharpness_median" in rows[0]:
            stability(ax, rows, x)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


def curve(ax: Axes, rows: list[Row], x: str, quantity: str, color: str, line: str, label: str, ceiling: float) -> None:
    """One line with its band, from rows in the order of x; where the 95 % point has diverged, the band is open up to
    the ceiling."""
    at = _positions(rows, x)
    low, middle, high = (np.array([_number(row[f"{quantity}_{q}"]) for row in rows]) for q in ("p5", "median", "p95"))
    lost = np.array([float(row["diverged"]) for row in rows])
    known = np.isfinite(middle)
    ax.plot(at[known], middle[known], line, color=color, label=label)
    ax.plot(at[known & (lost == 0)], middle[known & (lost == 0)], "o", color=color)
    ax.plot(at[known & (lost > 0)], middle[known & (lost > 0)], "o", color=color, mfc="white")
    ax.plot(at[~known], np.full((~known).sum(), 0.99), "x", color=color, transform=ax.get_xaxis_transform())
    top = np.where(np.isfinite(high), high, max([ceiling, *middle[known]]))
    ax.fill_between(at[known], low[known], top[known], color=color, alpha=0.13, lw=0)


def stability(ax: Axes, rows: list[Row], x: str) -> None:
    """The limit 2 / sharpness at the minima that the gentlest job has found, and the largest value that lost nobody."""
    low, middle, high, stable = stability_of(rows, x)
    ax.axvspan(low, high, color=style.TRUTH, alpha=0.1, lw=0)
    ax.axvline(middle, color=style.TRUTH, ls="--", lw=1, label="2 / largest eigenvalue")
    if stable is not None:
        ax.axvline(stable, color=style.TRUTH, ls=":", lw=1, label="largest that lost nobody")


def _scale(ax: Axes, rows: list[Row], x: str) -> None:
    values = sorted({row[x] for row in rows}, key=_order)
    if not _numeric(rows, x):
        ax.set_xticks(range(len(values)), values)
        return
    numbers = sorted(map(float, values))
    if numbers[0] > 0 and numbers[-1] >= 8 * numbers[0]:
        ax.set_xscale("log")
        if all(b > 1.2 * a for a, b in pairwise(numbers)):  # else their labels would cover each other
            ax.set_xticks(numbers, [f"{n:g}" for n in numbers], rotation=0 if len(numbers) < 8 else 60)
            ax.minorticks_off()


def _positions(rows: list[Row], x: str) -> np.ndarray:
    if _numeric(rows, x):
        return np.array([float(row[x]) for row in rows])
    values = sorted({row[x] for row in rows}, key=_order)
    return np.array([float(values.index(row[x])) for row in rows])


def _numeric(rows: list[Row], key: str) -> bool:
    return all(isinstance(_order(row[key])[1], float) for row in rows)


def _order(value: str) -> tuple[bool, Any]:
    """Numbers by size, before words by letters."""
    number = _number(value)
    return (True, value) if np.isnan(number) else (False, number)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")
