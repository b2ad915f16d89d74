"""The pages in examples/, trained small: as tutorials of a user's own they are complete, and where
a page's random numbers are known they give its printed numbers again."""

import os

import numpy as np
import pytest
from conftest import ROOT, run

import mlpfit
from mlpfit.config.compose import as_published
from mlpfit.judging import published
from mlpfit.judging.variants import check_tutorial

FOLDERS = sorted(folder.parent for folder in (ROOT / "examples").glob("*/conf"))
NAMES = [folder.name for folder in FOLDERS]


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", os.pathsep.join(map(str, FOLDERS)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of an experiment, trained once for all tests."""
    runs = {}

    def fit(name, **settings):
        if name not in runs:
            folder = tmp_path_factory.mktemp("fits")
            runs[name] = mlpfit.fit(name, output_dir=str(folder), logger="none", **settings)
        return runs[name]

    return fit


@pytest.mark.parametrize("name", NAMES)
def test_its_files_fit_together_and_an_ensemble_would_record_what_is_judged(name):
    check_tutorial(name)
    for experiment in {number.experiment for number in published.tutorial(name).numbers}:
        published.check_recorded(as_published(experiment))


def test_exclusive_or_gives_every_number_of_the_page_again(trained):
    run = trained("xor_net/four_units")
    numbers = published.checkable(run.config["name"])
    assert len(numbers) == 25
    for number, ours in zip(numbers, published.values_of(run, numbers)[0], strict=True):
        digits = {0.000775122615185277: 16, 0.02: 3, 0.974: 3, 0.97: 3, 0.034: 3}
        assert round(ours, digits.get(number.value, 5)) == pytest.approx(number.value, abs=1e-15)


def test_the_linear_classifier_ends_where_that_of_the_page_does(trained):
    """Descent forgets where it began: the last losses are of the rows alone."""
    run = trained("spiral/softmax")
    *_, last, accuracy = numbers = published.checkable(run.config["name"])
    values = published.values_of(run, numbers)[0]
    assert values[-2] == pytest.approx(last.value, abs=2e-6)
    assert round(values[-1], 2) == accuracy.value


def test_weights_decay_and_biases_do_not(trained):
    run = trained("spiral/hundred_units", trainer={"max_steps": 3})
    (before, _), (after, _) = run.parameters(0)[0], run.parameters(1)[0]
    assert run.config["optimizer"]["bias"] == {"weight_decay": 0.0}
    assert np.abs(after - before).max() < 0.01 < np.abs(before).max()


def test_rows_and_epochs_are_those_of_the_page(trained):
    run = trained("sine_model/two_layers", trainer={"max_epochs": 2})
    assert run.data["x"].shape == (1, 600, 1)
    assert run.data["val_x"].shape == run.data["test_x"].shape == (1, 200, 1)
    assert run.provenance["steps"] == 2 * 38
    first, second = (
        published.values_of(run, [number])[0, 0]
        for number in published.checkable("sine_model/two_layers")
        if number.quantity == "mse" and number.epoch in (1, 2)
    )
    losses = run.history["loss"][:, 0]
    rows = np.r_[np.full(37, 16), 8]  # the last batch of 600 rows is shorter
    assert first == pytest.approx((losses[:38] * rows).sum() / 600)
    assert second == pytest.approx((losses[38:] * rows).sum() / 600)


def test_the_commands_of_a_tutorial_work_on_one(tmp_path):
    paths = {"MLPFIT_PATH": str(ROOT / "examples/xor_net")}
    done = run("mlpfit", "ensembles", "xor_net", "replicas=3", cwd=tmp_path, **paths)
    assert done.returncode == 0, done.stderr
    done = run("mlpfit", "ledger", "xor_net", cwd=tmp_path, **paths)
    assert done.returncode == 0 and "xor_net/four_units:mse@20000" in done.stdout, done.stderr
