"""The answer to the question of the restored curve's sweep."""

from mlpfit.sweeps.summary import Row, alike, interval, median


def neurons(rows: list[Row]) -> str:
    without, momentum = (
        [row for row in rows if row["optimizer.momentum"] == value] for value in ("0.0", "0.9")
    )
    best = interval(min(without, key=median))
    as_good = [float(row["model.hidden"]) for row in momentum if interval(row).high <= best.value]
    sentence = f"{best_units('0.0', without)}; {best_units('0.9', momentum)}."
    if not as_good:
        return sentence
    return f"With momentum {min(as_good):g} units reach the best of plain descent: {sentence}"


def best_units(momentum: str, jobs: list[Row]) -> str:
    """The best number of units, those not distinguishable from it, and those that diverge."""
    best = min(jobs, key=median)
    diverging = [job for job in jobs if job["diverged"]]
    shares = ", ".join(f"{job['model.hidden']} ({job['diverged']:.0%})" for job in diverging)
    return (
        f"momentum {momentum} does best with {best['model.hidden']} units, median error "
        f"{interval(best)}{alike(best, jobs, 'model.hidden')}"
        + (f"; replicas diverge with {shares}" if shares else "; no replica diverges")
    )


ANSWERS = {"neurons": neurons}
