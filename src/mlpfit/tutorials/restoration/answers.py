"""What the sweep around the restored curve answers."""

from mlpfit.sweeps.summary import Row, alike, interval, median


def neurons(rows: list[Row]) -> str:
    plain, heavy = (
        [row for row in rows if row["optimizer.momentum"] == value] for value in ("0.0", "0.9")
    )
    target = interval(min(plain, key=median))
    few = [float(row["model.hidden"]) for row in heavy if interval(row).high <= target.value]
    head = f"With momentum {min(few):g} units reach the best of plain descent: " if few else ""
    return f"{head}{_best('0.0', plain)}; {_best('0.9', heavy)}."


def _best(momentum: str, jobs: list[Row]) -> str:
    """Which number of units does best, which are no worse as far as the replicas tell, and with
    which replicas diverge."""
    best = min(jobs, key=median)
    lossy = [job for job in jobs if float(job["diverged"])]
    shares = ", ".join(f"{job['model.hidden']} ({float(job['diverged']):.0%})" for job in lossy)
    return (
        f"momentum {momentum} does best with {best['model.hidden']} units, median error "
        f"{interval(best)}{alike(best, jobs, 'model.hidden')}"
        + (f"; replicas diverge with {shares}" if shares else "; no replica diverges")
    )


ANSWERS = {"neurons": neurons}
