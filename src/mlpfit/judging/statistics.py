"""The statistics of the ledger: pure functions from arrays to numbers. The unit of replication is
the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# scipy is imported where it is used: figures need only the quantiles, and half a second less to
# start.

QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
TYPICAL, UNUSUAL = 0.10, 0.002  # two-sided p-values: inside the central 90 %, inside 99.8 %


def quantiles(
    values: np.ndarray, shares: Sequence[float] = tuple(QUANTILES.values()), axis: int = -1
) -> np.ndarray:
    """Values at or below which these shares of the replicas lie: (shares, ...), without ``axis``.

    Each is one of the values: the inverse of the empirical distribution function, Hyndman and Fan
    (1996), Am. Stat. 50, definition 1. What is not finite has diverged and lies above every other.
    """
    finite = np.where(np.isfinite(values), values, np.inf)
    return np.quantile(finite, shares, axis=axis, method="inverted_cdf")


@dataclass(frozen=True)
class Position:
    """Where a value lies among replicas. percentile: share of replicas below it (ties count half),
    with its 95 % interval; p: two-sided Monte Carlo p-value."""

    percentile: float
    low: float
    high: float
    p: float
    median: float
    p5: float
    p95: float
    replicas: int


def position(value: float, replicas: np.ndarray) -> Position:
    """replicas (R,); one that is not finite has diverged and lies above every value.

    p = 2 min(1 + #{x <= v}, 1 + #{x >= v}) / (R + 1): Davison and Hinkley (1997), Bootstrap Methods
    and their Application, section 4.2; never 0.
    """
    x = np.where(np.isfinite(replicas), replicas, np.inf)
    below, above, n = int((x < value).sum()), int((x > value).sum()), len(x)
    ties = n - below - above
    low, high = share(below + ties // 2, n)[1:]
    p = min(1.0, 2 * min(1 + below + ties, 1 + above + ties) / (n + 1))
    p5, median, p95 = quantiles(x).tolist()
    return Position((below + ties / 2) / n, low, high, p, median, p5, p95, n)


def share(holds: int, n: int) -> tuple[float, float, float]:
    """A share of seeds with its 95 % interval: Wilson (1927), J. Am. Stat. Assoc. 22, through
    scipy."""
    from scipy.stats import binomtest

    interval = binomtest(holds, n).proportion_ci(0.95, method="wilson")
    return holds / n, float(interval.low), float(interval.high)


def verdict(p: float) -> str:
    """typical: inside the central 90 %; unusual: inside 99.8 %; else outside."""
    return "typical" if p >= TYPICAL else "unusual" if p >= UNUSUAL else "outside"


def trace_test(published: np.ndarray, replicas: np.ndarray) -> float:
    """One p-value for a whole trace: published (S,), replicas (R, S).

    Extreme rank length test (Myllymaki, Mrkvicka, Grabarnik, Seijo and Hahn 2017, J. R. Stat. Soc.
    B 79, section 4): every trace gets its two-sided ranks at the S steps among all R + 1 traces,
    sorted from the most extreme; p is the share of traces at least as extreme in lexicographic
    order. Under exchangeability P(p <= a) <= a.
    """
    traces = np.vstack([published, np.where(np.isfinite(replicas), replicas, np.inf)])
    depth = np.sort(1 + np.minimum(_ranks_below(traces), _ranks_below(-traces)), axis=1)
    keys = [tuple(row) for row in depth.tolist()]
    return sum(key <= keys[0] for key in keys) / len(keys)


def _ranks_below(traces: np.ndarray) -> np.ndarray:
    """At each step, how many traces lie strictly below each: (T, S) -> (T, S)."""
    columns = [np.searchsorted(np.sort(column), column, side="left") for column in traces.T]
    return np.stack(columns, axis=1)


def adjusted(p: list[float]) -> list[float]:
    """p-values of several traces, adjusted to control the false discovery rate under any
    dependence: Benjamini and Yekutieli (2001), Ann. Stat. 29, through scipy. Traces on the same
    data are not independent."""
    from scipy.stats import false_discovery_control

    return [float(v) for v in false_discovery_control(p, method="by")] if p else []
