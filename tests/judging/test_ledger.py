"""The kept ledger against the pages and against a recomputation by another path."""

import csv
import json

import pytest
import torch
from conftest import ROOT
from scipy.stats import binomtest

from mlpfit.config.catalogue import tutorials
from mlpfit.config.compose import compose
from mlpfit.data.datamodule import draw
from mlpfit.judging import claims, published

LEDGER = json.loads((ROOT / "outputs/ledger.json").read_text())


def test_every_published_number_is_in_the_ledger_once_with_a_verdict():
    keys = [n.key for t in tutorials() for n in published.tutorial(t.name).numbers]
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
    for kind, name in (("conclusions", "CLAIMS"), ("slips", "SLIPS")):
        listed = [c for t in tutorials() for c in claims.listed(t.name, name)]
        assert len(LEDGER[kind]) == len(listed)
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
        rows, _ = draw(seed=seed, **config.sampling)
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
