"""Training as a picture that moves: plain SVG of the final state, and the numbers for the script to
step through."""

import html
import json

import numpy as np

from mlpfit.runs.run import Run

POINTS = 41
W, H, PAD = 300, 190, 8


def explorer(name: str, run: Run) -> str:
    """Three panels (fit, residual, parts of the hidden units) and a slider over the snapshots of
    the first replica.

    Without a script the panels show the trained net.
    """
    steps = run.snapshots.tolist()
    one_input = run.data["x"].shape[2] == 1
    data = _curves(run, steps) if one_input else _scatter(run, steps)
    panels = [_panel("fit", data["fit"], data), _panel("residual", data["residual"], data)]
    if data["units"]:
        panels.append(_panel("parts of the hidden units", data["units"], data))
    control = ""
    if len(steps) > 1:
        control = (
            f'<label>step <output>{steps[-1]}</output> <input type="range" min="0" max="{len(steps) - 1}" '
            f'value="{len(steps) - 1}" aria-label="training step of {html.escape(name)}"></label>'
        )
    payload = json.dumps(
        {"steps": steps, "frames": data["frames"], "kinks": data["kinks"]}, separators=(",", ":")
    )
    return (
        f'<div class="explorer" id="explore-{name.replace("/", "-")}"><h4>{html.escape(name)}</h4>{control}'
        f'<div class="panels">{"".join(panels)}</div><script type="application/json">{payload}</script></div>'
    )


def _curves(run: Run, steps: list[int]) -> dict:
    """One input: everything as curves over a grid, in pixels."""
    order = np.argsort(run.data["pool_x"][0, :, 0], kind="stable")
    pool, truth = run.data["pool_x"][0, order, 0], run.data["pool_truth"][0, order, 0]
    x = np.linspace(pool[0], pool[-1], POINTS)
    true = np.interp(x, pool, truth)
    made = [run._outputs(x[:, None], step) for step in steps]
    prediction = np.array([m[-1][0, :, 0] for m in made])
    hidden = len(made[0]) > 1
    parts = [
        (m[-2][0] * run.parameters(step)[-1][0][0, :, 0]).T
        for m, step in zip(made, steps, strict=True)
        if hidden
    ]
    rows_x, rows_y = run.data["x"][0, :, 0], run.data["y"][0, :, 0]
    span = (min(truth.min(), rows_y.min()), max(truth.max(), rows_y.max()))
    px = _scale(x, (x[0], x[-1]), W)
    widest = 0.6 * (span[1] - span[0])
    reach = (
        (-max(1.5 * np.abs(parts[-1]).max(), 1e-9), max(1.5 * np.abs(parts[-1]).max(), 1e-9))
        if parts
        else (0, 1)
    )
    frames: list[dict] = [
        {
            "fit": _rounded(_scale(p, span, H, flip=True)),
            "residual": _rounded(_scale(true - p, (-widest, widest), H, flip=True)),
            "units": [
                _rounded(_scale(u, reach, H, flip=True)) for u in (parts[i] if parts else [])
            ],
        }
        for i, p in enumerate(prediction)
    ]
    dots = _dots(_scale(rows_x, (x[0], x[-1]), W), _scale(rows_y, span, H, flip=True))
    behind = dots + _line(px, _scale(true, span, H, flip=True), "truth")
    zero = f'<line class="zero" x1="0" x2="{W}" y1="{H / 2}" y2="{H / 2}"/>'
    return {
        "frames": {"x": _rounded(px), "y": frames, "dots": False},
        "kinks": _kinks(run, steps, (x[0], x[-1])) if len(run.parameters()) == 2 else [],
        "fit": behind + _line(px, np.array(frames[-1]["fit"]), "net"),
        "residual": zero + _line(px, np.array(frames[-1]["residual"]), "net"),
        "units": zero + "".join(_line(px, np.array(u), "unit") for u in frames[-1]["units"])
        if parts
        else "",
    }


def _scatter(run: Run, steps: list[int]) -> dict:
    """Several inputs: predicted and residual against observed, a dot a row."""
    y = run.data["y"][0, :, 0]
    span = (y.min(), y.max())
    px = _scale(y, span, W)
    predictions = [run.predict(run.data["x"], step)[0, :, 0] for step in steps]
    frames = [
        {
            "fit": _rounded(_scale(p, span, H, flip=True)),
            "residual": _rounded(_scale(y - p, span, H, flip=True)),
            "units": [],
        }
        for p in predictions
    ]
    diagonal = f'<line class="truth" x1="0" y1="{H}" x2="{W}" y2="0"/>'
    return {
        "frames": {"x": _rounded(px), "y": frames, "dots": True},
        "kinks": [],
        "fit": diagonal + _dots(px, np.array(frames[-1]["fit"]), "net"),
        "residual": _dots(px, np.array(frames[-1]["residual"]), "net"),
        "units": "",
    }


def _kinks(run: Run, steps: list[int], span: tuple[float, float]) -> list[list[float]]:
    """Pixel positions of -b / w of every unit at every snapshot."""
    found = []
    for step in steps:
        (weight, bias), _ = run.parameters(step)
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.nan_to_num(-bias[0, 0] / weight[0, 0], nan=-1e6, posinf=1e6, neginf=-1e6)
        found.append(_rounded(np.clip(_scale(places, span, W), -50, W + 50)))
    return found


def _scale(
    values: np.ndarray, span: tuple[float, float], size: int, flip: bool = False
) -> np.ndarray:
    inner = PAD + (np.asarray(values, dtype=float) - span[0]) / max(span[1] - span[0], 1e-12) * (
        size - 2 * PAD
    )
    return np.clip(np.nan_to_num(size - inner if flip else inner), -500, 1000)


def _rounded(values: np.ndarray) -> list[float]:
    return [int(v) if v == int(v) else v for v in np.round(values, 1).tolist()]


def _line(x: np.ndarray, y: np.ndarray, kind: str) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _dots(x: np.ndarray, y: np.ndarray, kind: str = "row") -> str:
    step = max(1, len(x) // 200)  # a thousand dots say no more than two hundred
    pairs = zip(x[::step], y[::step], strict=True)
    return "".join(f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in pairs)


def _panel(title: str, content: str, data: dict) -> str:
    return (
        f'<figure><svg viewBox="0 0 {W} {H}" role="img" aria-label="{title}" data-panel="{title.split()[0]}">'
        f'{content}<line class="kink" x1="-9" x2="-9" y1="0" y2="{H}"/></svg><figcaption>{title}</figcaption></figure>'
    )
