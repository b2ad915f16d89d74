"""Least squares in a fixed order against numpy's singular values."""

import numpy as np
import pytest

from mlpfit.model.least_squares import least_squares


def rows(replicas: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + d)
    return rng.normal(size=(replicas, n, d)), rng.normal(size=(replicas, n, 1))


def assert_least(x: np.ndarray, y: np.ndarray) -> None:
    """The solution is the pseudo-inverse's, to rounding errors times the condition number."""
    weight, bias = least_squares(x, y)
    design = np.concatenate([x, np.ones_like(y)], axis=2)
    expected = np.linalg.pinv(design) @ y
    singular = np.linalg.svd(design, compute_uv=False)
    singular = np.where(singular > 1e-12 * singular[:, :1], singular, singular[:, :1])
    condition = (singular[:, 0] / singular.min(axis=1))[:, None, None]
    size = np.linalg.norm(expected, axis=1, keepdims=True)
    size = size + np.linalg.norm(y, axis=1, keepdims=True) / singular[:, :1, None]
    # Golub and Van Loan 2013, section 5.3.8: the condition number squared times the residual
    bound = 10 * design.shape[1] * 2.0**-52 * condition**2 * size
    assert (np.abs(np.concatenate([weight, bias], axis=1) - expected) <= bound).all()


@pytest.mark.parametrize("n, d", [(1, 1), (2, 1), (3, 1), (200, 3), (101, 7)])
def test_it_minimises_the_sum_of_squares(n, d):
    assert_least(*rows(20, n, d))


@pytest.mark.parametrize("n, d", [(1, 3), (2, 3), (3, 3)])
def test_with_fewer_rows_than_parameters_it_is_the_solution_of_least_norm(n, d):
    assert_least(*rows(20, n, d))


def test_with_dependent_columns_it_is_the_solution_of_least_norm():
    x, y = rows(20, 50, 1)
    assert_least(np.concatenate([x, 2 * x, x + 1], axis=2), y)
    weight, bias = least_squares(np.zeros_like(x), y)
    assert (weight == 0).all()
    np.testing.assert_allclose(bias[:, 0, 0], y[..., 0].mean(axis=1), atol=1e-15)


def test_an_exact_plane_is_found_from_float32_rows():
    x = rows(5, 40, 3)[0].astype(np.float32)
    y = x @ np.array([[1.0], [2.0], [-3.0]], dtype=np.float32) + np.float32(0.5)
    weight, bias = least_squares(x, y)
    assert weight.dtype == bias.dtype == np.float64
    np.testing.assert_allclose(weight[..., 0], np.tile([1, 2, -3], (5, 1)), atol=1e-5)
    np.testing.assert_allclose(bias[:, 0, 0], 0.5, atol=1e-5)


def test_a_replica_has_the_same_bits_alone_and_among_others():
    x, y = rows(30, 33, 3)
    weight, bias = least_squares(x, y)
    for k in (0, 17, 29):
        alone = least_squares(x[k : k + 1], y[k : k + 1])
        np.testing.assert_array_equal(alone[0][0], weight[k])
        np.testing.assert_array_equal(alone[1][0], bias[k])


def test_rows_that_are_not_finite_give_a_solution_that_is_not_and_spoil_no_other():
    x, y = rows(3, 20, 2)
    expected = least_squares(x, y)[0][0]
    x[1, 4, 0], y[2, 3, 0] = np.inf, np.nan
    weight, _ = least_squares(x, y)
    np.testing.assert_array_equal(weight[0], expected)
    assert not np.isfinite(weight[1:]).all(axis=(1, 2)).any()
