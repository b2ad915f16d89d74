"""A run's training in panels: every snapshot in pixels, drawn by the template ``explorer.html`` and
stepped through by the page's script."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpfit.figures.parts import fit_panels
from mlpfit.runs.run import Run

POINTS = 41  # of a curve
MAX_DOTS = 200  # a thousand would show no more
LEFT, RIGHT, TOP, BOTTOM = 42, 292, 8, 168  # pixels of the frame of a panel
LABELS = ("x", "y", "truth minus net")  # of the axes, for one input and for several
LABELS_OF_SEVERAL = ("observed", "predicted", "observed minus predicted")
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
        """Pixels of values (n,), to a tenth; far values, infinity and nan lie outside the panel."""
        relative = (np.asarray(values, dtype=float) - self.low) / max(self.high - self.low, 1e-12)
        pixels = np.nan_to_num(self.start + relative * (self.end - self.start), nan=-500)
        return [int(v) if v == int(v) else v for v in pixels.clip(-500, 1000).round(1).tolist()]

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and label of each of some round numbers."""
        from matplotlib.ticker import MaxNLocator  # here: importing it makes a folder for its cache

        locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        values = np.array(locator.tick_values(self.low, self.high))
        inside = values[(values >= self.low) & (values <= self.high)]
        return list(zip(self.pixels(inside), [f"{v:g}" for v in inside], strict=True))


def explorer(name: str, run: Run) -> dict[str, Any]:
    """Panels of a run's first replica and ``payload`` for the script: fit, residual and, for one
    input, the share of every hidden unit; for several inputs dots over the observed values."""
    one_input = run.data["x"].shape[2] == 1
    fit = fit_panels(run, POINTS)
    keep = slice(None, None, 1 if one_input else -(-len(fit.x) // MAX_DOTS))
    at, truth, predicted = fit.x[keep], fit.truth[keep], fit.prediction[:, None, keep]
    labels = LABELS if one_input else LABELS_OF_SEVERAL
    x = _axis(run, labels[0], fit.x, (LEFT, RIGHT))
    y = _axis(run, labels[1], np.concatenate([truth, fit.rows_y, predicted[-1, 0]]), (BOTTOM, TOP))
    residual = _symmetric_axis(labels[2], 0.5 * (y.high - y.low))
    line = _points(x, y, at, truth) if one_input else [(LEFT, BOTTOM), (RIGHT, TOP)]
    fixed = {"rows": _points(x, y, fit.rows_x, fit.rows_y) if one_input else [], "truth": line}
    panels = [_panel("fit", x, y, predicted) | fixed]
    panels.append(_panel("residual", x, residual, truth - predicted))
    if one_input and fit.shares.size:
        limit = max(1.5 * float(np.abs(fit.shares[-1]).max()), 1e-9)
        share = _symmetric_axis("share in the output", limit)
        panels.append(_panel("parts of the hidden units", x, share, fit.shares.swapaxes(1, 2)))
    has_kinks = len(run.parameters()) == 2 and run.config["model"]["activation"] == "relu"
    payload = {
        "steps": run.snapshots.tolist(),
        "x": x.pixels(at),
        "frames": {panel["name"]: panel["frames"] for panel in panels},
        "kinks": [x.pixels(kinks) for kinks in fit.kinks] if one_input and has_kinks else [],
    }
    return {"name": name, "dots": not one_input, "panels": panels, "payload": payload}


def _panel(title: str, x: Axis, y: Axis, values: np.ndarray) -> dict[str, Any]:
    """A panel whose curves, values (steps, curves, points), change with the step; with the line y =
    0 if it lies in the middle."""
    frames = [[y.pixels(curve) for curve in curves] for curves in values]
    zero = (TOP + BOTTOM) / 2 if y.low == -y.high else None
    panel = {"title": title, "name": title.split()[0], "x": x, "y": y, "frames": frames}
    return panel | {"truth": [], "rows": [], "zero": zero}


def _axis(run: Run, label: str, values: np.ndarray, ends: tuple[int, int]) -> Axis:
    """An axis from the least to the largest value, with a margin; ends: pixels."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low)
    unit = ", standardised" if (run.data["scale"] != 1).any() else ""
    return Axis(label + unit, low - margin, high + margin, *ends)


def _symmetric_axis(label: str, limit: float) -> Axis:
    return Axis(label, -float(limit), float(limit), BOTTOM, TOP)


def _points(x: Axis, y: Axis, xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float]]:
    keep = slice(None, None, -(-len(xs) // MAX_DOTS))
    return list(zip(x.pixels(xs[keep]), y.pixels(ys[keep]), strict=True))
