"""The experiments and classes of docs/model.md train as they stand there."""

import re

import numpy as np
import pytest
from conftest import ROOT

from mlpfit import load_run
from mlpfit.config.compose import compose
from mlpfit.training.train import train

FENCE = re.compile(r"```\w+\n((?:# @package _global_\n)?# own/(\S+).*?)```", re.S)


@pytest.mark.parametrize("name", ["said", "own"])
def test_an_experiment_of_the_page_trains(own, tmp_path, monkeypatch, name):
    page = (ROOT / "docs/model.md").read_text("utf-8").replace("ramp", "own")
    page = page.replace("override /target: own", "override /target: ramp")
    for text, file in FENCE.findall(page):
        path = tmp_path / "users/own" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for file in ("targets.py", "conf/target/ramp.yaml"):
        path = tmp_path / "users/own" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((type(tmp_path)(own) / file).read_text())
    monkeypatch.setenv("MLPFIT_PATH", str(tmp_path / "users/own"))
    config = compose([f"output_dir={tmp_path}/outputs", f"experiment=own/{name}", "logger=none"])
    train(config)
    run = load_run(config.folder)
    losses = run.history["loss"][:, 0]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert len(run.predict([[0.5]])) == 1
