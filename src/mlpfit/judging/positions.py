"""Many published values at once, each among its own replicas."""

from functools import cache

import numpy as np

from mlpfit.judging import statistics
from mlpfit.judging.statistics import P, Position


def positions(values: np.ndarray, replicas: np.ndarray) -> list[tuple[Position, P]]:
    """:func:`mlpfit.judging.statistics.position` of each of the values (N,) among the replicas in
    its column (R, N)."""
    finite = np.where(np.isfinite(replicas), replicas, np.inf)
    below, above = (finite < values).sum(axis=0), (finite > values).sum(axis=0)
    quantiles = statistics.quantiles(finite, axis=0).T
    columns = (values, below, above, quantiles)
    return [
        _position(value, below, above, len(replicas), tuple(own))
        for value, below, above, own in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _position(
    value: float, below: int, above: int, n: int, quantiles: tuple[float, float, float]
) -> tuple[Position, P]:
    ties = n - below - above
    _, low, high = _proportion(below + ties // 2, n)
    p5, median, p95 = quantiles
    ratio = value / median if median else None
    where = Position((below + ties / 2) / n, low, high, median, p5, p95, ratio, n)
    return where, _monte_carlo_p(n - max(below, above), n)


_proportion, _monte_carlo_p = cache(statistics.proportion), cache(statistics.monte_carlo_p)
