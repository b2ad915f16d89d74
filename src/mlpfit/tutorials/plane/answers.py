"""What the sweep around the plane answers."""

from collections.abc import Iterable

from mlpfit.sweeps.summary import Row, interval


def sample_size(rows: list[Row]) -> str:
    parts = []
    for quantity, where in (("mse", "on its own rows"), ("val_mse", "on fresh rows")):
        net, line = (
            {
                float(r["target.points"]): interval(r, quantity)
                for r in rows
                if r["experiment"] == name
            }
            for name in ("plane/sequential", "plane/least_squares")
        )
        sizes = sorted(net.keys() & line.keys())
        below = _list(n for n in sizes if net[n].value < line[n].value and net[n].apart(line[n]))
        above = _list(n for n in sizes if net[n].value > line[n].value and net[n].apart(line[n]))
        alike = _list(n for n in sizes if not net[n].apart(line[n]))
        parts.append(
            f"{where} the net's median error is below that of least squares {below}, above it "
            f"{above}, not distinguishable {alike}"
        )
    return f"{'; '.join(parts)}.".capitalize()


def _list(sizes: Iterable[float]) -> str:
    named = ", ".join(f"{size:g}" for size in sizes)
    return f"at {named} rows" if named else "nowhere"


ANSWERS = {"sample_size": sample_size}
