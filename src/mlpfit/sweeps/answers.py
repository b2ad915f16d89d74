"""What each ready sweep answers, in a sentence made from the rows of its summary."""

from collections.abc import Callable
from itertools import groupby

from mlpfit.sweeps.summary import Row, stability_of


def learning_rate(rows: list[Row]) -> str:
    low, middle, high, stable = stability_of(rows, "optimizer.lr")
    longest = max(rows, key=lambda row: float(row["trainer.max_steps"]))["trainer.max_steps"]
    best = min((row for row in rows if row["trainer.max_steps"] == longest), key=_median)
    page = next(
        row
        for row in rows
        if float(row["optimizer.lr"]) == 0.02 and row["trainer.max_steps"] == "5000"
    )
    start, moved = (2 / float(page[f"{when}_median"]) for when in ("sharpness_start", "sharpness"))
    kept = (
        f"no replica diverges up to {stable:g}"
        if stable is not None
        else "replicas diverge at every rate tried"
    )
    return (
        f"At the minima that the smallest rate finds, descent is stable below 2 / the largest Hessian eigenvalue = "
        f"{middle:.3g} (5 to 95 %: {low:.3g} to {high:.3g}; at the initial weights {start:.3g}). Yet {kept}: at the "
        f"page's rate 0.02 and 5000 steps descent has left for places whose limit is {moved:.3g}. "
        f"After {longest} steps the rate {best['optimizer.lr']} has the lowest median error, {_median(best):.3g}."
    )


def hidden_units(rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda row: float(row["model.hidden"]))
    best = min(ordered, key=_median)
    enough = next(row for row in ordered if _median(row) <= 2 * _median(best))
    least, most = ordered[0]["model.hidden"], best["model.hidden"]
    return (
        f"{least} unit leaves a median error of {_median(ordered[0]):.3g}; {enough['model.hidden']} units are the "
        f"fewest within twice the best of all, {_median(best):.3g} with {most}."
    )


def width_and_depth(rows: list[Row]) -> str:
    found = []
    ordered = sorted(rows, key=lambda row: float(row["parameters"]))
    for _, group in groupby(
        enumerate(ordered), key=lambda pair: pair[0] // 3
    ):  # three depths at each size
        nets = [row for _, row in group]
        best = min(nets, key=_median)
        flat = next(row for row in nets if row["layers"] == "1")
        ratio = _median(best) / _median(flat)
        # The medians of 64 such replicas are known to some twenty per cent.
        words = (
            f"{best['layers']} hidden layers reach {ratio:.2f} of"
            if ratio < 0.8
            else "no depth is clearly below"
        )
        found.append(f"at about {best['parameters']} parameters {words} one layer's median error")
    return f"{'; '.join(found)}.".capitalize()


def neurons(rows: list[Row]) -> str:
    words = []
    for momentum in ("0.0", "0.9"):
        mine = [row for row in rows if row["optimizer.momentum"] == momentum]
        best = min(mine, key=_median)
        lost = ", ".join(
            f"{r['model.hidden']} ({float(r['diverged']):.0%})"
            for r in mine
            if float(r["diverged"])
        )
        words.append(
            f"momentum {momentum} does best with {best['model.hidden']} units (median error {_median(best):.2g})"
            + (f", replicas diverge with {lost}" if lost else ", no replica diverges")
        )
    plain = min(_median(row) for row in rows if row["optimizer.momentum"] == "0.0")
    few = [
        float(r["model.hidden"])
        for r in rows
        if r["optimizer.momentum"] == "0.9" and _median(r) <= plain
    ]
    fewest = (
        f"With momentum {min(few):g} units already reach the best of plain descent: " if few else ""
    )
    return f"{fewest}{'; '.join(words)}."


def sample_size(rows: list[Row]) -> str:
    words = []
    for quantity, where in (("mse", "on its own rows"), ("val_mse", "on fresh rows")):
        net, line = (
            {
                float(r["target.points"]): float(r[f"{quantity}_median"])
                for r in rows
                if r["experiment"] == name
            }
            for name in ("plane/sequential", "plane/least_squares")
        )
        wins = sorted(points for points in net if points in line and net[points] < line[points])
        sizes = ", ".join(f"{points:g}" for points in wins)
        words.append(
            f"{where} the net's median error is below that of least squares {f'at {sizes} rows' if wins else 'never'}"
        )
    return f"{'; '.join(words)}.".capitalize()


ANSWERS: dict[str, Callable[[list[Row]], str]] = {
    "parabola/learning_rate": learning_rate,
    "parabola/hidden_units": hidden_units,
    "tower/width_and_depth": width_and_depth,
    "restoration/neurons": neurons,
    "plane/sample_size": sample_size,
}


def answer(sweep: str, rows: list[Row]) -> str:
    """The sentence; empty for a sweep that asks nothing in particular or has failed jobs."""
    return (
        "" if sweep not in ANSWERS or any(row["failure"] for row in rows) else ANSWERS[sweep](rows)
    )


def _median(row: Row) -> float:
    return float(row["mse_median"])
