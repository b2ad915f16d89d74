"""Training from Python."""

import numpy as np
import pytest
from conftest import run

import mlpfit
from mlpfit.train import train

SHORT = {"trainer": {"max_steps": 30}, "model": {"hidden": "4-3"}}


def test_fit_returns_the_run_that_the_command_trains(tmp_path, quick):
    found = mlpfit.fit(experiment="tower/small", replicas=3, optimizer={"lr": 0.05}, output_dir=tmp_path, **SHORT)
    config = quick(
        "experiment=tower/small", "replicas=3", "optimizer.lr=0.05", "trainer.max_steps=30", "model.hidden=4-3"
    )
    train(config)
    np.testing.assert_array_equal(found.history["loss"], mlpfit.load_run(config.run_dir).history["loss"])
    marker = found.path / "complete.json"
    before = marker.stat().st_mtime_ns
    again = mlpfit.fit(experiment="tower/small", replicas=3, optimizer={"lr": 0.05}, output_dir=tmp_path, **SHORT)
    assert again.path == found.path and marker.stat().st_mtime_ns == before


def test_fit_takes_other_choices_lists_and_refuses_in_one_line(tmp_path):
    found = mlpfit.fit(
        "tower/small", optimizer="sgd", seeds=[4, 2], output_dir=tmp_path, target={"noise": np.float64(0.1)}, **SHORT
    )
    assert (
        found.config["optimizer"]["name"] == "sgd" and found.seeds == [4, 2] and found.config["target"]["noise"] == 0.1
    )
    with pytest.raises(mlpfit.ConfigError, match=r"optimizer.lr=-1: must be above 0"):
        mlpfit.fit("tower/small", optimizer={"lr": -1}, output_dir=tmp_path)
    with pytest.raises(mlpfit.ConfigError, match="typo: no such key"):
        mlpfit.fit("tower/small", typo=1, output_dir=tmp_path)


def test_a_script_needs_no_more_than_the_call(tmp_path):
    (tmp_path / "script.py").write_text(
        "import mlpfit\n"
        "run = mlpfit.fit(experiment='parabola/eight_neurons', replicas=4, trainer={'max_steps': 10})\n"
        "print(run.metrics['mse'].shape)\n"
    )
    done = run("script", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(4,)\n", "")
