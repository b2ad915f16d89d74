"""Outputs and errors of nets: numpy and C++ give the same bits, and right ones."""

from itertools import pairwise

import numpy as np
import pytest

from mlpfit.engine import compiler
from mlpfit.engine.evaluation import ACTIVATIONS, errors, outputs, sigmoid, tanh

KINDS = pytest.mark.parametrize("real", [np.float32, np.float64])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


def net(real, replicas=3, units=(2, 5, 4, 1), seed=0):
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return rng.normal(size=shape).astype(real)

    return [(drawn(replicas, a, b), drawn(replicas, 1, b)) for a, b in pairwise(units)]


@KINDS
@pytest.mark.parametrize(
    "activation", [*ACTIVATIONS, {"name": "leaky_relu", "negative_slope": 0.3}]
)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("units", [1, 3])
def test_numpy_and_the_kernel_give_the_same_bits(real, activation, shared, units, cache):
    rng, layers = np.random.default_rng(1), net(real, units=(2, 5, 4, units))
    layers[0][1][1, :, 2] = -1e6  # a dead unit of relu
    for rows in range(1, 34):
        x, y = rng.normal(size=(1 if shared else 3, rows, 2)), rng.normal(size=(3, rows, units))
        ours = errors(layers, x, y, activation)
        theirs = errors(layers, x, y, activation, cache)
        np.testing.assert_array_equal(ours.squares, theirs.squares)
        np.testing.assert_array_equal(ours.dead_units, theirs.dead_units)
        prediction = outputs(layers, x, activation)[-1].astype(float)
        expected = np.square(prediction - y.astype(real)).sum((1, 2))
        np.testing.assert_allclose(ours.squares, expected, rtol=40 * units * np.finfo(float).eps)
        assert ours.dead_units[1] >= (activation == "relu")


@KINDS
def test_rows_shared_by_stride_are_those_shared_by_length(real, cache):
    layers, rng = net(real), np.random.default_rng(2)
    x, y = rng.normal(size=(1, 9, 2)).astype(real), rng.normal(size=(1, 9, 1)).astype(real)
    broad = [np.broadcast_to(a, (3, *a.shape[1:])) for a in (x, y)]
    copied = [np.ascontiguousarray(a) for a in broad]
    for folder in (None, cache):
        results = [errors(layers, *rows, "tanh", folder) for rows in ((x, y), broad, copied)]
        for other in results[1:]:
            np.testing.assert_array_equal(results[0].squares, other.squares)


@KINDS
def test_outputs_are_the_nets_but_for_rounding(real):
    """Against float64 and numpy's tanh; each layer adds some roundings of numbers below ten."""
    x, layers = np.random.default_rng(3).normal(size=(3, 20, 2)), net(real)
    h = x.astype(real).astype(float)
    for k, (weight, bias) in enumerate(layers):
        z = h @ weight.astype(float) + bias.astype(float)
        h = np.tanh(z) if k + 1 < len(layers) else z
    np.testing.assert_allclose(
        outputs(layers, x, "tanh")[-1], h, rtol=0, atol=200 * np.finfo(real).eps
    )


@KINDS
def test_tanh_is_right_to_four_units_of_the_last_digit(real):
    rng = np.random.default_rng(4)
    parts = [rng.uniform(0.08, 0.7, 200_000), rng.normal(size=200_000)]
    parts += [rng.uniform(-25, 25, 50_000), 10 ** rng.uniform(-30, 1, 50_000)]
    z = np.concatenate(parts).astype(real)
    exact = np.tanh(z.astype(np.longdouble))
    errors_of = np.abs(tanh(z) - exact) / np.spacing(np.abs(exact).astype(real))
    assert errors_of.max() <= 4


@KINDS
def test_sigmoid_is_right_to_four_units_of_the_last_digit(real):
    rng = np.random.default_rng(4)
    parts = [rng.normal(size=200_000), rng.uniform(-60, 60, 50_000)]
    z = np.concatenate([*parts, 10 ** rng.uniform(-30, 1, 50_000)]).astype(real)
    exact = 1 / (1 + np.exp(-z.astype(np.longdouble)))
    errors_of = np.abs(sigmoid(z) - exact) / np.spacing(exact.astype(real))
    assert errors_of.max() <= 4


@KINDS
def test_sigmoid_of_the_edges(real):
    z = np.array([np.inf, -np.inf, 0, 50, -1000], real)
    np.testing.assert_array_equal(sigmoid(z), [1, 0, 0.5, 1, 0])
    assert np.isnan(sigmoid(np.array([np.nan], real)))[0]


@KINDS
def test_tanh_of_the_edges(real):
    z = np.array([np.inf, -np.inf, 0, 30, -30], real)
    np.testing.assert_array_equal(tanh(z), [1, -1, 0, 1, -1])
    assert np.isnan(tanh(np.array([np.nan], real)))[0]


@KINDS
def test_a_replica_that_diverged_has_no_number_and_leaves_the_others_theirs(real, cache):
    layers, rng = net(real), np.random.default_rng(5)
    x, y = rng.normal(size=(3, 7, 2)), rng.normal(size=(3, 7, 1))
    before = errors(layers, x, y, "relu")
    layers[0][0][1] = np.nan
    for folder in (None, cache):
        after = errors(layers, x, y, "relu", folder)
        assert np.isnan(after.squares[1])
        np.testing.assert_array_equal(after.squares[[0, 2]], before.squares[[0, 2]])


def test_the_source_of_a_kernel_asks_nothing_of_libm():
    for real in ("float", "double"):
        text = compiler.source(real, *compiler.HEADERS)
        assert "#include <math" not in text and "#include <cmath" not in text
