// Large nets: a vector holds neighbouring units of one layer, and every replica takes all its steps before the next
// begins. Layers are filled up with units whose weights are and stay zero. Matrix products are made tile by tile in
// registers; bias, activation and its derivative are applied before a tile is stored.

constexpr int vectors(int layer) { return layer == LAYERS ? 1 : (UNITS[layer] + LANES - 1) / LANES; }
// Vectors of a layer's weights; the last layer has one unit, its weights are a vector over its inputs.
constexpr int weight_size(int l) { return l == LAYERS - 1 ? vectors(l) : UNITS[l] * vectors(l + 1); }
constexpr int weight_at(int layer) {
    int at = 0;
    for (int l = 0; l < layer; ++l) at += weight_size(l) + vectors(l + 1);
    return at;
}
constexpr int bias_at(int l) { return weight_at(l) + weight_size(l); }
constexpr int hidden_at(int layer) {  // of a hidden layer's outputs among those of all
    int at = 0;
    for (int l = 1; l < layer; ++l) at += ROWS * vectors(l);
    return at;
}
constexpr int transposed_size() {
    int most = 0;
    for (int l = 1; l + 1 < LAYERS; ++l) {
        int size = UNITS[l + 1] * vectors(l);
        most = size > most ? size : most;
    }
    return most;
}
constexpr int COUNT = weight_at(LAYERS), LAST = LAYERS - 1;
constexpr int HIGH = 6, BROAD = 4;  // rows and vectors of a tile: its sums fill 24 of the 32 registers there are
#define UNROLLED _Pragma("GCC unroll 8") for

// The left factor of a product, (rows, depth), at any strides.
struct Left {
    const real* values;
    int row, depth;
};

// finish(i, j, sum over k of left[i, k] right[k, j]) for the tile of M rows and N vectors that begins at (row, column).
template <int M, int N, int DEPTH, int COLUMNS, class Finish>
inline void tile(Left left, const V* right, int row, int column, Finish finish) {
    V sum[M][N] = {};
    const real* a = left.values + row * left.row;
    for (int k = 0; k < DEPTH; ++k) {
        V b[N];
        UNROLLED (int j = 0; j < N; ++j) b[j] = right[k * COLUMNS + column + j];
        UNROLLED (int i = 0; i < M; ++i) {
            V s = splat(a[i * left.row + k * left.depth]);
            UNROLLED (int j = 0; j < N; ++j) sum[i][j] += s * b[j];
        }
    }
    UNROLLED (int i = 0; i < M; ++i) {
        UNROLLED (int j = 0; j < N; ++j) finish(row + i, column + j, sum[i][j]);
    }
}

template <int TALL, int N, int DEPTH, int COLUMNS, class Finish>
inline void strip(Left left, const V* right, int column, Finish finish) {
    int row = 0;
    for (; row + HIGH <= TALL; row += HIGH) tile<HIGH, N, DEPTH, COLUMNS>(left, right, row, column, finish);
    if constexpr (TALL % HIGH) tile<TALL % HIGH, N, DEPTH, COLUMNS>(left, right, row, column, finish);
}

// left (TALL, DEPTH) times right (DEPTH, COLUMNS vectors).
template <int TALL, int DEPTH, int COLUMNS, class Finish>
inline void product(Left left, const V* right, Finish finish) {
    int column = 0;
    for (; column + BROAD <= COLUMNS; column += BROAD) strip<TALL, BROAD, DEPTH, COLUMNS>(left, right, column, finish);
    if constexpr (COLUMNS % BROAD) strip<TALL, COLUMNS % BROAD, DEPTH, COLUMNS>(left, right, column, finish);
}

// One replica: its parameters and buffers, filled up, and what its hidden layers put out.
struct Replica {
    const Call& call;
    int64_t r;
    V *state, *gradient, *hidden, *transposed;
    real* picked;  // if ORDERED, the rows of this step: inputs, then targets and weights
    const real* x;

    template <int l>
    Left inputs() const {  // of layer l: (rows, units)
        if constexpr (l == 0) return {x, UNITS[0], 1};
        return {reinterpret_cast<const real*>(hidden + hidden_at(l)), vectors(l) * LANES, 1};
    }

    template <int l>
    void forward() {
        if constexpr (l < LAST) {
            constexpr int columns = vectors(l + 1);
            const V* bias = state + bias_at(l);
            V* out = hidden + hidden_at(l + 1);
            product<ROWS, UNITS[l], columns>(inputs<l>(), state + weight_at(l), [=](int i, int j, V sum) {
                out[i * columns + j] = activated(sum + bias[j]);
            });
            forward<l + 1>();
        }
    }

    // The last layer forward and back: the gradients of its weights, and the errors of the units below in place of
    // their outputs. Returns the sum of the squares.
    real last(const real* y, const real* weights, real scale) {
        constexpr int columns = vectors(LAST);
        const V *w = state + weight_at(LAST), bias = state[bias_at(LAST)];
        V *h = hidden + hidden_at(LAST), *slopes = gradient + weight_at(LAST);
        real squares = 0, slope = 0;
        for (int i = 0; i < ROWS; ++i, h += columns) {
            V products = {};
            for (int j = 0; j < columns; ++j) products += h[j] * w[j];
            real error = sum(products) + bias[0] - y[i], weighted = WEIGHTED ? error * weights[i] : error;
            squares += error * weighted;
            slope += weighted *= scale;
            for (int j = 0; j < columns; ++j) {
                slopes[j] += h[j] * weighted;
                h[j] = below(w[j] * weighted, h[j]);
            }
        }
        gradient[bias_at(LAST)][0] = slope;
        return squares;
    }

