"""Sharpness by hand against torch's Hessian and LAPACK's eigenvalues."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mlpfit.model import losses, mlp
from mlpfit.model.sharpness import hessian, largest_eigenvalue, sharpness

ROUNDING = 2.0**-52
Problem = tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]


def problem(units: list[int], replicas: int = 4, rows: int = 21) -> Problem:
    rng = np.random.default_rng(len(units))
    layers = [
        (rng.normal(size=(replicas, a, b)).astype(np.float32), rng.normal(size=(replicas, 1, b)))
        for a, b in pairwise(units)
    ]
    return (
        layers,
        rng.normal(size=(replicas, rows, units[0])),
        rng.normal(size=(replicas, rows, 1)),
    )


def by_autograd(layers, x, y, kind, activation) -> np.ndarray:
    """Hessians (R, p, p)."""
    arrays = [torch.from_numpy(array).double() for layer in layers for array in layer]
    sizes = [array[0].numel() for array in arrays]

    def loss(parameters, x, y):
        pairs = zip(parameters.split(sizes), arrays, strict=True)
        shaped = [values.view(1, *array.shape[1:]) for values, array in pairs]
        pairs = list(zip(shaped[::2], shaped[1::2], strict=True))
        return losses.loss(kind, mlp.outputs(pairs, x[None], activation)[-1], y[None])[0]

    flat = torch.cat([array.flatten(1) for array in arrays], dim=1)
    rows = torch.from_numpy(x), torch.from_numpy(y)
    return torch.func.vmap(torch.func.hessian(loss))(flat, *rows).numpy()


@pytest.mark.parametrize("units", [[1, 1], [2, 1], [1, 8, 1], [3, 5, 4, 1]])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
@pytest.mark.parametrize("kind", losses.SQUARES)
def test_it_is_the_largest_eigenvalue_of_torchs_hessian(units, activation, kind):
    """Sums of some hundred terms, each with some ten roundings, give the Hessian; Householder's
    form and bisection add p rounding errors of its norm. Neither all of one sign."""
    layers, x, y = problem(units)
    expected = by_autograd(layers, x, y, kind, activation)
    ours = hessian(layers, x, y, kind, activation).transpose(2, 0, 1)
    norm = np.linalg.norm(expected, axis=(1, 2))
    bound = 100 * ROUNDING * norm
    assert (np.abs(ours - expected).max(axis=(1, 2)) <= bound).all()
    eigenvalues = np.linalg.eigvalsh(expected)[:, -1]
    found = sharpness(layers, x, y, kind, activation)
    assert (np.abs(found - eigenvalues) <= bound * len(expected[0])).all()


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_the_largest_eigenvalue_is_found_whatever_the_signs(size):
    rng = np.random.default_rng(size)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    spectra = [
        np.linspace(-5, -1, size),
        np.linspace(-100, 1, size),
        np.full(size, 3.0),
        np.zeros(size),
    ]
    matrices = np.stack([(vectors * spectrum) @ vectors.T for spectrum in spectra], axis=2)
    matrices = (matrices + matrices.swapaxes(0, 1)) / 2
    largest = [spectrum.max() for spectrum in spectra]
    bound = [10 * size * ROUNDING * np.abs(spectrum).max() for spectrum in spectra]
    assert (np.abs(largest_eigenvalue(matrices) - largest) <= bound).all()


def test_a_diagonal_matrix_is_its_own_form():
    matrices = np.diag([1.0, -7.0, 4.0])[..., None]
    assert largest_eigenvalue(matrices)[0] == pytest.approx(4, rel=ROUNDING)


def test_a_replica_has_the_same_bits_alone_and_among_others():
    layers, x, y = problem([1, 8, 1], replicas=7)
    together = sharpness(layers, x, y, "mse", "tanh")
    for k in (0, 3, 6):
        own = [(weight[k : k + 1], bias[k : k + 1]) for weight, bias in layers]
        assert sharpness(own, x[k : k + 1], y[k : k + 1], "mse", "tanh")[0] == together[k]


def test_it_is_infinite_where_the_hessian_is_not_finite():
    layers, x, y = problem([1, 3, 1])
    expected = sharpness(layers, x, y, "mse", "relu")
    layers[0][0][1], layers[1][0][2] = np.inf, np.nan
    values = sharpness(layers, x, y, "mse", "relu")
    assert np.isinf(values[1:3]).all()
    np.testing.assert_array_equal(values[[0, 3]], expected[[0, 3]])
