"""The kept ledger against the pages and against a recomputation by another path."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from conftest import committed
from scipy.stats import binomtest

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.errors import RunError
from mlpfit.judging import claims, ledger, published, statistics
from mlpfit.judging.ledger import COLUMNS
from mlpfit.judging.statistics import P

LEDGER = json.loads(committed("outputs/ledger.json"))
SEEDS = 500  # of the recomputation


def test_every_published_number_is_in_the_ledger_once_with_a_verdict():
    keys = [n.key for t in tutorials() for n in published.tutorial(t.name).numbers]
    assert [entry["key"] for entry in LEDGER["numbers"]] == keys
    for entry in LEDGER["numbers"]:
        assert entry["verdict"] in LEDGER["legend"] == statistics.MEANINGS
        assert entry["verdict"] not in ("not checkable", "not judged") or entry["reason"]
        assert (entry["verdict"] == "borderline") == bool(entry.get("between"))
    rows = csv.DictReader(committed("outputs/ledger.csv").decode().splitlines())
    assert [row["verdict"] for row in rows] == [e["verdict"] for e in LEDGER["numbers"]]


@pytest.mark.parametrize("content", ["{}", "[", "[]", "[" * 10**5, '{"numbers": [1]}', None])
def test_a_damaged_ledger_is_named(tmp_path, content):
    if content is None:
        os.mkfifo(tmp_path / "ledger.json")
    else:
        (tmp_path / "ledger.json").write_text(content)
    with pytest.raises((RunError, OSError)) as error:
        ledger.read(tmp_path, whole=True)
    assert "ledger.json" in str(error.value)


def test_the_ledger_that_is_kept_is_whole(tmp_path):
    (tmp_path / "ledger.json").write_text(json.dumps(LEDGER))
    assert ledger.read(tmp_path, whole=True) == LEDGER


def test_every_claim_and_slip_is_in_the_ledger_and_every_run_has_a_verdict():
    for kind, name in (("conclusions", "CLAIMS"), ("slips", "SLIPS"), ("joint", "JOINT")):
        listed = [c for t in tutorials() for c in claims.entries(t.name, name)]
        assert len(LEDGER[kind]) == len(listed)
    assert [entry["experiment"] for entry in LEDGER["experiments"]] == experiments()
    for entry in LEDGER["conclusions"]:
        assert entry["column"] in COLUMNS
        assert (entry["where"] is None) == (entry["whose"] == "we asked")


def test_no_verdict_turns_into_another_from_one_half_of_the_seeds_to_the_other():
    assert LEDGER["halves"]["flips"] == {}
    assert LEDGER["halves"]["judged"] > 100


def test_a_run_is_judged_by_its_own_p_alone():
    traces = {trace["experiment"]: trace for trace in LEDGER["traces"]}
    numbers = {entry["key"]: entry for entry in LEDGER["numbers"]}
    for entry in LEDGER["experiments"]:
        if "p" not in entry:
            assert entry["verdict"] in ("curve only", "not judged")
            continue
        decisive = traces.get(entry["experiment"], numbers[entry["last"]])
        assert (entry["p"], entry["verdict"]) == (decisive["p"], decisive["verdict"])
        test = P(**{name: entry[name] for name in P.__dataclass_fields__})
        assert (test.verdict, test.between) == (entry["verdict"], entry["between"])


def test_a_trace_that_is_recovered_is_no_test_of_the_recipe():
    apart = [trace for trace in LEDGER["traces"] if not trace["in_family"]]
    assert [trace["experiment"] for trace in apart] == ["gradient/line_autograd"]
    recovered = [entry for entry in LEDGER["numbers"] if entry["recovered"]]
    assert all(
        entry["verdict"] in LEDGER["legend"] and "percentile" in entry for entry in recovered
    )
    family = [trace for trace in LEDGER["traces"] if trace["in_family"]]
    tests = [P(**{name: trace[name] for name in P.__dataclass_fields__}) for trace in family]
    expected = [adjusted.p for adjusted in statistics.adjusted(tests)]
    assert [trace["p_adjusted"] for trace in family] == pytest.approx(expected)


def plane(rng):
    """200 rows of a noisy plane: x (SEEDS, 200, 3), y (SEEDS, 200, 1)."""
    x = rng.standard_normal((SEEDS, 200, 3))
    return x, x @ [[0.2], [-1.3], [-0.5]] + rng.standard_normal((SEEDS, 200, 1))


def sine(rng):
    """20 of 100 rows of a noisy sine: x, y (SEEDS, 20, 1)."""
    grid = np.linspace(-5, 5, 100)
    x = np.stack([rng.choice(grid, 20, replace=False) for _ in range(SEEDS)])[..., None]
    return x, 4 * np.sin(x) + rng.standard_normal(x.shape)


@pytest.mark.parametrize(
    "experiment, rows, hidden, lr, steps",
    [
        pytest.param("plane/sequential", plane, 32, 1e-3, 200, marks=pytest.mark.slow),
        ("gradient/sine_network", sine, 64, 0.1, 100),
    ],
)
def test_percentiles_agree_with_other_code_on_other_data(experiment, rows, hidden, lr, steps):
    """Five hundred seeds of a generator of their own; data, net and Adam written out here."""
    x, y = (torch.from_numpy(v).float() for v in rows(np.random.default_rng(99)))
    generator = torch.Generator().manual_seed(99)
    shapes = (
        (x.shape[2], hidden, x.shape[2]),
        (1, hidden, x.shape[2]),
        (hidden, 1, hidden),
        (1, 1, hidden),
    )
    weights = [
        torch.empty(SEEDS, *shape).uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
        for *shape, fan_in in shapes
    ]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for step in range(1, steps + 1):
        leaves = [w.detach().requires_grad_() for w in weights]
        hidden_units = (x @ leaves[0] + leaves[1]).clamp(min=0)
        mse = ((hidden_units @ leaves[2] + leaves[3] - y) ** 2).mean(dim=(1, 2))
        for w, m, v, g in zip(
            weights, first, second, torch.autograd.grad(mse.sum(), leaves), strict=True
        ):
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            scale = (v / (1 - 0.999**step)).sqrt() + 1e-8
            w.sub_(lr * m / (1 - 0.9**step) / scale)
    mse = mse.detach().numpy()
    entry = next(e for e in LEDGER["numbers"] if e["key"] == f"{experiment}:mse@{steps}")
    for value, share in (
        (entry["published"], entry["percentile"]),
        *((entry[name], share) for name, share in statistics.QUANTILES.items()),
    ):
        expected = min(max(share, 1e-3), 1 - 1e-3)
        assert binomtest(int((mse < value).sum()), SEEDS, expected).pvalue > 1e-3
