"""Training as a picture that moves: every snapshot of a run in pixels, for the template to draw and
the script to step through."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpfit.figures.parts import fit_panels
from mlpfit.runs.run import Run

POINTS = 41  # of a curve
DOTS = 200  # a thousand dots show no more than two hundred
LEFT, RIGHT, TOP, BOTTOM = 42, 292, 8, 168  # pixels of the frame around what is drawn
SEVERAL = ("observed", "predicted", "observed minus predicted")  # axes of several inputs
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
        from matplotlib.ticker import MaxNLocator  # late: it makes a folder for its cache

        locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        values = np.array(locator.tick_values(self.low, self.high))
        inside = values[(values >= self.low) & (values <= self.high)]
        return list(zip(self.pixels(inside), [f"{v:g}" for v in inside], strict=True))


def explorer(name: str, run: Run) -> dict[str, Any]:
    """Panels of the first replica of a run, and ``payload``, which the script steps through: fit,
    residual and, of one input, the part of every hidden unit; of several inputs against what was
    observed, a dot a row."""
    one_input = run.data["x"].shape[2] == 1
    fit = fit_panels(run, POINTS)
    keep = slice(None, None, 1 if one_input else -(-len(fit.x) // DOTS))
    at, truth, predicted = fit.x[keep], fit.truth[keep], fit.prediction[:, None, keep]
    names = ("x", "y", "truth minus net") if one_input else SEVERAL
    x, y = (
        _axis(run, names[0], fit.x),
        _axis(run, names[1], np.append(truth, fit.rows_y), upward=True),
    )
    misses = _around_zero(names[2], 0.5 * (y.high - y.low))
    line = _points(x, y, at, truth) if one_input else [(LEFT, BOTTOM), (RIGHT, TOP)]
    dots = {"rows": _points(x, y, fit.rows_x, fit.rows_y) if one_input else [], "truth": line}
    panels = [_panel("fit", x, y, predicted) | dots]
    panels.append(_panel("residual", x, misses, truth - predicted))
    if one_input and fit.shares.size:
        reach = max(1.5 * float(np.abs(fit.shares[-1]).max()), 1e-9)
        share = _around_zero("share in the output", reach)
        panels.append(_panel("parts of the hidden units", x, share, fit.shares.swapaxes(1, 2)))
    hinges = len(run.parameters()) == 2 and run.config["model"]["activation"] == "relu"
    payload = {
        "steps": run.snapshots.tolist(),
        "x": x.pixels(at),
        "frames": {panel["name"]: panel["frames"] for panel in panels},
        "kinks": [x.pixels(kinks) for kinks in fit.kinks] if one_input and hinges else [],
    }
    return {"name": name, "dots": not one_input, "panels": panels, "payload": payload}


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
    keep = slice(None, None, -(-len(xs) // DOTS))
    return list(zip(x.pixels(xs[keep]), y.pixels(ys[keep]), strict=True))
