"""The answer to the question of the tower's sweep."""

from mlpfit.sweeps.summary import Row, interval, median

DEPTHS = 3  # nets of different depth for each number of parameters


def width_and_depth(rows: list[Row]) -> str:
    clauses = []
    ordered = sorted(rows, key=lambda row: row["parameters"])
    for nets in (ordered[i : i + DEPTHS] for i in range(0, len(ordered), DEPTHS)):
        best = min(nets, key=median)
        deep = interval(best)
        shallow = interval(next(row for row in nets if row["layers"] == 1))
        comparison = (
            f"{best['layers']} hidden layers reach {deep.value / shallow.value:.2f} of one layer's "
            f"median error, {deep} against {shallow}"
            if deep.apart(shallow)
            else "no depth is distinguishable from one layer"
        )
        clauses.append(f"at about {best['parameters']} parameters {comparison}")
    return f"{'; '.join(clauses)}.".capitalize()


ANSWERS = {"width_and_depth": width_and_depth}
