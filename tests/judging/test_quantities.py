"""Quantities of a page beside its losses: built in, of the tutorial's own, by step and by epoch."""

import numpy as np
import pytest

from mlpfit.errors import ConfigError, RunError
from mlpfit.judging import ledger, published, quantities
from mlpfit.judging.published import Number
from mlpfit.runs.run import load_run
from mlpfit.training.train import train

HEAD = "author: A\ntitle: T\nnumbers:\n"
RAMP = "  - {experiment: ramp, quantity: "


@pytest.fixture
def page(own, monkeypatch):
    """Writes published.yaml, and perhaps quantities.py, of a tutorial of the user's."""
    from pathlib import Path

    monkeypatch.setenv("MLPFIT_PATH", own)

    def write(*numbers: str, functions: str = "") -> None:
        lines = [f"{RAMP}{number}}}\n" for number in numbers]
        (Path(own) / "published.yaml").write_text(HEAD + "".join(lines))
        if functions:
            (Path(own) / "quantities.py").write_text(functions)

    return write


@pytest.fixture
def trained(quick):
    """An ensemble of the user's experiment."""

    def give(*overrides: str):
        config = quick("experiment=own/ramp", "replicas=5", *overrides)
        train(config)
        return load_run(config.folder)

    return give


def number(quantity, update="after", step=None, **fields):
    return Number("own/ramp", quantity, update, "", step, 1.0, **fields)


def test_measures_of_the_last_weights_are_those_of_the_predictions(page, trained):
    page("mse, update: after, steps: [20], values: [1.0]")
    run = trained()
    y = run.data["y"][..., 0]
    error = run.predict(run.data["x"])[..., 0] - y
    expected = {
        "mae": np.abs(error).mean(axis=1),
        "rmse": np.sqrt((error**2).mean(axis=1)),
        "r2": 1 - (error**2).sum(axis=1) / ((y.T - y.mean(axis=1)) ** 2).sum(axis=0),
        "loss": (error**2).mean(axis=1),
        "val_rmse": np.sqrt(run.metrics["val_mse"]),
    }
    for quantity, values in expected.items():
        np.testing.assert_allclose(published.values_in(run, number(quantity)), values, rtol=1e-5)


def test_rows_of_validation_are_judged_and_what_a_run_can_not_have_is_refused(page, trained):
    page("mse, update: after, steps: [20], values: [1.0]")
    run = trained()
    for quantity in ("val_mae", "test_rmse"):
        values = published.values_in(run, number(quantity))
        np.testing.assert_array_equal(values, run.evaluated(quantity))
    with pytest.raises(RunError, match=r"own/ramp:accuracy: .* has no classes"):
        published.values_in(run, number("accuracy"))


def test_full_batches_know_every_measure_before_a_step_from_the_weights_kept(page, trained):
    page("mse, update: after, steps: [20], values: [1.0]")
    run = trained("recording.weights_after=[6,7]")
    for quantity in ("mse", "sse", "rmse"):  # before step 8 is after step 7
        before = published.values_in(run, number(quantity, "before", 8))
        after = published.values_in(run, number(quantity, "after", 7, along=True))
        np.testing.assert_allclose(before, after, rtol=1e-5)
    mae = published.values_in(run, number("mae", "before", 8))
    errors = run.predict(run.data["x"], step=7) - run.data["y"]
    np.testing.assert_allclose(mae, np.abs(errors).mean(axis=(1, 2)), rtol=1e-6)
    with pytest.raises(RunError, match=r"mae@9: .* not kept .* recording.weights_after=\[8\]"):
        published.values_in(run, number("mae", "before", 9))


def test_a_mean_over_an_epoch_is_of_its_steps_or_of_their_rows(page, trained):
    """20 rows in batches of 8, 8 and 4."""
    page("mse, update: mean_of_rows, epochs: [1, 3], values: [3.0, 2.0]")
    run = trained("data.order=shuffle", "data.batch_size=8", "trainer.max_steps=12")
    losses = run.history["loss"][3:6].astype(float)
    for update, expected in (
        ("mean_of_steps", losses.mean(axis=0)),
        ("mean_of_rows", (8 * losses[0] + 8 * losses[1] + 4 * losses[2]) / 20),
    ):
        values = published.values_in(run, number("mse", update, 6, epoch=2))
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_epochs_are_counted_in_steps_of_the_experiment(page):
    page("mse, update: mean_of_rows, epochs: [1, 20], values: [3.0, 2.0]")
    published.check_page("own")
    numbers = published.tutorial("own").numbers
    assert [(n.key, n.step) for n in numbers] == [
        ("own/ramp:mse@epoch1", 1),
        ("own/ramp:mse@epoch20", 20),
    ]
    assert published.printed_trace("own/ramp") == list(numbers)


