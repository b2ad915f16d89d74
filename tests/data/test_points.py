"""Laws of the ready sets of points, of noise as a formula, and of several outputs."""

from dataclasses import replace

import numpy as np
import pytest

from mlpfit.config.compose import compose
from mlpfit.data.datamodule import ReplicaData
from mlpfit.data.points import Blobs, Circles, Moons, Spirals, Xor
from mlpfit.data.streams import spawned, streams
from mlpfit.data.targets import Formula
from mlpfit.errors import ConfigError

PLAIN = {"points": 60, "noise": 0.0, "observed": None, "standardise": False, "float32": False}
EVEN = {"arms": 3, "turns": 1.5, "apart": None, "angle_noise": 0.0}
SETS = {
    "moons": Moons(**PLAIN),
    "circles": Circles(**PLAIN, factor=0.4),
    "blobs": Blobs(**PLAIN, centers=4, low=-9.0, high=9.0),
    "spirals": Spirals(**PLAIN, **EVEN),
    "xor": Xor(**PLAIN, inputs="uniform", low=-2.0, high=1.0),
}
FUNCTION = {**PLAIN, "inputs": "uniform", "low": -2.0, "high": 3.0}


def drawn(name: str, seed: int = 0):
    rows = SETS[name].rows(spawned(seed, 0))
    return rows.x[:, 0], rows.x[:, 1], rows.y[:, 0]


def test_moons_lie_on_two_half_circles():
    a, b, y = drawn("moons")
    upper, lower = y == 0, y == 1
    np.testing.assert_allclose((a**2 + b**2)[upper], 1)
    np.testing.assert_allclose(((a - 1) ** 2 + (b - 0.5) ** 2)[lower], 1)
    assert (b[upper] > -1e-12).all() and (b[lower] < 0.5 + 1e-12).all()


def test_circles_have_radius_1_and_the_factor():
    a, b, y = drawn("circles")
    np.testing.assert_allclose(np.hypot(a, b), np.where(y == 0, 1.0, 0.4))


def test_arms_of_a_spiral_turn_evenly_with_the_radius():
    a, b, y = drawn("spirals")
    radius = np.hypot(a, b)
    inner = radius > 0
    turns = np.arctan2(b, a)[inner] / (2 * np.pi)
    expected = 1.5 * radius[inner] + y[inner] / 3
    np.testing.assert_allclose((turns - expected + 0.5) % 1, 0.5, atol=1e-12)


def test_spirals_of_cs231n_are_those_of_its_own_lines():
    """The first rows of a script that calls numpy.random.seed(7): arms of 4 radians, 4 apart."""
    turn = 4 / (2 * np.pi)
    arms = EVEN | {"turns": turn, "apart": turn, "angle_noise": 0.2}
    rows = Spirals(**PLAIN, **arms).rows(streams(7, "legacy").data)
    rng, expected = np.random.RandomState(7), []
    for j in range(3):
        angle = np.linspace(j * 4, (j + 1) * 4, 20) + rng.randn(20) * 0.2
        radius = np.linspace(0.0, 1, 20)
        expected += np.c_[radius * np.cos(angle), radius * np.sin(angle), np.full(20, j)].tolist()
    found = np.hstack([rows.x, rows.y])
    np.testing.assert_allclose(
        found[np.lexsort(found.T)], np.array(expected)[np.lexsort(np.array(expected).T)], atol=1e-12
    )


def test_xor_is_true_where_one_input_is_above_the_middle():
    a, b, y = drawn("xor")
    np.testing.assert_array_equal(y, (a > -0.5) != (b > -0.5))
    table = Xor(**{**PLAIN, "points": 4}, inputs="corners", low=0.0, high=1.0)
    corners = table.rows(spawned(0, 0))
    np.testing.assert_array_equal(corners.x, [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert "must be below" in (replace(table, low=1.0).problem() or "")
    np.testing.assert_array_equal(corners.y[:, 0], [0, 1, 1, 0])


@pytest.mark.parametrize("name", SETS)
def test_classes_are_equally_frequent_and_rows_in_random_order(name: str):
    target = SETS[name]
    *_, y = drawn(name)
    if name != "xor":
        assert np.bincount(y.astype(int)).tolist() == [60 // target.classes] * target.classes
        assert (np.diff(y) < 0).any()
    assert set(y) == set(range(target.classes))


def test_fresh_rows_of_blobs_have_the_centers_of_their_replica():
    data = ReplicaData(SETS["blobs"], [3, 8], dtype="float64")
    (fresh,) = data.val_dataloader()
    for k in range(2):
        known = np.unique(data.arrays["x"][k], axis=0)
        assert len(known) == 4
        np.testing.assert_array_equal(np.unique(fresh["x"][k].numpy(), axis=0), known)


def test_noise_of_classes_moves_the_points_and_keeps_the_classes():
    clean, noisy = (
        Moons(**{**PLAIN, "noise": noise, "points": 4000}).rows(spawned(1, 0))
        for noise in (0.0, 0.1)
    )
    assert noisy.x[:5].tolist() != clean.x[:5].tolist()
    assert sorted(noisy.y[:, 0]) == sorted(clean.y[:, 0])
    same = {tuple(row) for row in clean.x.round(12)}
    assert not same & {tuple(row) for row in noisy.x.round(12)}


def test_noise_as_a_formula_scales_the_same_normal_numbers():
    number, text = (Formula(**{**FUNCTION, "noise": n}, f="x^2") for n in (1.0, "0.5 + abs(x)"))
    unit, scaled = (target.rows(spawned(4, 0)) for target in (number, text))
    np.testing.assert_array_equal(unit.x, scaled.x)
    error = (unit.y - unit.pool_truth) * (0.5 + np.abs(unit.x))
    np.testing.assert_allclose(scaled.y - scaled.pool_truth, error, atol=1e-12)


def test_a_formula_of_two_inputs_gives_a_column_for_each_output():
    target = Formula(**{**FUNCTION, "inputs": "grid", "points": 25}, f=("x1 * x2", "x1 - x2"))
    rows = target.rows(spawned(0, 0))
    first, second = rows.x.T
    assert (target.dim, target.outputs, rows.y.shape) == (2, 2, (25, 2))
    np.testing.assert_allclose(rows.y, np.stack([first * second, first - second], axis=1))
    values = np.linspace(-2, 3, 5)  # the grid of two inputs is the mesh of both
    np.testing.assert_array_equal(rows.x, [[a, b] for a in values for b in values])


@pytest.mark.parametrize(
    "given, message",
    [
        (["target=formula", "target.noise='x - 9'"], "is no standard deviation at x = "),
        (["target=formula", "target.noise='abs(z)'"], "target.noise='abs(z)': 'z' is not allowed"),
        (["target=formula", "target.noise=-1"], "target.noise=-1: must be greater"),
        (["target=formula", "target.f='x1*x2'", "target.points=99"], "81 or 100 points"),
        (["target=formula", "target.f='x2 + x'"], "'x' is not allowed"),
        (["target=formula", "target.f=[]"], "a formula for each output"),
        (["target=moons", "target.points=1"], "at least one for each of 2"),
        (["target=circles", "target.factor=1"], "target.factor=1: must be less than 1"),
        (["target=blobs", "target.centers=1"], "target.centers=1: must be greater"),
        (["target=spirals"], "give loss=cross_entropy"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given: list[str], message: str):
    from mlpfit.training.train import try_target

    with pytest.raises(ConfigError) as refused:
        try_target(compose(["experiment=parabola/eight_neurons", *given]))
    assert message in str(refused.value) and "\n" not in str(refused.value)
