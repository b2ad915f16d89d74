"""What the sweep around the tower answers."""

from mlpfit.sweeps.summary import Row, median

DEPTHS = 3  # at each number of parameters


def width_and_depth(rows: list[Row]) -> str:
    parts = []
    ordered = sorted(rows, key=lambda row: float(row["parameters"]))
    for nets in (ordered[i : i + DEPTHS] for i in range(0, len(ordered), DEPTHS)):
        best = min(nets, key=median)
        flat = next(row for row in nets if row["layers"] == "1")
        ratio = median(best) / median(flat)
        # The medians of 64 such replicas are known to some twenty per cent.
        verdict = (
            f"{best['layers']} hidden layers reach {ratio:.2f} of"
            if ratio < 0.8
            else "no depth is clearly below"
        )
        parts.append(f"at about {best['parameters']} parameters {verdict} one layer's median error")
    return f"{'; '.join(parts)}.".capitalize()


ANSWERS = {"width_and_depth": width_and_depth}
