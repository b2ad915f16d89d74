"""The statistics of the ledger: pure functions of arrays. The unit of replication is the seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Functions import scipy themselves: figures need the quantiles alone, and start half a second
# sooner without it. scipy.stats takes a second more than scipy.special.

QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
TYPICAL_P, UNUSUAL_P = 0.10, 0.002  # least p of a verdict: inside the central 90 %, inside 99.8 %
BORDERLINE, CURVE_ONLY, NOT_JUDGED = "borderline", "curve only", "not judged"
MEANINGS = {
    "typical": "p at least 0.1: inside the central 90 % of the replicas",
    BORDERLINE: "the 95 % interval of p holds a limit: more replicas would decide",
    "unusual": "p from 0.002 to 0.1: outside the central 90 %, inside 99.8 %",
    "outside": "p below 0.002: outside 99.8 % of the replicas",
    "not checkable": "nothing here to compare with",
    CURVE_ONLY: "the page shows a curve and prints no number of this run",
    NOT_JUDGED: "its replicas are missing, or are of another recipe",
}


def quantiles(
    values: np.ndarray, probabilities: Sequence[float] = tuple(QUANTILES.values()), axis: int = -1
) -> np.ndarray:
    """Quantiles of the replicas along ``axis``: (probabilities, remaining axes).

    Each is one of the values: the inverse of the empirical distribution function, Hyndman and Fan
    (1996), Am. Stat. 50, definition 1. A diverged replica (not finite) ranks above all others.
    """
    return np.quantile(_diverged_as_inf(values), probabilities, axis=axis, method="inverted_cdf")


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the median over replicas (R,): the percentile bootstrap, Efron (1979), Ann.
    Stat. 7, in its limit of many draws, where the median of a draw is at most the k-th value if
    Binomial(R, k / R) reaches R / 2 (scipy's probabilities decide between values, so that their
    last digits do not count). A diverged replica ranks above all others."""
    from scipy.special import bdtrc

    ordered, n = np.sort(_diverged_as_inf(values)), len(values)
    cdf = bdtrc((n - 1) // 2, n, np.arange(1, n + 1) / n)  # of the bootstrapped median
    low, high = (int(np.searchsorted(cdf, level)) for level in (0.025, 0.975))
    return float(ordered[low]), float(ordered[min(high, n - 1)])


@dataclass(frozen=True)
class P:
    """A two-sided Monte Carlo p-value, its 95 % interval, and the smallest p that this many
    replicas can give. beyond: no replica is as extreme."""

    p: float
    p_low: float
    p_high: float
    p_smallest: float
    beyond: bool

    @property
    def verdict(self) -> str:
        """A key of MEANINGS; borderline where the interval contains a limit between verdicts."""
        low, high = verdict(self.p_low), verdict(self.p_high)
        return low if low == high else BORDERLINE

    @property
    def between(self) -> str:
        """The two verdicts that a borderline one lies between; otherwise empty."""
        verdicts = list(dict.fromkeys(map(verdict, (self.p_low, self.p, self.p_high))))
        return "" if self.verdict != BORDERLINE else f"{verdicts[0]} and {verdicts[-1]}"


def verdict(p: float) -> str:
    """typical: inside the central 90 %; unusual: inside 99.8 %; else outside."""
    return "typical" if p >= TYPICAL_P else "unusual" if p >= UNUSUAL_P else "outside"


def monte_carlo_p(tail: int, n: int, sides: int = 2) -> P:
    """``tail`` of n replicas are at least as extreme on the nearer side (sides=1: on either side).

    p = sides (1 + tail) / (n + 1): Davison and Hinkley (1997), Bootstrap Methods and their
    Application, section 4.2; never 0. Its interval is that of the proportion tail / n.
    """
    _, low, high = proportion(tail, n)
    smallest = sides / (n + 1)
    p = min(1.0, sides * (1 + tail) / (n + 1))
    return P(p, min(p, sides * low), min(1.0, max(p, sides * high)), smallest, tail == 0)


@dataclass(frozen=True)
class Position:
    """Where a value lies among the replicas. percentile: share of replicas below it (ties count
    half), low and high its 95 % interval; ratio: the value over the median, None if that is 0."""

    percentile: float
    low: float
    high: float
    median: float
    p5: float
    p95: float
    ratio: float | None
    replicas: int


def position(value: float, replicas: np.ndarray) -> tuple[Position, P]:
    """Position and p of a value among replicas (R,), diverged ones (not finite) above all."""
    values = _diverged_as_inf(replicas)
    below, above, n = int((values < value).sum()), int((values > value).sum()), len(values)
    ties = n - below - above
    low, high = proportion(below + ties // 2, n)[1:]
    p5, median, p95 = quantiles(values).tolist()
    ratio = value / median if median else None
    where = Position((below + ties / 2) / n, low, high, median, p5, p95, ratio, n)
    return where, monte_carlo_p(int(_tail_counts(np.array([value]), values)[0]), n)


def p_values(values: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """The p of :func:`position` for several values (V,): (V,)."""
    tails = _tail_counts(_diverged_as_inf(values), _diverged_as_inf(replicas))
    return np.minimum(1, 2 * (1 + tails) / (len(replicas) + 1))


def _tail_counts(values: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """How many replicas (R,) are at least as extreme as each value, on its nearer side: (V,)."""
    ordered = np.sort(replicas)
    at_most = np.searchsorted(ordered, values, side="right")
    at_least = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.minimum(at_most, at_least)


def proportion(count: int, n: int) -> tuple[float, float, float]:
    """count / n and its 95 % interval: Wilson (1927), J. Am. Stat. Assoc. 22. Written out, so that
    the last digits are the same on every processor."""
    z, share = 1.959963984540054, count / n  # the normal distribution's quantile of 0.975
    center = (2 * count + z * z) / (2 * (n + z * z))
    reach = z / (2 * (n + z * z)) * math.sqrt(4 * count * (1 - share) + z * z)
    low = 0.0 if count == 0 else center - reach
    high = 1.0 if count == n else center + reach
    return share, low, high


def trace_test(published: np.ndarray, replicas: np.ndarray) -> P:
    """One p-value for a whole trace: published (S,), replicas (R, S). See :func:`trace_tails`."""
    tail = int(trace_tails(published[None], replicas)[0])
    return monte_carlo_p(tail, len(replicas), sides=1)


def trace_tails(published: np.ndarray, replicas: np.ndarray) -> np.ndarray:
    """How many replicas (R, S) are at least as extreme as each trace (T, S) as a whole: (T,).

    Extreme rank length test (Myllymaki, Mrkvicka, Grabarnik, Seijo and Hahn 2017, J. R. Stat. Soc.
    B 79, section 4): the trace and the replicas get their two-sided ranks at the S steps among
    these R + 1, sorted from the most extreme, and are compared in lexicographic order. With
    p = (1 + tail) / (R + 1) and exchangeable traces P(p <= a) <= a.
    """
    base, traces = _diverged_as_inf(replicas), _diverged_as_inf(published)
    below, above = _counts_below(base), _counts_below(-base)
    tails = []
    for trace in traces:
        ranks = np.sort(np.minimum((base < trace).sum(axis=0), (base > trace).sum(axis=0)))
        base_ranks = np.minimum(below + (trace < base), above + (trace > base))
        base_ranks = np.sort(base_ranks, axis=1)
        first = (base_ranks != ranks).argmax(axis=1)  # step that differs; 0 for a tie
        at_first = np.take_along_axis(base_ranks, first[:, None], axis=1)[:, 0]
        tails.append(int((at_first <= ranks[first]).sum()))
    return np.array(tails)


def _counts_below(traces: np.ndarray) -> np.ndarray:
    """At each step, how many traces lie strictly below each: (T, S) -> (T, S)."""
    columns = [np.searchsorted(np.sort(column), column, side="left") for column in traces.T]
    return np.stack(columns, axis=1)


def adjusted(tests: Sequence[P]) -> list[P]:
    """The tests of several traces with p, its interval and the smallest p adjusted to control the
    false discovery rate under any dependence (traces on the same data are not independent):
    Benjamini and Yekutieli (2001), Ann. Stat. 29, through scipy."""
    from scipy.stats import false_discovery_control

    numbers = np.array([(t.p, t.p_low, t.p_high, t.p_smallest) for t in tests]).reshape(-1, 4)
    corrected = false_discovery_control(numbers, method="by", axis=0).tolist()
    pairs = zip(corrected, tests, strict=True)
    return [P(p, low, high, least, test.beyond) for (p, low, high, least), test in pairs]


def _diverged_as_inf(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)
