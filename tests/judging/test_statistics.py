"""Laws of the statistics."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from mlpfit.judging import statistics
from mlpfit.judging.statistics import P


def test_position_of_extremes_and_of_the_middle():
    replicas = np.arange(1.0, 1000.0)
    (low, p_low), (middle, p), (high, p_high) = (
        statistics.position(v, replicas) for v in (0.0, 500.0, 2000.0)
    )
    assert low.percentile == 0 and high.percentile == 1 and middle.percentile == 0.5
    assert p_low.p == p_high.p == p_low.p_smallest == pytest.approx(2 / 1000) and p.p == 1
    assert p_low.beyond and p_high.beyond and not p.beyond
    assert low.low == pytest.approx(0, abs=1e-12) and 0 < low.high < 0.005
    assert middle.low < 0.5 < middle.high and middle.median == 500 and middle.ratio == 1


def test_a_diverged_replica_lies_above_everything():
    place, _ = statistics.position(5.0, np.array([1.0, np.nan, np.inf, 2.0]))
    assert place.percentile == 0.5


@pytest.mark.parametrize("n", [1, 2, 19, 20, 1000])
def test_a_quantile_is_the_smallest_replica_that_enough_do_not_exceed(n):
    values = np.random.default_rng(n).normal(size=(3, n))
    points = statistics.quantiles(values)
    assert points.shape == (3, 3)
    for point, share in zip(points, (0.05, 0.5, 0.95), strict=True):
        for row, value in zip(values, point, strict=True):
            assert value == min(v for v in row if (row <= v).mean() >= share - 1e-12)


def test_a_diverged_replica_lies_above_every_quantile_of_the_others():
    lost = np.array([1.0, np.nan, 3.0, np.inf])
    assert statistics.quantiles(lost, (0.25, 0.5, 0.75)).tolist() == [1, 3, np.inf]


@pytest.mark.parametrize("n", [1, 4, 64, 501])
def test_the_interval_of_the_median_is_that_of_many_bootstrap_draws(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    draws = np.sort(rng.choice(values, (20_000, n)), axis=1)[:, (n - 1) // 2]
    low, high = statistics.median_interval(values)
    assert (draws < low).mean() <= 0.03 and (draws <= low).mean() >= 0.02
    assert (draws > high).mean() <= 0.03 and (draws >= high).mean() >= 0.02


@pytest.mark.parametrize("n", [1, 2, 7, 64, 501, 20_000])
def test_the_interval_of_the_median_ends_where_its_distribution_reaches_the_levels(n):
    low, high = statistics.median_interval(np.arange(1.0, n + 1))
    reached = binom.sf((n - 1) // 2, n, np.arange(n + 1) / n)  # by the k-th value
    assert reached[int(low) - 1] < 0.025 <= reached[int(low)]
    assert reached[int(high) - 1] < 0.975 <= reached[int(high)]


def test_the_interval_of_a_median_that_may_have_diverged_is_open():
    low, high = statistics.median_interval(np.array([1.0, 2.0, 3.0, np.nan, np.inf]))
    assert low == 1 and high == np.inf


def test_verdicts_at_their_borders():
    assert [statistics.verdict(p) for p in (1, 0.1, 0.099, 0.002, 0.0019)] == [
        "typical",
        "typical",
        "unusual",
        "unusual",
        "outside",
    ]


@pytest.mark.parametrize(
    "tail, n, verdict, between",
    [
        (500, 1000, "typical", ""),
        (50, 1000, "borderline", "unusual and typical"),  # p = 0.1: the interval holds the limit
        (25, 1000, "unusual", ""),
        (0, 1000, "borderline", "outside and unusual"),
        (0, 300, "borderline", "outside and unusual"),  # an absurd value among few replicas
        (0, 20_000, "outside", ""),
        (20, 20_000, "borderline", "outside and unusual"),
        (900, 20_000, "unusual", ""),
    ],
)
def test_a_verdict_is_borderline_where_the_interval_of_p_holds_a_limit(tail, n, verdict, between):
    p = statistics.monte_carlo_p(tail, n)
    assert (p.verdict, p.between) == (verdict, between)
    assert p.p_low <= p.p <= p.p_high and p.p >= p.p_smallest


def test_no_clear_verdict_turns_into_another_with_other_replicas():
    """Whatever the true share: two halves disagree only to or from borderline, in nearly all
    ensembles."""
    rng = np.random.default_rng(0)
    for share in np.geomspace(1e-4, 0.4, 12):
        tails = binom.rvs(10_000, share, size=(200, 2), random_state=rng)
        pairs = [[statistics.monte_carlo_p(int(tail), 10_000).verdict for tail in t] for t in tails]
        clear = [pair for pair in pairs if pair[0] != pair[1] and "borderline" not in pair]
        assert len(clear) <= 2


def test_p_values_are_uniform_when_the_value_is_one_of_the_replicas():
    rng = np.random.default_rng(0)
    single, whole = [], []
    for _ in range(300):
        walks = rng.normal(size=(200, 8)).cumsum(axis=1)
        single.append(statistics.position(walks[0, -1], walks[1:, -1])[1].p)
        whole.append(statistics.trace_test(walks[0], walks[1:]).p)
    assert kstest(whole, "uniform").pvalue > 0.01
    assert np.mean(np.array(single) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_p_values_of_many_are_those_of_each():
    rng = np.random.default_rng(2)
    replicas, values = (
        rng.integers(0, 20, 100).astype(float),
        rng.integers(-3, 23, 30).astype(float),
    )
    replicas[:3] = np.inf, np.nan, np.inf
    expected = [statistics.position(value, replicas)[1].p for value in values]
    np.testing.assert_allclose(statistics.p_values(values, replicas), expected)


def test_the_trace_test_is_the_order_of_sorted_two_sided_ranks():
    """Against the definition written out: ranks of the trace and the replicas together."""
    rng = np.random.default_rng(3)
    replicas = rng.integers(0, 9, (60, 5)).astype(float)  # with ties
    for trace in rng.integers(-1, 10, (20, 5)).astype(float):
        together = np.vstack([trace, replicas])
        ranks = [
            sorted(min((together[:, j] < row[j]).sum(), (together[:, j] > row[j]).sum())
                   for j in range(5))
            for row in together
        ]  # fmt: skip
        as_extreme = sum(rank <= ranks[0] for rank in ranks)
        assert statistics.trace_test(trace, replicas).p == pytest.approx(as_extreme / 61)


def test_a_trace_that_is_odd_nowhere_in_particular_but_everywhere_a_little_is_found():
    rng = np.random.default_rng(1)
    replicas = rng.normal(size=(500, 10)).cumsum(axis=1)
    zigzag = np.array([0.0, 6, -6, 6, -6, 6, -6, 6, -6, 6])
    assert statistics.trace_test(zigzag, replicas).p <= 0.02
    assert statistics.trace_test(replicas[0], replicas[1:]).p > 0.02


def test_adjusting_makes_no_p_value_smaller():
    tests = [P(p, p / 2, min(1, 2 * p), p / 4, beyond=False) for p in (0.001, 0.02, 0.3, 0.9)]
    for before, after in zip(tests, statistics.adjusted(tests), strict=True):
        for name in ("p", "p_low", "p_high", "p_smallest"):
            assert getattr(after, name) >= getattr(before, name)
    assert statistics.adjusted(tests[:1]) == tests[:1] and statistics.adjusted([]) == []


def test_replicas_around_zero_have_a_place_and_no_ratio():
    place, p = statistics.position(0.5, np.array([-1.0, 0.0, 1.0]))
    assert place.ratio is None and place.percentile == 2 / 3 and p.verdict == "typical"
