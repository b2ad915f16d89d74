"""What the sweeps around the parabola answer."""

from mlpfit.sweeps.summary import Row, alike, interval, median, stability_of

PAGE = {"optimizer.lr": 0.02, "trainer.max_steps": 5000}


def learning_rate(rows: list[Row]) -> str:
    low, middle, high, stable = stability_of(rows, "optimizer.lr")
    longest = max(float(row["trainer.max_steps"]) for row in rows)
    last = [row for row in rows if float(row["trainer.max_steps"]) == longest]
    best = min(last, key=median)
    page = next(row for row in rows if all(float(row[key]) == v for key, v in PAGE.items()))
    start, moved = (2 / float(page[f"{when}_median"]) for when in ("sharpness_start", "sharpness"))
    limit = (
        "replicas diverge at every rate tried"
        if stable is None
        else f"no replica diverges up to {stable:g}"
    )
    return (
        "At the minima that the smallest rate finds, descent is stable below 2 / the largest "
        f"Hessian eigenvalue = {middle:.3g} (5 to 95 %: {low:.3g} to {high:.3g}; at the initial "
        f"weights {start:.3g}). Yet {limit}: at the page's rate 0.02 and 5000 steps descent has "
        f"left for places whose limit is {moved:.3g}. After {longest:g} steps the rate "
        f"{best['optimizer.lr']} has the lowest median error, {interval(best)}"
        f"{alike(best, last, 'optimizer.lr')}."
    )


def hidden_units(rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda row: float(row["model.hidden"]))
    best = min(ordered, key=median)
    limit = 2 * median(best)
    enough = next(row for row in ordered if median(row) <= limit)
    fewer = ordered[: ordered.index(enough)]
    perhaps = ", ".join(row["model.hidden"] for row in fewer if interval(row).low <= limit)
    return (
        f"{ordered[0]['model.hidden']} unit leaves a median error of {interval(ordered[0])}; "
        f"{enough['model.hidden']} units are the fewest within twice the best of all"
        + (f" (so may be {perhaps}, as far as the replicas tell)" if perhaps else "")
        + f", {interval(best)} with {best['model.hidden']}"
        f"{alike(best, ordered, 'model.hidden')}."
    )


ANSWERS = {"learning_rate": learning_rate, "hidden_units": hidden_units}
