"""The functions of elementary.py against decimal arithmetic of 400 digits, and their edges."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import pytest

from mlpfit.data import elementary

DIGITS = 400  # the largest float64 has 309, its sine needs pi to as many and 60 more
LARGEST, LEAST = float(np.finfo(float).max), 5e-324


@cache
def pi() -> Decimal:
    """16 arctan(1/5) - 4 arctan(1/239)."""

    def arctan_of_inverse(n: int) -> Decimal:
        power, total, k = Decimal(1) / n, Decimal(0), 1
        while power > Decimal(10) ** -(DIGITS + 5):
            total += power / k if k % 4 == 1 else -power / k
            power, k = power / (n * n), k + 2
        return total

    with localcontext(prec=DIGITS + 10):
        return 16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)


def sine(x: Decimal, shift: Decimal = Decimal(0)) -> Decimal:
    """By its series, after x + shift is brought to at most pi / 2 with all digits."""
    turned = x + shift
    n = (turned / pi()).to_integral_value()
    rest, odd = turned - n * pi(), n % 2
    with localcontext(prec=50):
        rest = +rest
        term, total, k = rest, Decimal(0), 1
        while abs(term) > abs(rest) * Decimal(10) ** -45:
            total, term, k = total + term, -term * rest * rest / ((k + 1) * (k + 2)), k + 2
        return -total if odd else total


def cosine(x: Decimal) -> Decimal:
    return sine(x, pi() / 2)


EXACT: dict[str, Callable[[Decimal], Decimal]] = {
    "sin": sine,
    "cos": cosine,
    "tan": lambda x: sine(x) / cosine(x),
    "exp": lambda x: x.exp(),
    "expm1": lambda x: x.exp() - 1,
    "log": lambda x: x.ln(),
    "log1p": lambda x: (x + 1).ln(),
    "tanh": lambda x: ((2 * x).exp() - 1) / ((2 * x).exp() + 1),
}
# sin, cos and tan bring the angle down with all digits; the others need no more than 60, and the
# smallest arguments of expm1, log1p and tanh 320 (their size is lost in 1 + x).
PRECISION = {"sin": DIGITS, "cos": DIGITS, "tan": DIGITS, "exp": 50, "log": 50}
ERROR = dict.fromkeys(EXACT, 1.0) | {"tanh": 3.0}  # as the module states, in ulp


def arguments(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    near_one, spread = rng.uniform(-1, 1, 150), np.exp(rng.uniform(-40, 3, 100))
    if name in ("sin", "cos", "tan"):
        quarters = np.arange(1, 60) * (np.pi / 4)
        huge = np.array(
            [1e6, 1e15, 2.0**60, 1e22, 1e100, 1e300, LARGEST, 6381956970095103 * 2.0**797]
        )
        x = np.concatenate([near_one, spread, quarters, rng.uniform(0, 8e5, 100), huge])
        return np.concatenate([x, -x])
    if name == "log":
        powers = np.exp(rng.uniform(-700, 700, 100))
        return np.concatenate([1 + near_one[:100] / 2, powers, [LEAST, 1e-310, LARGEST, 1, 2]])
    if name == "log1p":
        return np.concatenate([near_one, spread, -spread[spread < 1], np.exp([50.0, 500.0])])
    if name == "exp":
        return np.concatenate([near_one, rng.uniform(-745, 709, 200), [709.78, -745.1, 1e-20]])
    return np.concatenate([near_one, spread, -spread, rng.uniform(-50, 50, 100)])


@pytest.mark.parametrize("name", EXACT)
def test_errors_are_below_those_stated(name):
    x = arguments(name)
    x = x[x != 0]
    values = getattr(elementary, name)(x)
    with localcontext(prec=PRECISION.get(name, 120)):
        for argument, value in zip(x.tolist(), values.tolist(), strict=True):
            exact = EXACT[name](Decimal(argument))
            ulp = Decimal(float(np.spacing(abs(float(exact)))))
            assert abs(Decimal(value) - exact) < Decimal(ERROR[name]) * ulp, argument


def test_powers_are_within_one_ulp_of_the_exact_ones():
    rng = np.random.default_rng(1)
    x, y = np.exp(rng.uniform(-6, 6, 400)), rng.uniform(-90, 90, 400)
    x, y = np.append(x, [1 + 2.0**-50, LEAST, 1e-310, 3.0]), np.append(y, [1e15, 0.3, 0.7, 40.0])
    with localcontext(prec=60):
        for base, exponent, value in zip(x, y, elementary.power(x, y), strict=True):
            exact = (Decimal(base.item()).ln() * Decimal(exponent.item())).exp()
            error = abs(Decimal(value.item()) - exact)
            assert error < Decimal(float(np.spacing(value))), (base, exponent)


def test_small_whole_powers_are_products():
    x = np.random.default_rng(2).normal(size=100)
    np.testing.assert_array_equal(elementary.power(x, 2), x * x)
    np.testing.assert_array_equal(elementary.power(x, -1), 1 / x)
    np.testing.assert_array_equal(elementary.power(np.abs(x), 0.5), np.sqrt(np.abs(x)))
    whole = np.arange(-9.0, 10)
    np.testing.assert_array_equal(elementary.power(whole, 3), whole * whole * whole)


EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, LEAST, -LEAST, 1e-310, -1e-310, 1.0, -1.0, 2.0, 0.5]
EDGES += [-0.5, 3.0, -3.0, 1e300, -1e300, 710.0, -746.0, 1024.0, -1075.0, 2.0**53, 2.0**53 - 1]


def assert_same_kind(values, expected):
    """Equal where the result is 0, infinite or NaN, signs included."""
    special = (expected == 0) | ~np.isfinite(expected)
    np.testing.assert_array_equal(values[special], expected[special])
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(values[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("name", EXACT)
def test_zeros_infinities_and_nan_are_those_of_the_c_library(name):
    x = np.array(EDGES)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    assert_same_kind(getattr(elementary, name)(x), expected)


def test_edges_of_powers_are_those_of_the_c_library():
    x, y = np.meshgrid(EDGES, EDGES)
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    assert_same_kind(elementary.power(x, y), expected)


def test_the_cosine_of_a_number_is_that_of_an_array():
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-10, 10, 2000), rng.uniform(-1, 1, 500) * elementary.LARGE]
    x = np.concatenate([*parts, np.arange(200) * np.pi / 4, [0.0, -0.0, 1e-300, 1e300]])
    one_by_one = [elementary.cos_of_number(value) for value in x.tolist()]
    np.testing.assert_array_equal(one_by_one, elementary.cos(x))


def test_numbers_and_arrays_of_any_shape_are_taken():
    assert isinstance(elementary.sin(1.0), float)
    assert elementary.power(2, 10) == 1024
    x = np.random.default_rng(3).normal(size=(3, 4, 2))
    for name in EXACT:
        if name not in ("log", "log1p"):
            values = getattr(elementary, name)(x)
            assert values.shape == x.shape
            assert values[1, 2, 0] == getattr(elementary, name)(x[1, 2, 0])
    assert elementary.exp(np.empty((0, 1))).shape == (0, 1)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 64, 100])
def test_a_sum_of_rows_does_not_depend_on_its_neighbours(rows):
    values = np.random.default_rng(4).normal(size=(rows, 5, 3))
    sums = elementary.sum_rows(values)
    np.testing.assert_allclose(sums, values.sum(axis=0), atol=1e-14 * max(rows, 1))
    np.testing.assert_array_equal(sums[2], elementary.sum_rows(values[:, 2]))
    np.testing.assert_array_equal(sums[2, 1], elementary.sum_rows(values[:, 2, 1]))


@pytest.mark.parametrize(
    "low, high, count", [(1, 1000, 4), (0.1, 3, 5), (1, 1, 1), (2, 5, 1), (1, 7, 2)]
)
def test_a_geometric_space_has_both_ends_and_equal_ratios(low, high, count):
    values = elementary.geomspace(low, high, count)
    np.testing.assert_allclose(values, np.geomspace(low, high, count), rtol=1e-14)
    assert values[0] == low and (count == 1 or values[-1] == high)
