"""The tutorial of docs/data.md, trained by its commands: a classifier, several outputs, rows of a
file, noise that depends on x. Replicas against single runs, quantities against numpy's formulas."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from mlpfit import load_run
from mlpfit.data.streams import spawned
from mlpfit.figures import boundary
from mlpfit.figures.boundary import decision_boundary
from mlpfit.runs.run import Run

PAGE = (ROOT / "docs/data.md").read_text("utf-8")
FILES = dict(
    re.findall(r"```\w+\n((?:# @package _global_\n)?# (toys/\S+): .*?)^```", PAGE, re.M | re.S)
)
FORMULA = """# @package _global_
defaults: [override /target: {target}]
name: toys/{name}
target: {{inputs: uniform, low: -2.0, high: 2.0, points: 50, {fields}}}
model: {{hidden: 6, activation: tanh}}
trainer: {{max_steps: 40}}
"""
DISC = "{name: disc, radius: 1.0, points: 60, inputs: uniform, low: -2.0, high: 2.0, noise: 0.0,"
HELIX = "{name: helix, points: 60, inputs: grid, low: -2.0, high: 2.0, noise: 0.1,"
FEW = ["logger=none", "ensemble.shard=7"]
REST = " observed: null, standardise: false, float32: false}\n"


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tutorial's folder, with rows of its own, in this test's folder."""
    rng = spawned(0, 0)
    rows = np.round(rng.uniform(20.0, 90.0, (60, 1)), 1), rng.integers(1, 5, (60, 1))
    price = 3 * rows[0] + 10 * rows[1] + rng.normal(0.0, 5.0, (60, 1))
    lines = ("{:.1f},{:.0f},{:.3f}".format(*row) for row in np.hstack([*rows, price]))
    written = {
        **{name: text for text, name in FILES.items()},
        "toys/rows.csv": "\n".join(["area,rooms,price", *lines]),
        "toys/conf/target/disc.yaml": DISC + REST,
        "toys/conf/target/helix.yaml": HELIX + REST,
        "toys/conf/experiment/toys/noisy.yaml": FORMULA.format(
            name="noisy", target="formula", fields='f: x^2, noise: "0.5 * abs(x)"'
        ),
        "toys/conf/experiment/toys/helix.yaml": FORMULA.format(
            name="helix", target="helix", fields="noise: 0.1"
        ),
    }
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("MLPFIT_PATH", str(tmp_path / "toys"))
    return tmp_path


def trained(command: Callable[..., tuple[int, str]], name: str, replicas: int) -> tuple[Run, Run]:
    """The ensemble of this experiment, and the run of seed 3."""
    for more in ([f"replicas={replicas}"], ["seed=3"]):
        code, printed = command(f"experiment=toys/{name}", *FEW, *more)
        assert code == 0, printed
    return load_run(f"outputs/ensembles/toys/{name}"), load_run(f"outputs/runs/toys/{name}")


def check_replica(many: Run, single: Run) -> None:
    """Replica 3 has the numbers of the run of seed 3, bit for bit."""
    for name in single.data:
        np.testing.assert_array_equal(many.data[name][3], single.data[name][0])
    for (weight, bias), (own_weight, own_bias) in zip(
        many.parameters(), single.parameters(), strict=True
    ):
        np.testing.assert_array_equal(weight[3], own_weight[0])
        np.testing.assert_array_equal(bias[3], own_bias[0])
    for name, values in single.metrics.items():
        np.testing.assert_array_equal(many.metrics[name][3], values[0])


def check_quantities(
    run: Run, names: str, parts: tuple[str, ...], expected: Callable[..., dict]
) -> None:
    for part in parts:
        x, y = (run.data[f"{part}_{name}".lstrip("_")] for name in "xy")
        by_hand = expected(run.predict(x).astype(float), y)
        for name in names.split():
            quantity = f"{part}_{name}".lstrip("_")
            np.testing.assert_allclose(run.final(quantity), by_hand[name], rtol=1e-5, atol=1e-7)


def of_numbers(outputs: np.ndarray, y: np.ndarray) -> dict:
    error = outputs - y
    spread = ((y - y.mean(1, keepdims=True)) ** 2).sum(1)
    mse = (error**2).mean((1, 2))
    r2 = (1 - (error**2).sum(1) / spread).mean(1)
    return {"mse": mse, "rmse": mse**0.5, "mae": np.abs(error).mean((1, 2)), "r2": r2, "loss": mse}


def of_classes(outputs: np.ndarray, y: np.ndarray) -> dict:
    z = outputs - outputs.max(-1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    chosen = np.take_along_axis(p, y.astype(int), -1)[..., 0]
    return {
        "accuracy": (p.argmax(-1) == y[..., 0]).mean(1),
        "loss": -np.log(chosen).mean(1),
        "mse": ((p - (y == np.arange(p.shape[-1]))) ** 2).mean((1, 2)),
    }


def test_a_classifier_is_trained_and_its_boundary_drawn(toys, command):
    many, single = trained(command, "moons", 4)
    check_replica(many, single)
    check_quantities(many, "accuracy loss mse", ("", "val", "test"), of_classes)
    assert single.data["x"].shape == (1, 120, 2) and single.data["test_y"].shape == (1, 40, 1)
    np.testing.assert_allclose(single.evaluated("val_mse"), single.metrics["val_mse"])
    assert single.final("test_accuracy")[0] > 0.7
    for runs in ((single,), (single, many)):
        picture = io.BytesIO()
        decision_boundary(*runs, title="Moons").savefig(picture, format="svg")
        assert b"contour" in picture.getvalue().lower()
    _, mesh = boundary.grid(single)
    scores = boundary.class_scores(single, boundary.scaled(single, mesh))
    np.testing.assert_allclose(scores.sum(axis=2), 1)
    alone = boundary.class_shares(single, mesh)
    np.testing.assert_array_equal(alone.argmax(axis=1), scores[0].argmax(axis=1))


def test_rows_of_a_file_are_trained_and_a_changed_file_again(toys, command):
    many, single = trained(command, "prices", 4)
    check_replica(many, single)
    check_quantities(many, "mse rmse mae r2 loss", ("", "val", "test"), of_numbers)
    assert single.config["trainer"]["max_steps"] is None
    assert len(single.history["step"]) == 20 * 3  # epochs of 38 rows in batches of 16
    same = ["experiment=toys/prices", "seed=3", *FEW]
    assert "up to date" in command(*same)[1]
    rows = toys / "toys/rows.csv"
    rows.write_text(rows.read_text() + "\n50,2,170")
    assert "up to date" not in command(*same)[1]


@pytest.mark.parametrize("name, outputs", [("helix", 2), ("noisy", 1)])
def test_several_outputs_and_noise_that_depends_on_x(toys, command, name: str, outputs: int):
    many, single = trained(command, name, 4)
    check_replica(many, single)
    check_quantities(many, "mse rmse mae r2 loss", ("",), of_numbers)
    assert single.data["y"].shape == (1, 50, outputs)
    assert single.predict([[0.5]]).shape == (1, 1, outputs)
    np.testing.assert_allclose(single.evaluated("val_mse"), single.metrics["val_mse"], rtol=1e-12)
