"""Answers to the questions of the parabola's sweeps."""

from mlpfit.sweeps.summary import Row, alike, interval, median, stability_of

PAGE = {"optimizer.lr": 0.02, "trainer.max_steps": 5000}


def learning_rate(rows: list[Row]) -> str:
    low, limit, high, stable = stability_of(rows, "optimizer.lr")
    max_steps = max(float(row["trainer.max_steps"]) for row in rows)
    longest = [row for row in rows if float(row["trainer.max_steps"]) == max_steps]
    best = min(longest, key=median)
    page = next(row for row in rows if all(float(row[key]) == v for key, v in PAGE.items()))
    limit_at_start, limit_at_end = (
        2 / page[f"{name}_median"] for name in ("sharpness_start", "sharpness")
    )
    divergence = (
        "replicas diverge at every rate tried"
        if stable is None
        else f"no replica diverges up to {stable:g}"
    )
    return (
        "At the minima that the smallest rate finds, descent is stable below 2 / the largest "
        f"Hessian eigenvalue = {limit:.3g} (5 to 95 %: {low:.3g} to {high:.3g}; at the initial "
        f"weights {limit_at_start:.3g}). Yet {divergence}: at the page's rate 0.02 and 5000 steps "
        f"descent has left for places whose limit is {limit_at_end:.3g}. After {max_steps:g} steps "
        f"the rate {best['optimizer.lr']} has the lowest median error, {interval(best)}"
        f"{alike(best, longest, 'optimizer.lr')}."
    )


def hidden_units(rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda row: float(row["model.hidden"]))
    best = min(ordered, key=median)
    limit = 2 * median(best)
    fewest = next(row for row in ordered if median(row) <= limit)
    fewer = ordered[: ordered.index(fewest)]
    perhaps = ", ".join(row["model.hidden"] for row in fewer if interval(row).low <= limit)
    return (
        f"{ordered[0]['model.hidden']} unit leaves a median error of {interval(ordered[0])}; "
        f"{fewest['model.hidden']} units are the fewest within twice the best of all"
        + (f" (so may be {perhaps}, as far as the replicas tell)" if perhaps else "")
        + f", {interval(best)} with {best['model.hidden']}"
        f"{alike(best, ordered, 'model.hidden')}."
    )


ANSWERS = {"learning_rate": learning_rate, "hidden_units": hidden_units}
