"""Laws of the statistics, and the ledger against a recomputation by another path."""

import csv
import json

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.stats import binomtest, kstest

from mlpfit.config.catalogue import tutorials
from mlpfit.config.compose import compose
from mlpfit.data.datamodule import draw
from mlpfit.judging import published
from mlpfit.judging import statistics as evidence
from mlpfit.judging.conclusions import CONCLUSIONS

LEDGER = json.loads((ROOT / "outputs/ledger.json").read_text())


def test_position_of_extremes_and_of_the_middle():
    replicas = np.arange(1.0, 1000.0)
    low, middle, high = (evidence.position(v, replicas) for v in (0.0, 500.0, 2000.0))
    assert low.percentile == 0 and high.percentile == 1 and middle.percentile == 0.5
    assert low.p == high.p == pytest.approx(2 / 1000) and middle.p == 1
    assert low.low == pytest.approx(0, abs=1e-12) and 0 < low.high < 0.005
    assert middle.low < 0.5 < middle.high and middle.median == 500


def test_a_diverged_replica_lies_above_everything():
    assert evidence.position(5.0, np.array([1.0, np.nan, np.inf, 2.0])).percentile == 0.5


@pytest.mark.parametrize("n", [1, 2, 19, 20, 1000])
def test_a_quantile_is_the_smallest_replica_that_enough_do_not_exceed(n):
    values = np.random.default_rng(n).normal(size=(3, n))
    points = evidence.quantiles(values)
    assert points.shape == (3, 3)
    for point, share in zip(points, (0.05, 0.5, 0.95), strict=True):
        for row, value in zip(values, point, strict=True):
            assert value == min(v for v in row if (row <= v).mean() >= share - 1e-12)


def test_a_diverged_replica_lies_above_every_quantile_of_the_others():
    lost = np.array([1.0, np.nan, 3.0, np.inf])
    assert evidence.quantiles(lost, (0.25, 0.5, 0.75)).tolist() == [1, 3, np.inf]


def test_verdicts_at_their_borders():
    assert [evidence.verdict(p) for p in (1, 0.1, 0.099, 0.002, 0.0019)] == [
        *("typical", "typical", "unusual", "unusual", "outside")
    ]


def test_p_values_are_uniform_when_the_value_is_one_of_the_replicas():
    rng = np.random.default_rng(0)
    single, whole = [], []
    for _ in range(300):
        walks = rng.normal(size=(200, 8)).cumsum(axis=1)
        single.append(evidence.position(walks[0, -1], walks[1:, -1]).p)
        whole.append(evidence.trace_test(walks[0], walks[1:]))
    assert kstest(whole, "uniform").pvalue > 0.01
    assert np.mean(np.array(single) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_a_trace_that_is_odd_nowhere_in_particular_but_everywhere_a_little_is_found():
    rng = np.random.default_rng(1)
    replicas = rng.normal(size=(500, 10)).cumsum(axis=1)
    zigzag = np.array([0.0, 6, -6, 6, -6, 6, -6, 6, -6, 6])
    assert evidence.trace_test(zigzag, replicas) <= 0.02
    assert evidence.trace_test(replicas[0], replicas[1:]) > 0.02


def test_adjusting_makes_no_p_value_smaller():
    p = [0.001, 0.02, 0.3, 0.9]
    assert all(a >= b for a, b in zip(evidence.adjusted(p), p, strict=True))
    assert evidence.adjusted([0.01]) == [0.01]


def test_a_known_descent_is_recovered_from_its_printed_losses():
    rng = np.random.default_rng(3)
    x = rng.normal(size=50)
    y = 2 * x + rng.normal(size=50)
    x, y = ((v - v.mean()) / v.std(ddof=1) for v in (x, y))
    slope, intercept, losses = -0.3, 0.7, []
    for _ in range(200):
        error = slope * x + intercept - y
        losses.append(float(f"{(error**2).sum():.7g}"))
        slope, intercept = slope - 1e-4 * 2 * (error @ x), intercept - 1e-4 * 2 * error.sum()
    steps = np.arange(10, 201, 10)
    found = evidence.recover_line(steps, np.array(losses)[steps - 1], rows=50, lr=1e-4)
    r = np.corrcoef(x, y)[0, 1]
    assert found.residual < 1e-6
    assert found.r2 == pytest.approx(r**2, abs=1e-4) and found.slope == pytest.approx(r, abs=1e-4)
    assert found.slope0 == pytest.approx(-0.3, abs=0.02) and found.intercept0 == pytest.approx(
        0.7, abs=0.02
    )


def test_every_published_number_is_in_the_ledger_once_with_a_verdict():
    keys = [n.key for name in tutorials() for n in published.tutorial(name).numbers]
    assert [entry["key"] for entry in LEDGER["numbers"]] == keys
    for entry in LEDGER["numbers"]:
        assert entry["verdict"] in (
            "exact",
            "recovered",
            "typical",
            "unusual",
            "outside",
            "not checkable",
        )
        assert entry["verdict"] != "not checkable" or entry["reason"]
    assert len(LEDGER["conclusions"]) == len(CONCLUSIONS)
    with (ROOT / "outputs/ledger.csv").open() as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [
            e["verdict"] for e in LEDGER["numbers"]
        ]


@pytest.mark.parametrize("name, steps", [("plane/sequential", 200), ("gradient/sine_network", 100)])
def test_percentiles_agree_with_a_plain_loop_over_other_seeds(name, steps):
    """Layers, optimiser and loop from torch, fifty seeds beyond those of the ledger."""
    config = compose([f"experiment={name}"])
    number = next(n for n in reversed(published.tutorial(name.split("/")[0]).numbers)
                  if n.experiment == name and n.quantity == "mse")  # fmt: skip
    entry = next(e for e in LEDGER["numbers"] if e["key"] == number.key)
    below = below_median = 0
    for seed in range(5000, 5050):
        rows, _ = draw(config, seed)
        x, y = (torch.from_numpy(v).float() for v in (rows.x, rows.y))
        torch.manual_seed(seed)
        hidden = config.units[1]
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=config.plain()["optimizer"]["lr"])
        for _ in range(steps):
            loss = torch.nn.functional.mse_loss(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        below += loss.item() < number.value
        below_median += loss.item() < entry["median"]
    assert binomtest(below, 50, min(max(entry["percentile"], 1e-3), 1 - 1e-3)).pvalue > 1e-3
    assert binomtest(below_median, 50, 0.5).pvalue > 1e-3
