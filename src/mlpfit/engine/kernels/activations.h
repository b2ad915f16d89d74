// Activations, losses and their derivatives, from + - * / alone.

// Subnormal numbers (below 2^-126, in double precision 2^-1022) as zero. On many processors an operation on one takes a
// hundred times as long, and the momentum of a unit that stays dead decays into them and stays there. No result can
// feel it. SGD: a momentum of that size, times a learning rate of at most 1, changes no parameter above 2^-101. Adam:
// divided by eps = 1e-8 it changes none above 2^-74, and the root of such a second moment is below 2^-63, which adds
// nothing to eps; RMSprop likewise. A parameter that decays to such a size adds less than 2^-100 to what it enters.
// (In double precision, all the more.)
NUMBERS Vector<Part, PARTS> flushed(Vector<Part, PARTS> v) {
    constexpr real tiny = sizeof(real) == 4 ? real(0x1p-126) : real(0x1p-1022);
    EACH_PART {
        const Part size = v.part[i] < 0 ? -v.part[i] : v.part[i];
        v.part[i] = size < tiny ? Part{} : v.part[i];
    }
    return v;
}

// e^r - 1 and power = 2^k for y in [-88, 0] (double: [-708, 0]): y = k ln 2 + r with |r| <= ln 2 / 2, and the Taylor
// polynomial of e^r - 1, whose remainder is below a quarter of the last digit. k ln 2 is subtracted in two pieces, as
// in Cody and Waite (1980), chapter 6.
template <class Part, class Bits>
INLINE Part reduced_exp(Part y, Part& power) {
    constexpr bool single = sizeof(real) == 4;
    constexpr real high = single ? real(0x1.62e4p-1) : real(0x1.62e42fee00000p-1);
    constexpr real low = single ? real(0x1.7f7d1cp-20) : real(0x1.a39ef35793c76p-33);
    // Adding 1.5 times 2 to the number of digits rounds to an integer, in the lowest bits.
    constexpr real rounder = single ? real(0x1.8p23) : real(0x1.8p52);
    constexpr real log2e = real(0x1.71547652b82fep0);
    Part shifted = y * log2e + rounder, k = shifted - rounder;
    Part r = (y - k * high) - k * low;
    constexpr int terms = single ? 7 : 13;
    constexpr double inverse[] = {1, 1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9, 1. / 10, 1. / 11,
                                  1. / 12, 1. / 13};
    Part p = Part{} + 1;
    _Pragma("GCC unroll 16") for (int n = terms - 1; n > 0; --n) p = p * r * real(inverse[n]) + real(1);
    Bits exponent;
    memcpy(&exponent, &shifted, sizeof exponent);
    constexpr int digits = single ? 23 : 52;
    constexpr auto bias = single ? 127 : 1023;
    exponent = (exponent + bias) << digits;  // the other bits of shifted are shifted out
    memcpy(&power, &exponent, sizeof power);
    return p * r;
}

// tanh z = -t / (2 + t) with t = e^(-2|z|) - 1, within 4 units of the last digit (of eight million
// arguments none was off by more than 3).
template <class Part, class Bits>
INLINE Part tanh(Part z) {
    constexpr real most = sizeof(real) == 4 ? real(10) : real(20);  // from there on it is 1
    Part size = z < 0 ? -z : z;
    Part power, p = reduced_exp<Part, Bits>((size < most ? size : Part{} + most) * real(-2), power);
    Part t = p * power + (power - real(1));
    Part h = -t / (t + real(2));
    h = z < 0 ? -h : h;
    return z == z ? h : z;  // NaN stays NaN
}

