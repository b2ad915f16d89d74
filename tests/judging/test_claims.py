"""Predicates over replicas, and tutorials that leave parts out."""

from types import SimpleNamespace

import numpy as np
import pytest

from mlpfit import RunError
from mlpfit.errors import ConfigError
from mlpfit.judging import claims, ledger, published
from mlpfit.judging.claims import best_line_mse, less, r2


def replicas(mse, diverged=None):
    """Stands in for an ensemble where only final numbers are read."""
    mse = np.array(mse, dtype=float)
    lost = np.zeros(len(mse), dtype=bool) if diverged is None else np.array(diverged)
    final = np.where(lost, np.inf, mse)
    return SimpleNamespace(final=lambda name: final, diverged=lost)


def test_an_order_is_strict_and_seed_by_seed():
    runs = {"a": replicas([1, 2, 3]), "b": replicas([2, 2, 2]), "c": replicas([3, 3, 3])}
    assert less("mse", "a", "b", "c")(runs).tolist() == [True, False, False]


def test_a_diverged_replica_is_better_than_none():
    runs = {"a": replicas([1, 1], [True, True]), "b": replicas([2, 2], [False, True])}
    assert not less("mse", "a", "b")(runs).any()


def test_the_best_line_is_numpys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 30, 1))
    data = {"x": x, "y": y}
    expected = []
    for a, b in zip(x[..., 0], y[..., 0], strict=True):
        residuals = b - np.polyval(np.polyfit(a, b, 1), a)
        expected.append((residuals**2).mean())
    np.testing.assert_allclose(best_line_mse(SimpleNamespace(data=data)), expected)
    run = SimpleNamespace(
        data=data, metrics={"sse": ((y - y.mean(1, keepdims=True)) ** 2).sum((1, 2))}
    )
    np.testing.assert_allclose(r2(run), 0, atol=1e-12)  # a constant explains nothing


@pytest.fixture
def sixth(tmp_path, monkeypatch):
    """A tutorial of the user's that has nothing but its folder; returns the folder."""
    folder = tmp_path / "sixth"
    folder.mkdir()
    monkeypatch.setenv("MLPFIT_PATH", str(folder))
    return folder


def test_a_tutorial_may_leave_everything_out(sixth):
    assert published.tutorial("sixth").numbers == ()
    assert published.tutorial("sixth").citation() == ""
    assert published.final("sixth/first") is None
    assert not published.amplifies_rounding("sixth/first")
    assert claims.listed("sixth", "CLAIMS") == [] and claims.findings("sixth") == []


def test_a_damaged_file_of_published_numbers_is_named_in_one_line(sixth):
    (sixth / "published.yaml").write_text("numbers: [{experiment: sixth/first, steps: [1]}]")
    with pytest.raises(ConfigError, match=r"published\.yaml: ") as error:
        published.tutorial("sixth")
    assert "\n" not in str(error.value)


def test_a_number_without_a_run_must_say_why(sixth):
    (sixth / "published.yaml").write_text(
        "numbers: [{experiment: sixth/first, quantity: mse, update: after, convention: '',"
        " steps: [null], values: [1.0]}]"
    )
    (number,) = published.tutorial("sixth").numbers
    with pytest.raises(RunError, match="sixth/first:mse"):
        ledger.judge(number, {}, [])
