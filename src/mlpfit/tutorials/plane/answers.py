"""What the sweep around the plane answers."""

from mlpfit.sweeps.summary import Row


def sample_size(rows: list[Row]) -> str:
    parts = []
    for quantity, where in (("mse", "on its own rows"), ("val_mse", "on fresh rows")):
        net, line = (
            {
                float(row["target.points"]): float(row[f"{quantity}_median"])
                for row in rows
                if row["experiment"] == name
            }
            for name in ("plane/sequential", "plane/least_squares")
        )
        wins = sorted(points for points in net if points in line and net[points] < line[points])
        sizes = ", ".join(f"{points:g}" for points in wins)
        parts.append(
            f"{where} the net's median error is below that of least squares "
            + (f"at {sizes} rows" if wins else "never")
        )
    return f"{'; '.join(parts)}.".capitalize()


ANSWERS = {"sample_size": sample_size}