// e^z / (1 + e^z) with e^-|z|, within 4 units of the last digit. Below -60 (double: -600) it is 0 and not less than
// 1e-26: like the 1 that it is above 17, this leaves a unit no gradient instead of one that turns subnormal.
template <class Part, class Bits>
INLINE Part sigmoid(Part z) {
    constexpr real most = sizeof(real) == 4 ? real(60) : real(600);
    Part size = z < 0 ? -z : z;
    Part power, p = reduced_exp<Part, Bits>(-(size < most ? size : Part{} + most), power);
    Part e = p * power + power;
    Part h = (z < 0 ? e : Part{} + real(1)) / (e + real(1));
    h = z < -most ? Part{} : h;
    return z == z ? h : z;  // NaN stays NaN
}

__attribute__((noinline)) static Register tanh(Register z) { return tanh<Register, UnsignedRegister>(z); }
__attribute__((noinline)) static real tanh(real z) { return tanh<real, Unsigned>(z); }
__attribute__((noinline)) static Register sigmoid(Register z) { return sigmoid<Register, UnsignedRegister>(z); }
__attribute__((noinline)) static real sigmoid(real z) { return sigmoid<real, Unsigned>(z); }

// leak: slope of leaky_relu below 0, at least 0.
NUMBERS Vector<Part, PARTS> activated(int activation, real leak, Vector<Part, PARTS> z) {
    if (activation == RELU) EACH_PART z.part[i] = z.part[i] < 0 ? Part{} : z.part[i];  // NaN stays NaN
    if (activation == TANH) EACH_PART z.part[i] = tanh(z.part[i]);
    if (activation == SIGMOID) EACH_PART z.part[i] = sigmoid(z.part[i]);
    if (activation == LEAKY_RELU) EACH_PART z.part[i] = z.part[i] < 0 ? z.part[i] * leak : z.part[i];
    return z;
}

// The error through the activation whose output is h.
NUMBERS Vector<Part, PARTS> below(int activation, real leak, Vector<Part, PARTS> error, Vector<Part, PARTS> h) {
    if (activation == RELU) EACH_PART error.part[i] = h.part[i] > 0 ? error.part[i] : Part{};
    if (activation == TANH) EACH_PART error.part[i] = error.part[i] * (real(1) - h.part[i] * h.part[i]);
    if (activation == SIGMOID) EACH_PART error.part[i] = error.part[i] * (h.part[i] * (real(1) - h.part[i]));
    if (activation == LEAKY_RELU) EACH_PART error.part[i] = h.part[i] > 0 ? error.part[i] : error.part[i] * leak;
    return error;
}

// What an error adds to the loss, but for a factor: e^2, |e|, or Huber's (1964) e^2 / 2 up to delta, beyond it
// delta (|e| - delta / 2): with d = min(|e|, delta) both are d (|e| - d / 2).
NUMBERS Vector<Part, PARTS> penalty(int kind, real delta, Vector<Part, PARTS> error) {
    EACH_PART {
        const Part e = error.part[i], size = e < 0 ? -e : e, d = size > delta ? Part{} + delta : size;
        error.part[i] = kind == ABSOLUTE ? size : d * (size - d * real(0.5));
    }
    return error;
}

// Its derivative, but for a factor: e, the sign of e (0 at 0), or e cut off at delta.
NUMBERS Vector<Part, PARTS> pull(int kind, real delta, Vector<Part, PARTS> error) {
    if (kind == SQUARES) return error;
    const real most = kind == ABSOLUTE ? real(1) : delta;
    EACH_PART {
        const Part e = error.part[i];
        if (kind == ABSOLUTE) error.part[i] = e > 0 ? Part{} + most : e < 0 ? Part{} - most : e;
        else error.part[i] = e > most ? Part{} + most : e < -most ? Part{} - most : e;
    }
    return error;
}

// Adds an error of this weight to a sum of penalties.
template <class N>
INLINE N added_penalty(const Shape& shape, N error, N weight, N sum) {
    if (shape.kind == SQUARES) return fma(error, shape.weighted ? error * weight : error, sum);
    const N cost = penalty(shape.kind, shape.delta, error);
    return sum + (shape.weighted ? cost * weight : cost);
}
