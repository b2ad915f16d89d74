"""What the sweep around the restored curve answers."""

from mlpfit.sweeps.summary import Row, median


def neurons(rows: list[Row]) -> str:
    plain, heavy = (
        [row for row in rows if row["optimizer.momentum"] == value] for value in ("0.0", "0.9")
    )
    parts = []
    for momentum, jobs in (("0.0", plain), ("0.9", heavy)):
        best = min(jobs, key=median)
        diverged = ", ".join(
            f"{row['model.hidden']} ({float(row['diverged']):.0%})"
            for row in jobs
            if float(row["diverged"])
        )
        parts.append(
            f"momentum {momentum} does best with {best['model.hidden']} units "
            f"(median error {median(best):.2g}), "
            + (f"replicas diverge with {diverged}" if diverged else "no replica diverges")
        )
    target = min(median(row) for row in plain)
    few = [float(row["model.hidden"]) for row in heavy if median(row) <= target]
    head = (
        f"With momentum {min(few):g} units already reach the best of plain descent: " if few else ""
    )
    return f"{head}{'; '.join(parts)}."


ANSWERS = {"neurons": neurons}
