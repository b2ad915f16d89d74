"""Training as a picture that moves: every snapshot of a run in pixels, for the template to draw and
the script to step through."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from mlpfit.runs.run import Run

POINTS = 41  # of a curve
DOTS = 200  # a thousand dots show no more than two hundred
LEFT, RIGHT, TOP, BOTTOM = 42, 292, 8, 168  # pixels of the frame around what is drawn
Pixels = list[float]


@dataclass(frozen=True)
class Axis:
    """low, high: in units of the data; start, end: the pixels they lie at."""

    label: str
    low: float
    high: float
    start: int
    end: int

    def pixels(self, values: np.ndarray) -> Pixels:
        """To a tenth; what is far away or not finite lies just outside the picture."""
        share = (np.asarray(values, dtype=float) - self.low) / max(self.high - self.low, 1e-12)
        places = np.nan_to_num(self.start + share * (self.end - self.start), nan=-500)
        return [int(v) if v == int(v) else v for v in places.clip(-500, 1000).round(1).tolist()]

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and label of round numbers."""
        locator = MaxNLocator(nbins=4, steps=[1, 2, 5, 10])
        values = np.array(locator.tick_values(self.low, self.high))
        inside = values[(values >= self.low) & (values <= self.high)]
        return list(zip(self.pixels(inside), [f"{v:g}" for v in inside], strict=True))


def explorer(name: str, run: Run) -> dict[str, Any]:
    """Panels of the first replica of a run, and ``payload``, which the script steps through: fit,
    residual and, of one input, the part of every hidden unit."""
    one_input = run.data["x"].shape[2] == 1
    x, panels = _curves(run) if one_input else _scatter(run)
    hinges = len(run.parameters()) == 2 and run.config["model"]["activation"] == "relu"
    axis, steps = panels[0]["x"], run.snapshots.tolist()
    payload = {
        "steps": steps,
        "x": axis.pixels(x),
        "frames": {panel["name"]: panel["frames"] for panel in panels},
        "kinks": [axis.pixels(run.kinks(s)[0]) for s in steps] if one_input and hinges else [],
    }
    return {"name": name, "dots": not one_input, "panels": panels, "payload": payload}


def _curves(run: Run) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One input: everything as curves over a grid, which comes first."""
    order = np.argsort(run.data["pool_x"][0, :, 0], kind="stable")
    pool, pool_truth = run.data["pool_x"][0, order, 0], run.data["pool_truth"][0, order, 0]
    rows_x, rows_y = run.data["x"][0, :, 0], run.data["y"][0, :, 0]
    grid, steps = np.linspace(pool[0], pool[-1], POINTS), run.snapshots.tolist()
    truth = np.interp(grid, pool, pool_truth)
    outputs = np.array([run.predict(grid[:, None], step)[0, :, 0] for step in steps])
    parts = np.array([run.shares(grid[:, None], step)[0].T for step in steps])
    x, y = _axis(run, "x", grid), _axis(run, "y", np.concatenate([truth, rows_y]), upward=True)
    misses = _around_zero("truth minus net", 0.5 * (y.high - y.low))
    panels = [
        _panel("fit", x, y, outputs[:, None])
        | {"truth": _points(x, y, grid, truth), "rows": _points(x, y, rows_x, rows_y)},
        _panel("residual", x, misses, (truth - outputs)[:, None]),
    ]
    if parts.size:
        share = _around_zero("share in the output", max(1.5 * np.abs(parts[-1]).max(), 1e-9))
        panels.append(_panel("parts of the hidden units", x, share, parts))
    return grid, panels


def _scatter(run: Run) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Several inputs: predicted and residual against observed, a dot a row; observed first."""
    observed = _thinned(run.data["y"][0, :, 0])
    outputs = [run.predict(run.data["x"], step)[0, :, 0] for step in run.snapshots.tolist()]
    predicted = np.array([_thinned(output) for output in outputs])
    x, y = _axis(run, "observed", observed), _axis(run, "predicted", observed, upward=True)
    misses = _around_zero("observed minus predicted", 0.5 * (y.high - y.low))
    ends = np.array([x.low, x.high])
    fit = _panel("fit", x, y, predicted[:, None]) | {"truth": _points(x, y, ends, ends)}
    return observed, [fit, _panel("residual", x, misses, (observed - predicted)[:, None])]


def _panel(title: str, x: Axis, y: Axis, values: np.ndarray) -> dict[str, Any]:
    """Curves that move, y (steps, curves, points), and the line y = 0 if it lies in the middle."""
    frames = [[y.pixels(curve) for curve in curves] for curves in values]
    zero = (TOP + BOTTOM) / 2 if y.low == -y.high else None
    shown = {"title": title, "name": title.split()[0], "x": x, "y": y, "frames": frames}
    return shown | {"truth": [], "rows": [], "zero": zero}


def _axis(run: Run, label: str, values: np.ndarray, upward: bool = False) -> Axis:
    """Around these values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low)
    unit = ", standardised" if (run.data["scale"] != 1).any() else ""
    ends = (BOTTOM, TOP) if upward else (LEFT, RIGHT)
    return Axis(label + unit, low - margin, high + margin, *ends)


def _around_zero(label: str, largest: float) -> Axis:
    return Axis(label, -float(largest), float(largest), BOTTOM, TOP)


def _points(x: Axis, y: Axis, xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(x.pixels(_thinned(xs)), y.pixels(_thinned(ys)), strict=True))


def _thinned(values: np.ndarray) -> np.ndarray:
    return values[:: -(-len(values) // DOTS)]
