// What all kernels share: vectors, the arguments of a call, activations, losses, the updates of the optimisers.
//
// Every result is a fixed sequence of IEEE operations: additions in the order written, products and sums separate
// (compiled with -ffp-contract=off) unless fma() says otherwise, and no function of libm but sqrt. So all compilers and
// processors compute the same bits; they differ in how many lanes they take at a time.
//
// compiler.py writes `using real = ...;` before this file and, to specialise a kernel, one problem's constants.
#include <fenv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Options of the compiler that no later one takes back.
static_assert(0.1 != 0.1f, "-fsingle-precision-constant changes the results");
static_assert(__FLT_EVAL_METHOD__ < 1 || __FLT_EVAL_METHOD__ > 2, "-mfpmath=387 changes the results");

#define INLINE inline __attribute__((always_inline))
#define EXPORTED extern "C" __attribute__((visibility("default")))

// The widest vector registers of the processor. A V has 64 bytes everywhere, in one to four of them.
#if defined(__AVX512F__)
constexpr int WIDTH = 64;
#elif defined(__AVX__)
constexpr int WIDTH = 32;
#else
constexpr int WIDTH = 16;
#endif
typedef real Register __attribute__((vector_size(WIDTH)));
template <int BYTES> struct UnsignedOf { using type = uint32_t; };
template <> struct UnsignedOf<8> { using type = uint64_t; };
using Unsigned = UnsignedOf<sizeof(real)>::type;  // as wide as a real
typedef Unsigned UnsignedRegister __attribute__((vector_size(WIDTH)));

// Numbers that are computed together, in PARTS registers, or a single one: Vector<real, 1>.
template <class Part, int PARTS>
struct alignas(sizeof(Part) * PARTS) Vector {
    static constexpr int lanes = sizeof(Part) / sizeof(real) * PARTS;
    Part part[PARTS];
    Vector() = default;
    // Part by part: g++ copies a whole array in pieces of 16 bytes, and a load that takes two such stores waits for both.
    INLINE Vector(const Vector& from) { *this = from; }
    INLINE Vector& operator=(const Vector& from) {
        for (int i = 0; i < PARTS; ++i) part[i] = from.part[i];
        return *this;
    }
    real& operator[](int lane) { return reinterpret_cast<real*>(part)[lane]; }
    real operator[](int lane) const { return reinterpret_cast<const real*>(part)[lane]; }
};
constexpr int REGISTERS = 64 / WIDTH;
using V = Vector<Register, REGISTERS>;
using OneRegister = Vector<Register, 1>;
using Single = Vector<real, 1>;
constexpr int LANES = V::lanes;
constexpr int TILE = 5;  // rows whose sums are taken together in small nets
#define EACH_ROW _Pragma("GCC unroll 8") for (int t = 0; t < TILE; ++t)

#define NUMBERS template <class Part, int PARTS> INLINE
#define EACH_PART _Pragma("GCC unroll 4") for (int i = 0; i < PARTS; ++i)
NUMBERS Vector<Part, PARTS> operator+(Vector<Part, PARTS> a, Vector<Part, PARTS> b) { EACH_PART a.part[i] += b.part[i]; return a; }
NUMBERS Vector<Part, PARTS> operator-(Vector<Part, PARTS> a, Vector<Part, PARTS> b) { EACH_PART a.part[i] -= b.part[i]; return a; }
NUMBERS Vector<Part, PARTS> operator*(Vector<Part, PARTS> a, Vector<Part, PARTS> b) { EACH_PART a.part[i] *= b.part[i]; return a; }
NUMBERS Vector<Part, PARTS> operator/(Vector<Part, PARTS> a, Vector<Part, PARTS> b) { EACH_PART a.part[i] /= b.part[i]; return a; }
NUMBERS Vector<Part, PARTS>& operator+=(Vector<Part, PARTS>& a, Vector<Part, PARTS> b) { return a = a + b; }
NUMBERS Vector<Part, PARTS>& operator*=(Vector<Part, PARTS>& a, Vector<Part, PARTS> b) { return a = a * b; }
template <class N>
INLINE N splat(real value) {
    N v;
    for (auto& part : v.part) part = value - __typeof__(part + part){};  // not + 0, which would make 0 of -0
    return v;
}

typedef Register Anywhere __attribute__((aligned(sizeof(real)), may_alias));  // at any address
template <class N>
INLINE N load(const real* from) {
    N v;
    for (auto& part : v.part) part = *reinterpret_cast<const Anywhere*>(from), from += WIDTH / sizeof(real);
    return v;
}

// a * b + c, rounded once.
INLINE real fma(real a, real b, real c) {
    if constexpr (sizeof(real) == 4) return __builtin_fmaf(a, b, c);
    else return __builtin_fma(a, b, c);
}
INLINE Register fma(Register a, Register b, Register c) {
    for (unsigned i = 0; i < WIDTH / sizeof(real); ++i) c[i] = fma(a[i], b[i], c[i]);
    return c;
}
NUMBERS Vector<Part, PARTS> fma(Vector<Part, PARTS> a, Vector<Part, PARTS> b, Vector<Part, PARTS> c) {
    EACH_PART c.part[i] = fma(a.part[i], b.part[i], c.part[i]);
    return c;
}

