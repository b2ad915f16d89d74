"""What the sweeps around the parabola answer."""

from mlpfit.sweeps.summary import Row, median, stability_of

PAGE = {"optimizer.lr": 0.02, "trainer.max_steps": 5000}


def learning_rate(rows: list[Row]) -> str:
    low, middle, high, stable = stability_of(rows, "optimizer.lr")
    longest = max(float(row["trainer.max_steps"]) for row in rows)
    best = min((r for r in rows if float(r["trainer.max_steps"]) == longest), key=median)
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
        f"{best['optimizer.lr']} has the lowest median error, {median(best):.3g}."
    )


def hidden_units(rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda row: float(row["model.hidden"]))
    best = min(ordered, key=median)
    enough = next(row for row in ordered if median(row) <= 2 * median(best))
    least, most = ordered[0]["model.hidden"], best["model.hidden"]
    return (
        f"{least} unit leaves a median error of {median(ordered[0]):.3g}; "
        f"{enough['model.hidden']} units are the fewest within twice the best of all, "
        f"{median(best):.3g} with {most}."
    )


ANSWERS = {"learning_rate": learning_rate, "hidden_units": hidden_units}
