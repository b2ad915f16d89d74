"""sin, cos, tan, exp, log, tanh, powers and sums in float64 with the same bits on every processor.

numpy takes these from the C library or from vector code of its own, both chosen by the processor,
and their last digits differ. Here they are made of + - * / and sqrt, which IEEE 754 rounds in one
way, and of operations on the bits; numpy never fuses a product with a sum in elementwise
operations. Algorithms and coefficients are those of fdlibm (Sun Microsystems 1993,
https://www.netlib.org/fdlibm), written for arrays. Errors are in units in the last place (ulp):
below 1 for sin, cos, tan, exp, expm1, log, log1p and power, below 3 for tanh.

Each function takes an array or a number and returns float64 of the same shape. Outside its domain
the result is NaN; nothing warns.

Browsers have other functions (V8 took fdlibm's until it changed to glibc's and then to LLVM's), so
the playground agrees with these to rounding only.
"""

import struct
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
PI_HALF = [  # pi / 2 in parts of 33 bits, each followed by what is missing
    (1.57079632673412561417e00, 6.07710050650619224932e-11),
    (6.07710050630396597660e-11, 2.02226624879595063154e-21),
    (2.02226624871116645580e-21, 8.47842766036889956997e-32),
]
LARGE = 2.0**19 * np.pi / 2  # from here the three parts do not suffice
SIN = (
    *(-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04),
    *(2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10),
)
COS = (
    *(4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05),
    *(-2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11),
)
TAN = (
    *(3.33333333333334091986e-01, 1.33333333333201242699e-01, 5.39682539762260521377e-02),
    *(2.18694882948595424599e-02, 8.86323982359930005737e-03, 3.59207910759131235356e-03),
    *(1.45620945432529025516e-03, 5.88041240820264096874e-04, 2.46463134818469906812e-04),
    *(7.81794442939557092300e-05, 7.14072491382608190305e-05, -1.85586374855275456654e-05),
    2.59073051863633712884e-05,
)
EXP = (
    *(1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05),
    *(-1.65339022054652515390e-06, 4.13813679705723846039e-08),
)
EXPM1 = (
    *(-3.33333333333331316428e-02, 1.58730158725481460165e-03, -7.93650757867487942473e-05),
    *(4.00821782732936239552e-06, -2.01099218183624371326e-07),
)
LOG = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01),
    *(2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01),
    1.479819860511658591e-01,
)
LOG_OF_POWER = (
    *(5.99999999999994648725e-01, 4.28571428578550184252e-01, 3.33333329818377432918e-01),
    *(2.72728123808534006489e-01, 2.30660745775561754067e-01, 2.06975017800338417784e-01),
)

Elementwise = Callable[[Any], Any]


def _elementwise(function: Elementwise) -> Elementwise:
    """The function of a flat float64 array, for arrays of any shape and for numbers."""

    @wraps(function)
    def of_any_shape(x: Any) -> Any:
        values = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            return function(values.ravel()).reshape(values.shape)[()]

    return of_any_shape


@_elementwise
def sin(x: np.ndarray) -> np.ndarray:
    quadrant, high, low = _reduced(x)
    swapped = quadrant & 1 == 1
    value = np.where(swapped, _cos(high, low), _sin(high, low))
    value = np.where(quadrant & 2 == 2, -value, value)
    return np.where(np.abs(x) < 2.0**-27, x, value)  # also for -0 and subnormal numbers


@_elementwise
def cos(x: np.ndarray) -> np.ndarray:
    quadrant, high, low = _reduced(x)
    swapped = quadrant & 1 == 1
    value = np.where(swapped, _sin(high, low), _cos(high, low))
    return np.where((quadrant + 1) & 2 == 2, -value, value)


