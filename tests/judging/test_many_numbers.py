"""Pages with many numbers: judged together as each alone, with work that grows as they do."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlpfit.judging import ledger, published, statistics
from mlpfit.judging.positions import positions


def test_values_judged_together_are_judged_as_alone():
    rng = np.random.default_rng(0)
    replicas = rng.integers(0, 9, (201, 40)).astype(float)  # many ties
    replicas[rng.random(replicas.shape) < 0.1] = np.nan
    replicas[:, 0] = np.inf  # all have diverged
    values = rng.integers(-1, 10, 40).astype(float)
    columns = zip(values.tolist(), replicas.T, strict=True)
    alone = [statistics.position(value, own) for value, own in columns]
    assert positions(values, replicas) == alone


def calls(function):
    """How many functions are called in this one, Python's and C's."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("entries", [1, None])  # one of all steps, or one for each
def test_the_work_grows_in_proportion_to_the_numbers(entries, own, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    experiment = Path(own) / "conf/experiment/own/ramp.yaml"
    experiment.write_text(experiment.read_text().replace("max_steps: 20", "max_steps: 2000"))
    work = {}
    for size in (100, 250, 500, 1000):  # the first also imports and composes
        steps = list(range(1, size + 1))
        groups = [steps] if entries else [[step] for step in steps]
        text = "".join(
            f"  - {{experiment: ramp, quantity: mse, update: before, steps: {group}, "
            f"values: {[0.5] * len(group)}}}\n"
            for group in groups
        )
        (Path(own) / "published.yaml").write_text(f"author: A\ntitle: T\nnumbers:\n{text}")
        published._read.cache_clear()
        published._checkable.cache_clear()
        loss = np.random.default_rng(0).random((size, 7))
        run = SimpleNamespace(
            history={"step": np.arange(1, size + 1), "loss": loss},
            data={"x": np.zeros((7, 20, 1))},
            config={"name": "own/ramp", "loss": "mse", "data": {"batch_size": None}},
            replicas=7,
            seeds=list(range(7)),
            diverged=np.zeros(7, bool),
            identity={"recipe": {}},
        )
        work[size] = calls(lambda run=run: ledger.ledger({"own/ramp": run}, ["own"]))
    first, second = work[500] - work[250], work[1000] - work[500]
    assert second < 2.2 * first, work
