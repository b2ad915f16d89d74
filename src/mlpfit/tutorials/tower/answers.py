"""What the sweep around the tower answers."""

from mlpfit.sweeps.summary import Row, interval, median

DEPTHS = 3  # at each number of parameters


def width_and_depth(rows: list[Row]) -> str:
    parts = []
    ordered = sorted(rows, key=lambda row: float(row["parameters"]))
    for nets in (ordered[i : i + DEPTHS] for i in range(0, len(ordered), DEPTHS)):
        best = min(nets, key=median)
        one = next(row for row in nets if row["layers"] == "1")
        deep, flat = interval(best), interval(one)
        verdict = (
            f"{best['layers']} hidden layers reach {deep.value / flat.value:.2f} of one layer's "
            f"median error, {deep} against {flat}"
            if deep.apart(flat)
            else "no depth is distinguishable from one layer"
        )
        parts.append(f"at about {best['parameters']} parameters {verdict}")
    return f"{'; '.join(parts)}.".capitalize()


ANSWERS = {"width_and_depth": width_and_depth}
