"""Laws of the statistics."""

import numpy as np
import pytest
from scipy.stats import kstest

from mlpfit.judging import statistics


def test_position_of_extremes_and_of_the_middle():
    replicas = np.arange(1.0, 1000.0)
    low, middle, high = (statistics.position(v, replicas) for v in (0.0, 500.0, 2000.0))
    assert low.percentile == 0 and high.percentile == 1 and middle.percentile == 0.5
    assert low.p == high.p == pytest.approx(2 / 1000) and middle.p == 1
    assert low.low == pytest.approx(0, abs=1e-12) and 0 < low.high < 0.005
    assert middle.low < 0.5 < middle.high and middle.median == 500


def test_a_diverged_replica_lies_above_everything():
    assert statistics.position(5.0, np.array([1.0, np.nan, np.inf, 2.0])).percentile == 0.5


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


def test_verdicts_at_their_borders():
    assert [statistics.verdict(p) for p in (1, 0.1, 0.099, 0.002, 0.0019)] == [
        *("typical", "typical", "unusual", "unusual", "outside")
    ]


def test_p_values_are_uniform_when_the_value_is_one_of_the_replicas():
    rng = np.random.default_rng(0)
    single, whole = [], []
    for _ in range(300):
        walks = rng.normal(size=(200, 8)).cumsum(axis=1)
        single.append(statistics.position(walks[0, -1], walks[1:, -1]).p)
        whole.append(statistics.trace_test(walks[0], walks[1:]))
    assert kstest(whole, "uniform").pvalue > 0.01
    assert np.mean(np.array(single) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_a_trace_that_is_odd_nowhere_in_particular_but_everywhere_a_little_is_found():
    rng = np.random.default_rng(1)
    replicas = rng.normal(size=(500, 10)).cumsum(axis=1)
    zigzag = np.array([0.0, 6, -6, 6, -6, 6, -6, 6, -6, 6])
    assert statistics.trace_test(zigzag, replicas) <= 0.02
    assert statistics.trace_test(replicas[0], replicas[1:]) > 0.02


def test_adjusting_makes_no_p_value_smaller():
    p = [0.001, 0.02, 0.3, 0.9]
    assert all(a >= b for a, b in zip(statistics.adjusted(p), p, strict=True))
    assert statistics.adjusted([0.01]) == [0.01]