INLINE real root(real v) {
    if constexpr (sizeof(real) == 4) return __builtin_sqrtf(v);
    else return __builtin_sqrt(v);
}
INLINE Register root(Register v) {
    for (unsigned i = 0; i < WIDTH / sizeof(real); ++i) v[i] = root(v[i]);
    return v;
}
NUMBERS Vector<Part, PARTS> root(Vector<Part, PARTS> v) { EACH_PART v.part[i] = root(v.part[i]); return v; }

// Sum of the lanes: the upper half onto the lower one, until one is left.
INLINE real sum_of_lanes(V v) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) v[i] += v[i + half];
    }
    return v[0];
}

// Processors make NaNs of different signs and payloads; stored ones are all the same.
INLINE real canonical(real value) {
    if constexpr (sizeof(real) == 4) return value == value ? value : __builtin_nanf("");
    else return value == value ? value : __builtin_nan("");
}

// Zeros, at addresses that vectors need.
template <class T>
T* zeros(size_t count) {
    size_t bytes = (count * sizeof(T) + 64) / 64 * 64;
    return static_cast<T*>(memset(aligned_alloc(64, bytes), 0, bytes));
}

// The processor's default arithmetic while it lives: to nearest, subnormal numbers not flushed, whatever the process has
// set for itself.
struct DefaultArithmetic {
    fenv_t before;
    DefaultArithmetic() { fegetenv(&before), fesetenv(FE_DFL_ENV); }
    ~DefaultArithmetic() { fesetenv(&before); }
};

// A tensor (steps, R, ...): values of step k and replica r begin at k step + r replica.
struct Rows {
    const real* values;
    int64_t step, replica;
    const real* at(int64_t k, int64_t r) const { return values + k * step + r * replica; }
};

// If ordered, which of its rows replica r sees in step k: count(k, r) of them from start(k, r) on. A batch of fewer rows
// than others is filled up with its first row, at weight 0.
struct Order {
    const int64_t *starts, *lengths;  // (R, steps)
    int64_t steps;
    int64_t start(int64_t k, int64_t r) const { return starts[r * steps + k]; }
    int64_t count(int64_t k, int64_t r) const { return lengths[r * steps + k]; }
};

enum Activation { IDENTITY, RELU, TANH, SIGMOID, LEAKY_RELU };
enum Loss { SQUARES, ABSOLUTE, HUBER };
enum Optimizer { SGD, ADAM, ADAMW, RMSPROP };
constexpr int FACTORS = 3;  // of a step's update, see update.h

// Arguments of run() (steps.py: Call): all steps of the replicas first .. last - 1.
struct Call {
    int64_t steps, first, last, replicas;
    Rows x, y, weights;   // (steps, R, rows, d), (steps, R, rows, o), (steps, R, rows); a slice of these if ordered
    Order order;
    real* const* state;   // the parameters, then each of the optimiser's buffers of all of them: (R, in, out) each
    const real* factors;  // (steps, FACTORS)
    real* losses;         // (steps, R), before each update
    double loss, slope;   // the loss is loss x the sum of penalty(error), its derivative slope x pull(error), both
    int64_t mean;         // divided by the rows (by the sum of their weights) if mean
    double delta;         // of Huber's loss
    double leak;          // slope of leaky_relu below 0
    double beta1, beta2, eps, decay;
    int64_t layers, rows, buffers, activation, output;  // the problem's shape: output is the last layer's activation,
    int64_t kind, optimizer;                            // kind that of the loss,
    int64_t decayed, nesterov, weighted, ordered;
    const int64_t* units;                                        // widths from input to output
    int64_t threads;      // that may work on one replica
};

constexpr int MOST_LAYERS = 64;

// The shape of the problem: constants if the kernel is specialised for one, else what the call says.
#ifdef UNITS
struct Shape {
    static constexpr int units[] = UNITS;
    static constexpr int layers = sizeof(units) / sizeof(int) - 1, rows = ROWS, buffers = BUFFERS;
    static constexpr int activation = ACTIVATION, output = OUTPUT, kind = KIND, optimizer = OPTIMIZER;
    static constexpr bool decayed = DECAYED, nesterov = NESTEROV, weighted = WEIGHTED, ordered = ORDERED;
    real leak, delta;
    explicit Shape(const Call& call) : leak(call.leak), delta(call.delta) {}
};
#else
struct Shape {
    int units[MOST_LAYERS + 1];
    int layers, rows, buffers, activation, output, kind, optimizer;
    bool decayed, nesterov, weighted, ordered;
    real leak, delta;
    explicit Shape(const Call& call)
        : layers(call.layers), rows(call.rows), buffers(call.buffers), activation(call.activation), output(call.output),
          kind(call.kind), optimizer(call.optimizer), decayed(call.decayed), nesterov(call.nesterov), weighted(call.weighted),
          ordered(call.ordered), leak(call.leak), delta(call.delta) {
        for (int l = 0; l <= layers; ++l) units[l] = call.units[l];
    }
};
#endif