def cos_of_number(x: float) -> float:
    """:func:`cos` of one number, by the same operations on Python's floats: ten times as fast as on
    an array of one."""
    size = abs(x)
    if not size < LARGE:
        return float(cos(x))
    n = 0.0 if size <= 0.25 * np.pi else float(int(size * (2 / np.pi) + 0.5))
    rest, missing = size - n * PI_HALF[0][0], n * PI_HALF[0][1]
    high = rest - missing
    for enough, (part, beyond) in zip((2.0**-16, 2.0**-49), PI_HALF[1:], strict=True):
        if abs(high) < enough * size:
            next_rest = rest - n * part
            rest, missing = next_rest, n * beyond - ((rest - next_rest) - n * part)
            high = rest - missing
    low = (rest - high) - missing
    z = high * high
    if int(n) & 1:
        r = _polynomial(SIN[1:], z)  # type: ignore[arg-type]
        v = z * high
        value = high - ((z * (0.5 * low - v * r) - low) - v * SIN[0])
    else:
        r = z * _polynomial(COS, z)  # type: ignore[arg-type]
        bits = struct.unpack("<q", struct.pack("<d", abs(high)))[0] & ~0xFFFFFFFF
        quarter = struct.unpack("<d", struct.pack("<q", bits))[0] * 0.25
        shift = 0.0 if abs(high) < 0.3 else 0.28125 if abs(high) > 0.78125 else quarter
        value = (1.0 - shift) - ((0.5 * z - shift) - (z * r - high * low))
    return float(-value if (int(n) + 1) & 2 else value)


@_elementwise
def tan(x: np.ndarray) -> np.ndarray:
    quadrant, high, low = _reduced(x)
    value = _tan(high, low, quadrant & 1 == 1)
    return np.where(np.abs(x) < 2.0**-28, x, value)


@_elementwise
def exp(x: np.ndarray) -> np.ndarray:
    """e^x; infinite above 709.782712893384, 0 below -745.133219101941."""
    finite = np.clip(np.where(np.isnan(x), 0.0, x), -1100.0, 1100.0)
    k = np.where(np.abs(finite) > 0.5 * (LN2_HIGH + LN2_LOW), _nearest(finite), 0.0)
    high, low = finite - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    t = r * r
    c = r - t * _polynomial(EXP, t)
    y = np.where(k == 0, 1.0 - (r * c / (c - 2.0) - r), 1.0 - ((low - r * c / (2.0 - c)) - high))
    y = _scaled(y, k)
    y = np.where(x > 7.09782712893383973096e02, np.inf, y)
    y = np.where(x < -7.45133219101941108420e02, 0.0, y)
    return np.where(np.isnan(x), np.nan, y)


@_elementwise
def expm1(x: np.ndarray) -> np.ndarray:
    """e^x - 1, also for small x."""
    finite = np.clip(np.where(np.isnan(x), 0.0, x), -60.0, 710.0)
    size = np.abs(finite)
    ln2 = LN2_HIGH + LN2_LOW
    k = np.where(size < 1.5 * ln2, np.sign(finite), _nearest(finite))
    k = np.where(size > 0.5 * ln2, k, 0.0)
    high, low = finite - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    c = (high - r) - low
    half = 0.5 * r
    square = r * half
    r1 = 1.0 + square * _polynomial(EXPM1, square)
    t = 3.0 - r1 * half
    e = square * ((r1 - t) / (6.0 - r * t))
    zero = r - (r * e - square)
    e = (r * (e - c) - c) - square
    scale = _power_of_two(np.clip(-k, -1022, 1022))  # 2^-k
    near = _scaled(np.where(k < 20, (1.0 - scale) - (e - r), (r - (e + scale)) + 1.0), k)
    far = _scaled(1.0 - (e - r), k) - 1.0
    one = np.where(r < -0.25, -2.0 * (e - (r + 0.5)), 1.0 + 2.0 * (r - e))
    y = np.where((k <= -2) | (k > 56), far, near)
    y = np.where(k == 1, one, np.where(k == -1, 0.5 * (r - e) - 0.5, y))
    y = np.where(k == 0, np.where(size < 2.0**-54, finite, zero), y)
    y = np.where(x > 7.09782712893383973096e02, np.inf, np.where(x < -56 * ln2, -1.0, y))
    return np.where(np.isnan(x), np.nan, y)


