"""The statistics of the ledger: pure functions from arrays to numbers. The unit of replication is
the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# scipy is imported where it is used: figures need only the quantiles, and half a second less to
# start.

QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
TYPICAL, UNUSUAL = 0.10, 0.002  # two-sided p-values: inside the central 90 %, inside 99.8 %
BORDERLINE = "borderline"
MEANINGS = {
    "typical": "p at least 0.1: inside the central 90 % of the replicas",
    BORDERLINE: "the 95 % interval of p holds a limit: more replicas would decide",
    "unusual": "p from 0.002 to 0.1: outside the central 90 %, inside 99.8 %",
    "outside": "p below 0.002: outside 99.8 % of the replicas",
    "not checkable": "nothing here to compare with",
}


def quantiles(
    values: np.ndarray, shares: Sequence[float] = tuple(QUANTILES.values()), axis: int = -1
) -> np.ndarray:
    """Values at or below which these shares of the replicas lie: (shares, ...), without ``axis``.

    Each is one of the values: the inverse of the empirical distribution function, Hyndman and Fan
    (1996), Am. Stat. 50, definition 1. What is not finite has diverged and lies above every other.
    """
    return np.quantile(_above_all(values), shares, axis=axis, method="inverted_cdf")


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the median over replicas (R,): the percentile bootstrap, Efron (1979), Ann.
    Stat. 7, in its limit of many draws, where the median of a draw is at most the k-th value if
    Binomial(R, k / R) reaches R / 2. A diverged replica lies above every other."""
    from scipy.stats import binom

    x, n = np.sort(_above_all(values)), len(values)
    at_most = binom.sf((n - 1) // 2, n, np.arange(1, n + 1) / n)
    low, high = (int(np.searchsorted(at_most, level)) for level in (0.025, 0.975))
    return float(x[low]), float(x[min(high, n - 1)])


@dataclass(frozen=True)
class P:
    """A two-sided Monte Carlo p-value: its 95 % interval, and the smallest that this many replicas
    can give. beyond: no replica is as extreme."""

    p: float
    p_low: float
    p_high: float
    p_smallest: float
    beyond: bool

    @property
    def verdict(self) -> str:
        """A word of MEANINGS: borderline where the interval holds a limit between two verdicts."""
        low, high = verdict(self.p_low), verdict(self.p_high)
        return low if low == high else BORDERLINE

    @property
    def between(self) -> str:
        """The verdicts that a borderline one lies between; otherwise empty."""
        verdicts = list(dict.fromkeys(map(verdict, (self.p_low, self.p, self.p_high))))
        return "" if self.verdict != BORDERLINE else f"{verdicts[0]} and {verdicts[-1]}"


def verdict(p: float) -> str:
    """typical: inside the central 90 %; unusual: inside 99.8 %; else outside."""
    return "typical" if p >= TYPICAL else "unusual" if p >= UNUSUAL else "outside"


def two_sided(tail: int, n: int, sides: int = 2) -> P:
    """``tail`` of n replicas are at least as extreme on the nearer side (sides=1: altogether).

    p = sides (1 + tail) / (n + 1): Davison and Hinkley (1997), Bootstrap Methods and their
    Application, section 4.2; never 0. Its interval is that of the share tail / n.
    """
    _, low, high = share(tail, n)
    smallest = sides / (n + 1)
    p = min(1.0, sides * (1 + tail) / (n + 1))
    return P(p, min(p, sides * low), min(1.0, max(p, sides * high)), smallest, tail == 0)


@dataclass(frozen=True)
class Position:
    """Where a value lies among replicas. percentile: share of replicas below it (ties count half),
    with its 95 % interval; ratio: the value over the median."""

    percentile: float
    low: float
    high: float
    median: float
    p5: float
    p95: float
    ratio: float
    replicas: int


def position(value: float, replicas: np.ndarray) -> tuple[Position, P]:
    """replicas (R,); one that is not finite has diverged and lies above every value."""
    x = _above_all(replicas)
    below, above, n = int((x < value).sum()), int((x > value).sum()), len(x)
    ties = n - below - above
    low, high = share(below + ties // 2, n)[1:]
    p5, median, p95 = quantiles(x).tolist()
    ratio = value / median if median else float("nan")
    place = Position((below + ties / 2) / n, low, high, median, p5, p95, ratio, n)
    return place, two_sided(int(_tails(np.array([value]), x)[0]), n)


def p_values(values: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """The p of :func:`position` of several values (V,): (V,)."""
    tails = _tails(_above_all(values), _above_all(replicas))
    return np.minimum(1, 2 * (1 + tails) / (len(replicas) + 1))


def _tails(values: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """How many replicas (R,) are at least as extreme as each value, on its nearer side: (V,)."""
    ordered = np.sort(replicas)
    at_most = np.searchsorted(ordered, values, side="right")
    at_least = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.minimum(at_most, at_least)


def share(holds: int, n: int) -> tuple[float, float, float]:
    """A share of seeds with its 95 % interval: Wilson (1927), J. Am. Stat. Assoc. 22, through
    scipy."""
    from scipy.stats import binomtest

    interval = binomtest(holds, n).proportion_ci(0.95, method="wilson")
    return holds / n, float(interval.low), float(interval.high)


def trace_test(published: np.ndarray, replicas: np.ndarray) -> P:
    """One p-value for a whole trace: published (S,), replicas (R, S). See :func:`trace_tails`."""
    tail = int(trace_tails(published[None], replicas)[0])
    return two_sided(tail, len(replicas), sides=1)


def trace_tails(published: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """How many replicas (R, S) are at least as extreme as each trace (T, S) as a whole: (T,).

    Extreme rank length test (Myllymaki, Mrkvicka, Grabarnik, Seijo and Hahn 2017, J. R. Stat. Soc.
    B 79, section 4): the trace and the replicas get their two-sided ranks at the S steps among
    these R + 1, sorted from the most extreme, and are compared in lexicographic order. With
    p = (1 + tail) / (R + 1) and exchangeable traces P(p <= a) <= a.
    """
    base, traces = _above_all(replicas), _above_all(published)
    below, above = _ranks_below(base), _ranks_below(-base)
    tails = []
    for trace in traces:
        own = np.minimum((base < trace).sum(axis=0), (base > trace).sum(axis=0))
        others = np.minimum(below + (trace < base), above + (trace > base))
        own, others = np.sort(own), np.sort(others, axis=1)
        differs = others != own
        first = differs.argmax(axis=1)  # 0 where none differs: as extreme, too
        at_first = np.take_along_axis(others, first[:, None], axis=1)[:, 0]
        tails.append(int((at_first <= own[first]).sum()))
    return np.array(tails)


def _ranks_below(traces: np.ndarray) -> np.ndarray:
    """At each step, how many traces lie strictly below each: (T, S) -> (T, S)."""
    columns = [np.searchsorted(np.sort(column), column, side="left") for column in traces.T]
    return np.stack(columns, axis=1)


def adjusted(tests: Sequence[P]) -> list[P]:
    """p of several traces and the ends of its interval, adjusted to control the false discovery
    rate under any dependence: Benjamini and Yekutieli (2001), Ann. Stat. 29, through scipy. Traces
    on the same data are not independent."""
    from scipy.stats import false_discovery_control

    every = np.array([(t.p, t.p_low, t.p_high, t.p_smallest) for t in tests]).reshape(-1, 4)
    corrected = false_discovery_control(every, method="by", axis=0).tolist()
    pairs = zip(corrected, tests, strict=True)
    return [P(p, low, high, least, test.beyond) for (p, low, high, least), test in pairs]


def _above_all(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)