@pytest.mark.parametrize(
    "line, message",
    [
        ("mse, update: before, epochs: [21], values: [1.0]", "epoch must be between 1 and 20"),
        ("mse, update: before, steps: [21], values: [1.0]", "step must be between 1 and 20"),
        ("mse, update: after, values: [1.0]", "needs either steps or epochs"),
        ("mse, update: after, epochs: [2, 3], values: [1.0]", "2 epochs, 1 values"),
        ("mse, update: mean_of_rows, steps: [3], values: [1.0]", "give epochs instead of steps"),
        ("maee, update: after, steps: [20], values: [1.0]", "did you mean mae"),
        ("slope, update: before, steps: [3], values: [1.0]", r"def slope\(run, step\)"),
    ],
)
def test_what_no_run_has_is_refused_in_one_line(line, message, page):
    page(line, functions="QUANTITIES = {'slope': lambda run: run.metrics['mse']}\n")
    with pytest.raises(ConfigError, match=message) as error:
        published.check_page("own")
    assert "published.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "functions, message",
    [
        ("QUANTITIES = [1]", "must be a dict, name: function"),
        ("QUANTITIES = {'slope': 3}", "slope.*must be name: function"),
        ("QUANTITIES = {'mae': len}", "mae: is built in"),
        ("QUANTITES = {}", "did you mean QUANTITIES"),
        ("QUANTITIES = LAWS = {'slope': len}", "keep one"),
    ],
)
def test_a_damaged_list_of_quantities_is_refused(functions, message, page):
    page("mse, update: after, steps: [20], values: [1.0]", functions=functions)
    with pytest.raises(ConfigError, match=message):
        published.check_page("own")


@pytest.mark.parametrize(
    "body, message",
    [
        ("run.metrics['mse'].mean()", "gives a single number; must be one number for each of 5"),
        ("run.metrics['mse'][:3]", r"float64 of shape \(3,\).*quantities\.py, line 1\)"),
        ("run.history['loss'][999]", r"IndexError.*quantities\.py, line 2\)"),
        ("None", r"gives a single number"),
    ],
)
def test_a_function_of_another_shape_is_refused_with_its_line(body, message, page, trained):
    text = f"def slope(run):\n    return {body}\nQUANTITIES = {{'slope': slope}}\n"
    page("slope, update: after, steps: [20], values: [1.0]", functions=text)
    with pytest.raises(ConfigError, match=rf"own/quantities\.py: slope.*{message}") as error:
        ledger.ledger({"own/ramp": trained()}, ["own"])
    assert "\n" not in str(error.value)


def test_a_quantity_of_ones_own_is_judged_like_every_other(page, trained):
    page(
        "slope, update: after, steps: [null], values: [2.0]",
        functions="def slope(run):\n    at = run.predict([[0.0], [1.0]])[..., 0]\n"
        "    return at[:, 1] - at[:, 0]\nQUANTITIES = {'slope': slope}\n",
    )
    run = trained()
    content = ledger.ledger({"own/ramp": run}, ["own"])
    (row,) = content["numbers"]
    assert row["median"] == np.sort(quantities.own_values("own", "slope", run))[2]
    assert content["experiments"][0]["decided_by"] == "number"
    assert content["experiments"][0]["last"] == row["key"] == "own/ramp:slope"


def test_a_sparse_history_names_the_key_that_keeps_all(page, trained, quick):
    page("mse, update: before, steps: [7], values: [1.0]")
    run = trained("ensemble.history_points=2")
    with pytest.raises(RunError, match=r"mse@7: .* ensemble\.history_points=20 keeps all"):
        published.values_in(run, published.last_number("own/ramp"))
    config = quick("experiment=own/ramp", "replicas=5", "ensemble.history_points=2")
    with pytest.raises(ConfigError, match=r"own/ramp: .*set ensemble\.history_points=20"):
        published.check_recorded(config)
    published.check_recorded(quick("experiment=own/ramp", "replicas=5"))