@_elementwise
def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm; -inf at 0, NaN below."""
    k, f = _mantissa(x)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    y = k * LN2_HIGH - ((half - (s * (half + z * _polynomial(LOG, z)) + k * LN2_LOW)) - f)
    y = np.where(x == np.inf, np.inf, np.where(x == 0, -np.inf, y))
    return np.where((x < 0) | np.isnan(x), np.nan, y)


def log_of_normal(x: np.ndarray) -> np.ndarray:
    """The same of positive, finite numbers that are not subnormal, without looking for others:
    five times as fast for short arrays."""
    bits = x.view(np.int64)
    k, f = _mantissa_of_normal(bits)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    return k * LN2_HIGH - ((half - (s * (half + z * _polynomial(LOG, z)) + k * LN2_LOW)) - f)


def log1p_of_number(x: float) -> float:
    """:func:`log1p` of one number between -1 and 0, by the same operations on Python's floats: a
    hundred times as fast as on an array of one."""
    u = 1.0 + x
    c = (x - (u - 1.0)) / u
    bits = struct.unpack("<q", struct.pack("<d", u))[0]
    if x > -0.2928:
        k, f, c = 0.0, x, 0.0
    else:
        halved = ((bits >> 32 & 0xFFFFF) + 0x95F64) >> 20 & 1
        k = float((bits >> 52) - 1023 + halved)
        mantissa = (bits & 0xFFFFFFFFFFFFF) | ((0x3FF - halved) << 52)
        f = struct.unpack("<d", struct.pack("<q", mantissa))[0] - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    value = LOG[-1]
    for coefficient in LOG[-2::-1]:
        value = coefficient + z * value
    tail = s * (half + z * value)
    if x > -0.2928:
        return x if x > -(2.0**-54) else f - (half - tail)
    return k * LN2_HIGH - ((half - (tail + (k * LN2_LOW + c))) - f)


@_elementwise
def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x), also for small x; -inf at -1, NaN below."""
    valid = np.where((x > -1) & (x < np.inf), x, 0.0)
    u = 1.0 + valid
    c = np.where(u >= 2, 1.0 - (u - valid), valid - (u - 1.0)) / u  # what 1 + x has lost
    k, f = _mantissa(u)
    direct = (valid > -0.2928) & (valid < 0.41421)
    k, f, c = np.where(direct, 0.0, k), np.where(direct, valid, f), np.where(direct, 0.0, c)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    tail = s * (half + z * _polynomial(LOG, z))
    y = k * LN2_HIGH - ((half - (tail + (k * LN2_LOW + c))) - f)
    y = np.where(k == 0, np.where(direct, f - (half - tail), y), y)
    y = np.where(np.abs(x) < 2.0**-54, x, y)
    y = np.where(x == np.inf, np.inf, np.where(x == -1, -np.inf, y))
    return np.where((x < -1) | np.isnan(x), np.nan, y)


@_elementwise
def tanh(x: np.ndarray) -> np.ndarray:
    size = np.minimum(np.where(np.isnan(x), 0.0, np.abs(x)), 22.0)
    large = size >= 1
    t = expm1(np.where(large, 2.0 * size, -2.0 * size))
    y = np.where(large, 1.0 - 2.0 / (t + 2.0), -t / (t + 2.0))
    y = np.copysign(np.where(size >= 22, 1.0, y), x)
    return np.where(np.isnan(x), np.nan, np.where(size < 2.0**-55, x, y))


@_elementwise
def sqrt(x: np.ndarray) -> np.ndarray:
    """numpy's, since IEEE 754 rounds square roots correctly; the sign of its NaN differs."""
    return np.where((x < 0) | np.isnan(x), np.nan, np.sqrt(x))