    static real sum(V v) {
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; ++i) v[i] += v[i + half];
        }
        return v[0];
    }

    // From the errors of layer l's units, which lie in place of their outputs, to the gradients of layer l and below.
    template <int l>
    void backward() {
        constexpr int columns = vectors(l + 1), inner = vectors(l);
        const V* error = hidden + hidden_at(l + 1);
        V *weight = state + weight_at(l), *slopes = gradient + weight_at(l), *h = hidden + hidden_at(l);
        for (int i = 0; i < ROWS; ++i) {
            for (int j = 0; j < columns; ++j) gradient[bias_at(l) + j] += error[i * columns + j];
        }
        Left in = inputs<l>();
        product<UNITS[l], ROWS, columns>({in.values, 1, in.row}, error, [=](int i, int j, V sum) {
            slopes[i * columns + j] = sum;
        });
        if constexpr (l > 0) {
            for (int i = 0; i < UNITS[l]; ++i) {
                for (int j = 0; j < UNITS[l + 1]; ++j) {
                    transposed[j * inner + i / LANES][i % LANES] = weight[i * columns + j / LANES][j % LANES];
                }
            }
            product<ROWS, UNITS[l + 1], inner>(inputs<l + 1>(), transposed, [=](int i, int j, V sum) {
                h[i * inner + j] = below(sum, h[i * inner + j]);
            });
            backward<l - 1>();
        }
    }

    void pick(int64_t k) const {
        const int64_t start = call.order.start(k, r), count = call.order.count(k, r);
        const real *from_x = call.x.at(k, r) + start * UNITS[0], *from_y = call.y.at(k, r) + start;
        real *y = picked + ROWS * UNITS[0], *weights = y + ROWS;
        for (int i = 0; i < ROWS; ++i) {
            int64_t row = i < count ? i : 0;
            std::memcpy(picked + i * UNITS[0], from_x + row * UNITS[0], UNITS[0] * sizeof(real));
            y[i] = from_y[row];
            weights[i] = i < count;
        }
    }

    void step(int64_t k) {
        if (ORDERED) pick(k);
        x = ORDERED ? picked : call.x.at(k, r);
        const real* y = ORDERED ? picked + ROWS * UNITS[0] : call.y.at(k, r);
        const real* weights = !WEIGHTED ? nullptr : ORDERED ? y + ROWS : call.weights.at(k, r);
        real n = WEIGHTED ? 0 : ROWS;
        for (int i = 0; WEIGHTED && i < ROWS; ++i) n += weights[i];
        n = call.mean ? n : 1;
        std::memset(gradient, 0, COUNT * sizeof(V));
        forward<0>();
        real squares = last(y, weights, call.slope / n);
        backward<LAST - 1>();
        call.losses[k * call.replicas + r] = squares * real(call.loss) / n;
        update(state, gradient, COUNT, call.factors + 2 * k, call);
    }

    template <class Move>
    void each_number(Move move) const {  // move(number in the filled-up state, where it is in torch's tensors)
        for (int s = 0; s < 2 * LAYERS * (1 + BUFFERS); ++s) {
            int l = s % (2 * LAYERS) / 2, first = COUNT * (s / (2 * LAYERS)) + (s % 2 ? bias_at(l) : weight_at(l));
            int fan_in = s % 2 ? 1 : UNITS[l], out = UNITS[l + 1], row = l == LAST ? 1 : vectors(l + 1) * LANES;
            real *ours = reinterpret_cast<real*>(state + first), *torchs = call.state[s] + r * fan_in * out;
            for (int i = 0; i < fan_in; ++i) {
                for (int j = 0; j < out; ++j) move(ours[i * row + j], torchs[i * out + j]);
            }
        }
    }
};

extern "C" void run(const Call* call) {
    V *state = zeros<V>((1 + BUFFERS) * COUNT), *gradient = zeros<V>(COUNT);
    V *hidden = zeros<V>(hidden_at(LAYERS)), *transposed = zeros<V>(transposed_size());
    real* picked = zeros<real>(ROWS * (UNITS[0] + 2));
    for (int64_t r = call->first; r < call->last; ++r) {
        std::memset(state, 0, (1 + BUFFERS) * COUNT * sizeof(V));  // one that diverged fills layers up with NaN
        Replica replica{*call, r, state, gradient, hidden, transposed, picked, nullptr};
        replica.each_number([](real& ours, real& torchs) { ours = torchs; });
        for (int64_t k = 0; k < call->steps; ++k) replica.step(k);
        replica.each_number([](real& ours, real& torchs) { torchs = ours; });
    }
    std::free(state), std::free(gradient), std::free(hidden), std::free(transposed), std::free(picked);
}
