"""The answer to the question of the plane's sweep."""

from collections.abc import Iterable

from mlpfit.sweeps.summary import Median, Row, interval


def sample_size(rows: list[Row]) -> str:
    clauses = []
    for quantity, where in (("mse", "on its own rows"), ("val_mse", "on fresh rows")):
        net = medians(rows, "plane/sequential", quantity)
        exact = medians(rows, "plane/least_squares", quantity)
        sizes = sorted(net.keys() & exact.keys())
        apart = [n for n in sizes if net[n].apart(exact[n])]
        below = in_words(n for n in apart if net[n].value < exact[n].value)
        above = in_words(n for n in apart if net[n].value > exact[n].value)
        alike = in_words(n for n in sizes if n not in apart)
        clauses.append(
            f"{where} the net's median error is below that of least squares {below}, above it "
            f"{above}, not distinguishable {alike}"
        )
    return f"{'; '.join(clauses)}.".capitalize()


def medians(rows: list[Row], experiment: str, quantity: str) -> dict[float, Median]:
    """Number of rows -> median error of the experiment."""
    jobs = [row for row in rows if row["experiment"] == experiment]
    return {float(row["target.points"]): interval(row, quantity) for row in jobs}


def in_words(sizes: Iterable[float]) -> str:
    numbers = ", ".join(f"{size:g}" for size in sizes)
    return f"at {numbers} rows" if numbers else "nowhere"


ANSWERS = {"sample_size": sample_size}