def geomspace(low: float, high: float, count: int) -> np.ndarray:
    """``count`` numbers from low to high, both positive and included, of equal ratios."""
    values = low * exp(np.linspace(0.0, log(high / low), count))
    values[:1], values[1:][-1:] = low, high
    return values


def sum_rows(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis: (n, ...) -> (...), by adding the second half to the first until one
    row is left (a middle row is added to the first). Unlike with ``np.sum`` the order does not
    depend on the other axes, so a replica has the same sum alone and among others."""
    if not len(values):
        return np.zeros(values.shape[1:])
    while (n := len(values)) > 1:
        half = values[: n // 2] + values[n - n // 2 :]
        if n % 2:
            half[0] += values[n // 2]
        values = half
    return values[0]


def power(x: Any, y: Any) -> Any:
    """x^y, of arrays that broadcast. x^2 is x * x, x^-1 is 1 / x, x^0.5 is sqrt(x) for x >= 0; a
    negative x to a broken power is NaN. The other cases are those of C's ``pow``."""
    base, exponent = np.broadcast_arrays(
        np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    )
    with np.errstate(all="ignore"):
        value = _power(base.ravel(), exponent.ravel())
    return value.reshape(base.shape)[()]


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """fdlibm's e_pow: log2 |x| to 24 more bits, times y in two parts, as a power of 2."""
    size = np.abs(x)
    plain = (size > 0) & (size < np.inf) & (size != 1) & (np.abs(y) < np.inf)
    exponent = np.where(plain, np.clip(y, -(2.0**62), 2.0**62), 1.0)
    log_high, log_low = _log2(np.where(plain, size, 1.0))
    y_high = _high_word(exponent)
    low = (exponent - y_high) * log_high + exponent * log_low
    high = y_high * log_high
    z = low + high
    over = (z > 1024) | ((z == 1024) & (low + 8.0085662595372944372e-17 > z - high))
    under = (z < -1075) | ((z == -1075) & (low <= z - high))
    beyond = over | under
    value = _exp2(np.where(beyond, 0.0, high), np.where(beyond, 0.0, low))
    value = np.where(over, np.inf, np.where(under, 0.0, value))
    growing = (size > 1) == (y > 0)  # of |x|^y in the limits
    limit = np.where(size == 1, 1.0, np.where(growing, np.inf, 0.0))
    value = np.where(plain, value, limit)
    whole = np.floor(y) == y
    odd = whole & (np.abs(y) < 2.0**53) & (np.floor(y / 2) * 2 != y)
    negative = np.signbit(x)
    value = np.where(negative & odd, -value, value)
    value = np.where((x < 0) & ~whole & (size < np.inf), np.nan, value)
    value = np.where(y == 2, x * x, np.where(y == 1, x, np.where(y == -1, 1.0 / x, value)))
    value = np.where((y == 0.5) & (x >= 0), np.sqrt(size), value)
    value = np.where(np.isnan(x) | np.isnan(y), np.nan, value)
    return np.where((y == 0) | (x == 1), 1.0, value)


def _log2(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log2 of positive numbers in two parts, the first with 21 bits."""
    small = x < 2.0**-1022
    x = np.where(small, x * 2.0**53, x)
    bits = x.view(np.int64)
    n = (bits >> 52) - 1023 - 53 * small
    top = (bits >> 32) & 0xFFFFF
    middle, large = (top > 0x3988E) & (top < 0xBB67A), top >= 0xBB67A
    n = (n + large).astype(np.float64)
    bits = (bits & 0xFFFFFFFFFFFFF) | (np.where(large, 0x3FE, 0x3FF) << 52)
    x, center = bits.view(np.float64), np.where(middle, 1.5, 1.0)
    u, v = x - center, 1.0 / (x + center)
    ss = u * v
    s_high = _high_word(ss)
    t_high = ((((bits >> 33) | 0x20000000) + 0x80000 + (middle.astype(np.int64) << 18)) << 32).view(
        np.float64
    )
    t_low = x - (t_high - center)
    s_low = v * ((u - s_high * t_high) - s_high * t_low)
    s2 = ss * ss
    r = s2 * s2 * _polynomial(LOG_OF_POWER, s2) + s_low * (s_high + ss)
    s2 = s_high * s_high
    t_high = _high_word(3.0 + s2 + r)
    t_low = r - ((t_high - 3.0) - s2)
    u, v = s_high * t_high, s_low * t_high + t_low * ss
    p_high = _high_word(u + v)
    p_low = v - (p_high - u)
    z_high = 9.61796700954437255859e-01 * p_high  # 2 / (3 ln 2), its first 24 bits
    z_low = -7.02846165095275826516e-09 * p_high + p_low * 9.61796693925975554329e-01
    z_low = z_low + np.where(middle, 1.35003920212974897128e-08, 0.0)  # log2(1.5) in two parts
    d_high = np.where(middle, 5.84962487220764160156e-01, 0.0)
    high = _high_word(((z_high + z_low) + d_high) + n)
    return high, z_low - (((high - n) - d_high) - z_high)


def _exp2(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """2^(high + low) for sums of size below 1076."""
    z = low + high
    n = np.where(np.abs(z) > 0.5, np.trunc(z + np.copysign(0.5, z)), 0.0)
    high = high - n
    t = _high_word(low + high)
    u = t * 6.93147182464599609375e-01  # ln 2 in two parts
    v = (low - (t - high)) * 6.93147180559945286227e-01 + t * -1.90465429995776804525e-09
    z = u + v
    w = v - (z - u)
    t = z * z
    t1 = z - t * _polynomial(EXP, t)
    r = z * t1 / (t1 - 2.0) - (w + z * w)
    return _scaled(1.0 - (r - z), n)


def _reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x - n pi / 2 as the sum of two numbers, of size at most pi / 4, and n modulo 4."""
    size = np.abs(x)
    plain = np.where(size < LARGE, size, 0.0)
    n = np.where(plain <= 0.25 * np.pi, 0.0, np.floor(plain * (2 / np.pi) + 0.5))
    rest, missing = plain - n * PI_HALF[0][0], n * PI_HALF[0][1]
    high = rest - missing
    for enough, (part, beyond) in zip((2.0**-16, 2.0**-49), PI_HALF[1:], strict=True):
        lost = np.abs(high) < enough * plain  # digits in the difference
        if lost.any():
            next_rest = rest - n * part
            next_missing = n * beyond - ((rest - next_rest) - n * part)
            rest, missing = np.where(lost, next_rest, rest), np.where(lost, next_missing, missing)
            high = rest - missing
    low = (rest - high) - missing
    quadrant = n.astype(np.int64) & 3
    if (large := (size >= LARGE) & (size < np.inf)).any():
        parts = [_reduced_exactly(value) for value in size[large].tolist()]
        quadrant[large], high[large], low[large] = zip(*parts, strict=True)
    high, low = (np.where(x < 0, -part, part) for part in (high, low))
    high = np.where(size < np.inf, high, np.nan)
    return np.where(x < 0, -quadrant, quadrant) & 3, high, low


def _reduced_exactly(x: float) -> tuple[int, float, float]:
    """The same of one number, in integers: pi / 2 to 1300 bits suffices for the largest."""
    pi_half, unit = _pi_half(), 1 << 1300
    numerator, denominator = x.as_integer_ratio()
    scaled = numerator * unit // denominator  # exact: denominators are powers of 2
    n = (2 * scaled + pi_half) // (2 * pi_half)
    rest = scaled - n * pi_half
    high = rest / unit
    top, bottom = high.as_integer_ratio()
    return n & 3, high, (rest - top * unit // bottom) / unit


@cache
def _pi_half() -> int:
    """pi / 2 * 2^1300, rounded down: pi / 4 = 4 arctan(1/5) - arctan(1/239) (Machin 1706)."""

    def arctan_of_inverse(n: int) -> int:
        term, k, total = unit // n, 1, 0
        while term:
            total += term // k if k % 4 == 1 else -(term // k)
            term, k = term // (n * n), k + 2
        return total

    unit = 1 << 1400
    return (8 * arctan_of_inverse(5) - 2 * arctan_of_inverse(239)) >> 100


def _sin(x: np.ndarray, low: np.ndarray) -> np.ndarray:
    """sin(x + low) for |x| <= pi / 4."""
    z = x * x
    v = z * x
    r = _polynomial(SIN[1:], z)
    return x - ((z * (0.5 * low - v * r) - low) - v * SIN[0])


def _cos(x: np.ndarray, low: np.ndarray) -> np.ndarray:
    """cos(x + low) for |x| <= pi / 4."""
    z = x * x
    r = z * _polynomial(COS, z)
    size = np.abs(x)
    quarter = (size.view(np.int64) & ~0xFFFFFFFF).view(np.float64) * 0.25
    shift = np.where(size < 0.3, 0.0, np.where(size > 0.78125, 0.28125, quarter))
    return (1.0 - shift) - ((0.5 * z - shift) - (z * r - x * low))


def _tan(x: np.ndarray, low: np.ndarray, inverted: np.ndarray) -> np.ndarray:
    """tan(x + low) for |x| <= pi / 4, or -1 / tan."""
    sign, big = np.where(x < 0, -1.0, 1.0), np.abs(x) >= 0.6744
    x = np.where(
        big, (0.78539816339744827900 - sign * x) + (3.06161699786838301793e-17 - sign * low), x
    )
    low = np.where(big, 0.0, low)
    z = x * x
    w = z * z
    odd, even = _polynomial(TAN[1::2], w), z * _polynomial(TAN[2::2], w)
    s = z * x
    r = low + z * (s * (odd + even) + low)
    r = r + TAN[0] * s
    w = x + r
    v = np.where(inverted, -1.0, 1.0)
    near_one = sign * (v - 2.0 * (x - (w * w / (w + v) - r)))
    top = _high_word(w)
    missing = r - (top - x)
    a = -1.0 / w
    t = _high_word(a)
    inverse = t + a * ((1.0 + t * top) + t * missing)
    return np.where(big, near_one, np.where(inverted, inverse, w))


def _mantissa(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k and f with x = 2^k (1 + f) and sqrt(1/2) < 1 + f < sqrt(2), for positive finite x."""
    valid = np.where((x > 0) & (x < np.inf), x, 1.0)
    small = valid < 2.0**-1022
    k, f = _mantissa_of_normal(np.where(small, valid * 2.0**54, valid).view(np.int64))
    return k - 54 * small, f


def _mantissa_of_normal(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`_mantissa` of the bits of numbers that are not subnormal."""
    halved = (((bits >> 32) & 0xFFFFF) + 0x95F64) >> 20 & 1
    mantissa = (bits & 0xFFFFFFFFFFFFF) | ((0x3FF - halved) << 52)
    k = (bits >> 52) - 1023 + halved
    return k.astype(np.float64), mantissa.view(np.float64) - 1.0


def _nearest(x: np.ndarray) -> np.ndarray:
    """The integer nearest to x / ln 2."""
    return np.trunc(1.44269504088896338700 * x + np.copysign(0.5, x))


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """c0 + x (c1 + x (c2 + ...))."""
    value: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = coefficient + x * value
    return value


def _high_word(x: np.ndarray) -> np.ndarray:
    """x without its 32 last bits."""
    return (x.view(np.int64) & ~0xFFFFFFFF).view(np.float64)


def _power_of_two(k: np.ndarray) -> np.ndarray:
    """2^k for whole k from -1022 to 1023."""
    return ((k.astype(np.int64) + 1023) << 52).view(np.float64)


def _scaled(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """x 2^k for whole k of size below 2000; in two factors, since 2^1024 is no number and only the
    second may round."""
    first = np.trunc(k / 2)
    return x * _power_of_two(first) * _power_of_two(k - first)
