"""Training from Python."""

from pathlib import Path

import numpy as np
import pytest
from conftest import run

import mlpfit
from mlpfit.config.compose import compose
from mlpfit.training.train import train

SHORT = {"trainer": {"max_steps": 30}, "model": {"hidden": "4-3"}}


def test_fit_returns_the_run_that_the_command_trains(tmp_path, quick):
    found = mlpfit.fit(
        experiment="tower/small", replicas=3, optimizer={"lr": 0.05}, output_dir=tmp_path, **SHORT
    )
    config = quick(
        "experiment=tower/small",
        "replicas=3",
        "optimizer.lr=0.05",
        "trainer.max_steps=30",
        "model.hidden=4-3",
    )
    train(config)
    np.testing.assert_array_equal(
        found.history["loss"], mlpfit.load_run(config.folder).history["loss"]
    )
    marker = found.path / "complete.json"
    before = marker.stat().st_mtime_ns
    again = mlpfit.fit(
        experiment="tower/small", replicas=3, optimizer={"lr": 0.05}, output_dir=tmp_path, **SHORT
    )
    assert again.path == found.path and marker.stat().st_mtime_ns == before


def test_fit_finds_the_run_that_a_command_has_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose(["experiment=tower/small", "replicas=2", "trainer.max_steps=20"])
    train(config)
    short = {"replicas": 2, "trainer": {"max_steps": 20}}
    assert mlpfit.fit("tower/small", **short).path == config.folder
    elsewhere = mlpfit.fit("tower/small", **short, output_dir=tmp_path / "mine")
    assert elsewhere.path.is_relative_to(tmp_path / "mine")
    other = mlpfit.fit("tower/small", **short | {"replicas": 3})
    assert other.path.parts[:2] == ("outputs", "fits") and other.replicas == 3


def test_fit_takes_other_choices_and_lists(tmp_path):
    found = mlpfit.fit(
        "tower/small",
        optimizer="sgd",
        scheduler=None,
        callbacks=None,
        logger=None,
        seeds=[4, 2],
        output_dir=tmp_path,
        target={"noise": np.float64(0.1)},
        **SHORT,
    )
    assert (
        found.config["optimizer"]["name"] == "sgd"
        and found.seeds == [4, 2]
        and found.config["target"]["noise"] == 0.1
    )


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"optimizer": {"lr": -1}}, "optimizer.lr=-1: must be greater than 0"),
        ({"typo": 1}, "typo"),
        ({"optimizer": None}, "(optimizer=null)"),
        ({"trainer": None}, "trainer: takes a name of conf/trainer, or a dict"),
        ({"experiment": 3}, "(experiment=3)"),
        ({"optimizer": {"name": "sgdd"}}, "did you mean sgd?"),
        ({"callbacks": ["learning_rate"]}, "callbacks: takes a name of conf/callbacks, or a dict"),
        ({"question": "\x1b[31m?"}, "character 1 of 6 is \\x1b"),
        ({"ckpt_path": Path("none.ckpt")}, "ckpt_path=none.ckpt: no checkpoint"),
        ({"model": {"hidden": 8.0}}, "model.hidden=8.0: must be a valid integer or a valid string"),
        ({"output_dir": "/dev/null"}, "/dev/null is not a folder"),
        ({"output_dir": ""}, "output_dir=: must name a folder"),
    ],
)
def test_fit_refuses_in_one_line_and_creates_nothing(settings, words, tmp_path):
    with pytest.raises(mlpfit.ConfigError) as error:
        mlpfit.fit(**{"experiment": "tower/small", "output_dir": tmp_path / "fits", **settings})
    assert words in str(error.value) and str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_script_needs_no_more_than_the_call(tmp_path):
    (tmp_path / "script.py").write_text(
        "import mlpfit\n"
        "run = mlpfit.fit(experiment='parabola/eight_neurons', replicas=4, "
        "trainer={'max_steps': 10})\n"
        "print(run.metrics['mse'].shape)\n"
    )
    done = run("script", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(4,)\n", "")
