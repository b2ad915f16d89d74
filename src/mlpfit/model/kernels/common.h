// What both kernels share. Before it, compiled.py writes the constants of one shape of problem: real, UNITS, ROWS,
// BUFFERS, ACTIVATION, ADAM, WEIGHTED, ORDERED.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

typedef real V __attribute__((vector_size(64)));  // the widest registers there are; others take it in parts
constexpr int LANES = 64 / sizeof(real);
constexpr int LAYERS = sizeof(UNITS) / sizeof(int) - 1;

// A tensor (steps, R, ...): values of step k and replica r begin at k step + r replica.
struct Rows {
    const real* values;
    int64_t step, replica;
    const real* at(int64_t k, int64_t r) const { return values + k * step + r * replica; }
};

// If ORDERED, which of its rows replica r sees in step k: count(k, r) of them from start(k, r) on. A batch of fewer than
// ROWS is filled up with the first of them, at weight 0.
struct Order {
    const int64_t *starts, *lengths;  // (R, steps)
    int64_t steps;
    int64_t start(int64_t k, int64_t r) const { return starts[r * steps + k]; }
    int64_t count(int64_t k, int64_t r) const { return lengths[r * steps + k]; }
};

// What run() is given (compiled.Call): all steps of the replicas first .. last - 1.
struct Call {
    int64_t steps, first, last, replicas;
    Rows x, y, weights;   // (steps, R, ROWS, d), (steps, R, ROWS, 1), (steps, R, ROWS); a slice of these if ORDERED
    Order order;
    real* const* state;   // the parameters, then each of the optimiser's buffers of all of them: (R, in, out) each
    const real* factors;  // (steps, 2), see CompiledSteps._factors
    real* losses;         // (steps, R), before each update
    double loss, slope;   // the loss is loss x squares, its derivative slope x error, both
    int64_t mean;         // divided by the rows (by the sum of their weights) if mean
    double beta1, beta2, eps;
};

inline V splat(real value) { return V{} + value; }

inline V activated(V z) {
    if constexpr (ACTIVATION == RELU) return z < 0 ? V{} : z;  // NaN stays NaN
    if constexpr (ACTIVATION == TANH) {
        for (int i = 0; i < LANES; ++i) z[i] = std::tanh(z[i]);
    }
    return z;
}

inline V below(V error, V h) {  // error through the activation whose output is h
    if constexpr (ACTIVATION == RELU) return h > 0 ? error : V{};
    if constexpr (ACTIVATION == TANH) return error * (1 - h * h);
    return error;
}

inline V root(V v) {
    for (int i = 0; i < LANES; ++i) v[i] = std::sqrt(v[i]);
    return v;
}

// One update of `count` vectors of parameters. SGD: buffer = momentum buffer + gradient, p = p - lr buffer, with
// f = (lr, momentum). Adam: Kingma and Ba (2015), algorithm 1, as torch.optim.Adam writes it, with
// f = (lr / (1 - beta1^t), sqrt(1 - beta2^t)).
inline void update(V* state, const V* gradient, int count, const real* f, const Call& call) {
    V *p = state, *m = state + count, *v = state + 2 * count;
    const real beta1 = call.beta1, rest1 = 1 - call.beta1, beta2 = call.beta2, rest2 = 1 - call.beta2, eps = call.eps;
    for (int i = 0; i < count; ++i) {
        V g = gradient[i];
        if constexpr (ADAM) {
            m[i] = beta1 * m[i] + rest1 * g;
            v[i] = beta2 * v[i] + rest2 * g * g;
            p[i] -= f[0] * m[i] / (root(v[i]) / f[1] + eps);
        } else {
            if constexpr (BUFFERS == 1) g = m[i] = f[1] * m[i] + g;
            p[i] -= f[0] * g;
        }
    }
}

// Zeros, at addresses that vectors need.
template <class T>
T* zeros(size_t count) {
    size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    return static_cast<T*>(std::memset(std::aligned_alloc(64, bytes), 0, bytes));
}
