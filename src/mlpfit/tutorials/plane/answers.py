"""The answer to the question of the plane's sweep."""

from mlpfit.sweeps.summary import Median, Row, interval


def sample_size(rows: list[Row]) -> str:
    clauses = []
    for quantity, where in (("mse", "on its own rows"), ("val_mse", "on fresh rows")):
        net = medians(rows, "plane/sequential", quantity)
        exact = medians(rows, "plane/least_squares", quantity)
        sizes = sorted(net.keys() & exact.keys())
        apart = [n for n in sizes if net[n].apart(exact[n])]
        places = {
            "below that of least squares": [n for n in apart if net[n].value < exact[n].value],
            "above that of least squares": [n for n in apart if net[n].value > exact[n].value],
            "not distinguishable from that of least squares": [n for n in sizes if n not in apart],
        }
        parts = [f"{relation} {in_words(at)}" for relation, at in places.items() if at]
        clauses.append(f"{where} the net's median error is {' and '.join(parts)}")
    return f"{'; '.join(clauses)}.".capitalize()


def medians(rows: list[Row], experiment: str, quantity: str) -> dict[float, Median]:
    """Number of rows -> median error of the experiment."""
    jobs = [row for row in rows if row["experiment"] == experiment]
    return {float(row["target.points"]): interval(row, quantity) for row in jobs}


def in_words(sizes: list[float]) -> str:
    """Numbers of rows: "at 20, 50 and 100 rows"."""
    *numbers, last = (f"{size:g}" for size in sizes)
    return f"at {', '.join(numbers)} and {last} rows" if numbers else f"at {last} rows"


ANSWERS = {"sample_size": sample_size}
