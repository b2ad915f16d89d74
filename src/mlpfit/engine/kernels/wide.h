// Large nets: a vector holds neighbouring units of one layer, and every replica takes all its steps before the next
// begins. Layers are filled up with units whose weights are and stay zero.

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

// Vectors of a layer's units. Rows that begin at multiples of 2 KiB would share a few lines of the cache.
INLINE int vectors(int units) {
    const int filled = (units + LANES - 1) / LANES;
    return filled % 32 ? filled : filled + 1;
}

// Threads that train one replica together. Each takes a part of the rows, of the units or of the parameters, never a part
// of a sum, so that their number decides no number.
struct Team {
    int size = 1;
    std::atomic<int> arrived{0}, round{0};

    // Until all are here.
    void wait() {
        if (size == 1) return;
        const int now = round;
        if (++arrived == size) arrived = 0, ++round;
        else while (round == now) std::this_thread::yield();
    }

    // Where the part of a thread begins, of so many things in pieces of this size; the next thread's is its end.
    int begin(int thread, int things, int piece) const {
        const int64_t pieces = (things + piece - 1) / piece;
        const int64_t at = pieces * thread / size * piece;
        return at < things ? at : things;
    }
};

// The left factor of a product, (rows, depth), at any strides.
struct Left {
    const real* values;
    int64_t row, depth;
};

// M rows and N vectors of a product from (row, column) on: sums over k, in order, kept in registers until finish() makes
// of them what is stored.
template <int M, int N, class Finish>
INLINE void tile(Left left, const V* right, V* out, int depth, int columns, int row, int column, Finish finish) {
    V sum[M][N] = {};
    const real* a = left.values + row * left.row;
    const V* b = right + column;
    for (int k = 0; k < depth; ++k, a += left.depth, b += columns) {
        _Pragma("GCC unroll 8") for (int i = 0; i < M; ++i) {
            const V s = splat<V>(a[i * left.row]);
            _Pragma("GCC unroll 8") for (int j = 0; j < N; ++j) sum[i][j] = fma(s, b[j], sum[i][j]);
        }
    }
    _Pragma("GCC unroll 8") for (int i = 0; i < M; ++i) {
        _Pragma("GCC unroll 8") for (int j = 0; j < N; ++j) {
            V& to = out[(row + i) * columns + column + j];
            to = finish(sum[i][j], column + j, to);
        }
    }
}

// Tiles whose sums fill most of the registers; their size decides no number.
constexpr int HIGH = 6, BROAD = REGISTERS == 1 ? 4 : 1;

template <int M, int N, class Finish>
INLINE void last_rows(Left left, const V* right, V* out, int rows, int depth, int columns, int row, int column, Finish finish) {
    if (rows - row == M) tile<M, N>(left, right, out, depth, columns, row, column, finish);
    else if constexpr (M > 1) last_rows<M - 1, N>(left, right, out, rows, depth, columns, row, column, finish);
}

template <int N, class Finish>
void strip(Left left, const V* right, V* out, int rows, int depth, int columns, int column, Finish finish) {
    int row = 0;
    for (; row + HIGH <= rows; row += HIGH) tile<HIGH, N>(left, right, out, depth, columns, row, column, finish);
    last_rows<HIGH - 1, N>(left, right, out, rows, depth, columns, row, column, finish);
}

template <int N, class Finish>
INLINE void last_columns(Left left, const V* right, V* out, int rows, int depth, int columns, int column, int end, Finish finish) {
    if (end - column == N) strip<N>(left, right, out, rows, depth, columns, column, finish);
    else if constexpr (N > 1) last_columns<N - 1>(left, right, out, rows, depth, columns, column, end, finish);
}

// Columns first .. end - 1 of out (rows, columns vectors) = finish(left (rows, depth) times right (depth, columns
// vectors), column, what was there).
template <class Finish>
inline void product(Left left, const V* right, V* out, int rows, int depth, int columns, int first, int end, Finish finish) {
    int column = first;
    for (; column + BROAD <= end; column += BROAD) strip<BROAD>(left, right, out, rows, depth, columns, column, finish);
    if constexpr (BROAD > 1) last_columns<BROAD - 1>(left, right, out, rows, depth, columns, column, end, finish);
}

// One replica: its parameters and buffers, filled up, and what its hidden layers put out.
struct Wide {
    const Call& call;
    const Shape shape{call};
    const int rows = shape.rows, inputs = shape.units[0], outputs = shape.units[shape.layers];
    // The layers before this one are matrix products. A last layer of one unit is none: its weights are a vector over
    // its inputs.
    const int last = outputs == 1 ? shape.layers - 1 : shape.layers;
    int weight_at[MOST_LAYERS], bias_at[MOST_LAYERS];  // vectors of a layer among those of the state
    int count = 0;                                     // vectors of the parameters
    V *state, *gradient, *hidden[MOST_LAYERS + 1], *transposed;  // hidden: also several outputs
    real* picked;  // if ordered, the rows of this step: inputs, then targets and weights
    const real *x = nullptr, *y = nullptr, *weights = nullptr;
    real scale = 0, n = 0;  // of this step: of the errors, and by what the loss is divided
    int64_t r = 0;
    Team team;

    int weight_vectors(int l) const {
        return l == last ? vectors(shape.units[l]) : shape.units[l] * vectors(shape.units[l + 1]);
    }

    explicit Wide(const Call& call) : call(call) {
        int most = 0;
        for (int l = 0; l < shape.layers; ++l) {
            weight_at[l] = count, bias_at[l] = count + weight_vectors(l);
            count = bias_at[l] + (l == last ? 1 : vectors(shape.units[l + 1]));
            hidden[l + 1] = l < last ? zeros<V>(rows * vectors(shape.units[l + 1])) : nullptr;
            const int own = l ? vectors(shape.units[l]) : 0, above = shape.units[l + 1] * own;
            most = above > most ? above : most;
        }
        state = zeros<V>((1 + shape.buffers) * count), gradient = zeros<V>(count);
        transposed = zeros<V>(most);
        picked = zeros<real>(rows * (inputs + outputs + 1));
    }
    ~Wide() {
        for (int l = 1; l <= last; ++l) free(hidden[l]);
        free(state), free(gradient), free(transposed), free(picked);
    }

    Left inputs_of(int l, int row) const {  // (rows, units), from this row on
        if (l == 0) return {x + row * inputs, inputs, 1};
        const int width = vectors(shape.units[l]) * LANES;
        return {reinterpret_cast<const real*>(hidden[l]) + row * width, width, 1};
    }

    // Of rows first .. end - 1.
    void forward(int first, int end) {
        for (int l = 0; l < last; ++l) {
            const int columns = vectors(shape.units[l + 1]);
            const V* bias = state + bias_at[l];
            V* out = hidden[l + 1] + first * columns;
            const bool is_hidden = l + 1 < shape.layers;
            product(inputs_of(l, first), state + weight_at[l], out, end - first, shape.units[l], columns, 0, columns,
                    [=](V sum, int j, const V&) __attribute__((always_inline)) {
                        return is_hidden ? activated(shape.activation, shape.leak, sum + bias[j]) : sum + bias[j];
                    });
            if (shape.activation != SIGMOID || !is_hidden) continue;  // the only one that is not 0 at 0
            for (int i = first; i < end; ++i, out += columns) {
                for (int j = shape.units[l + 1]; j < columns * LANES; ++j) out[columns - 1][j % LANES] = 0;
            }
        }
    }

    // The last layer forward and back: the gradients of its weights, and the errors of the units below in place of
    // their outputs. Returns the sum of the penalties.
    real forward_and_back() {
        const int columns = vectors(shape.units[last]);
        const V* w = state + weight_at[last];
        const real bias = state[bias_at[last]][0];
        V *h = hidden[last], *slopes = gradient + weight_at[last];
        Single sum = {};
        real slope = 0;
        for (int i = 0; i < rows; ++i, h += columns) {
            V products = {};
            for (int j = 0; j < columns; ++j) products = fma(h[j], w[j], products);
            const real scaled = error_of(sum_of_lanes(products) + bias, y[i], i, sum);
            slope += scaled;
            const V broad = splat<V>(scaled);
            for (int j = 0; j < columns; ++j) {
                slopes[j] = fma(h[j], broad, slopes[j]);
                h[j] = below(shape.activation, shape.leak, w[j] * broad, h[j]);
            }
        }
        gradient[bias_at[last]][0] = slope;
        return sum[0];
    }

    // Several outputs: their errors in place of them. Returns the sum of the penalties.
    real errors_of_outputs() {
        const int width = vectors(outputs) * LANES;
        real* out = reinterpret_cast<real*>(hidden[last]);
        Single sum = {};
        for (int i = 0; i < rows; ++i, out += width) {
            for (int o = 0; o < outputs; ++o) out[o] = error_of(out[o], y[i * outputs + o], i, sum);
        }
        return sum[0];
    }

    // The derivative of the loss of row i by z, an output before its activation; the penalty of its error is added to
    // the sum.
    INLINE real error_of(real z, real target, int i, Single& sum) const {
        const Single unit = activated(shape.output, shape.leak, splat<Single>(z));
        const real error = unit[0] - target;
        const real pulled = pull(shape.kind, shape.delta, splat<Single>(error))[0];
        sum = added_penalty(shape, splat<Single>(error), splat<Single>(shape.weighted ? weights[i] : real(1)), sum);
        const real scaled = (shape.weighted ? pulled * weights[i] : pulled) * scale;
        return below(shape.output, shape.leak, splat<Single>(scaled), unit)[0];
    }

    // From the errors of the units above a layer, which lie in place of their outputs, to the layer's gradients and the
    // errors of the units below it.
    void backward(int thread) {
        for (int l = last - 1; l >= 0; --l) {
            const int columns = vectors(shape.units[l + 1]), inner = vectors(shape.units[l]);
            const V* error = hidden[l + 1];
            V *weight = state + weight_at[l], *slopes = gradient + weight_at[l], *bias = gradient + bias_at[l];
            const int column = team.begin(thread, columns, BROAD), column_end = team.begin(thread + 1, columns, BROAD);
            for (int i = 0; i < rows; ++i) {
                for (int j = column; j < column_end; ++j) bias[j] += error[i * columns + j];
            }
            const Left in = inputs_of(l, 0);
            product({in.values, 1, in.row}, error, slopes, shape.units[l], rows, columns, column, column_end,
                    [](V sum, int, const V&) __attribute__((always_inline)) { return sum; });
            if (l == 0) break;
            const int unit_end = team.begin(thread + 1, shape.units[l], LANES);
            for (int i = team.begin(thread, shape.units[l], LANES); i < unit_end; ++i) {
                for (int j = 0; j < shape.units[l + 1]; ++j) {
                    transposed[j * inner + i / LANES][i % LANES] = weight[i * columns + j / LANES][j % LANES];
                }
            }
            team.wait();
            const int row = team.begin(thread, rows, HIGH), row_end = team.begin(thread + 1, rows, HIGH);
            product(inputs_of(l + 1, row), transposed, hidden[l] + row * inner, row_end - row, shape.units[l + 1], inner, 0,
                    inner, [=](V sum, int, const V& h) __attribute__((always_inline)) { return below(shape.activation, shape.leak, sum, h); });
            team.wait();
        }
    }

    void pick(int64_t k) {
        const int64_t start = call.order.start(k, r), length = call.order.count(k, r);
        const real *from_x = call.x.at(k, r) + start * inputs, *from_y = call.y.at(k, r) + start * outputs;
        real *to_y = picked + rows * inputs, *to_weights = to_y + rows * outputs;
        for (int i = 0; i < rows; ++i) {
            const int64_t row = i < length ? i : 0;
            memcpy(picked + i * inputs, from_x + row * inputs, inputs * sizeof(real));
            memcpy(to_y + i * outputs, from_y + row * outputs, outputs * sizeof(real));
            to_weights[i] = i < length;
        }
    }

    void begin(int64_t k) {
        if (shape.ordered) pick(k);
        x = shape.ordered ? picked : call.x.at(k, r);
        y = shape.ordered ? picked + rows * inputs : call.y.at(k, r);
        weights = !shape.weighted ? nullptr : shape.ordered ? y + rows * outputs : call.weights.at(k, r);
        n = shape.weighted ? 0 : rows;
        for (int i = 0; shape.weighted && i < rows; ++i) n += weights[i];
        n = call.mean ? n : 1;
        scale = real(call.slope) / n;
        memset(gradient, 0, count * sizeof(V));
    }

    // A thread's share of a step; what can't be shared is the first one's.
    void step(int64_t k, int thread) {
        if (thread == 0) begin(k);
        team.wait();
        forward(team.begin(thread, rows, HIGH), team.begin(thread + 1, rows, HIGH));
        team.wait();
        if (thread == 0) {
            const real sum = outputs == 1 ? forward_and_back() : errors_of_outputs();
            call.losses[k * call.replicas + r] = canonical(sum * real(call.loss) / n);
        }
        team.wait();
        backward(thread);
        team.wait();
        const int first = team.begin(thread, count, 1), end = team.begin(thread + 1, count, 1);
        update(shape, state, gradient, count, first, end, call.factors + FACTORS * k, call);
        team.wait();
    }

    template <class Move>
    void each_number(Move move) const {  // move(number in the filled-up state, the one in torch's tensors)
        for (int s = 0; s < 2 * shape.layers * (1 + shape.buffers); ++s) {
            const int l = s % (2 * shape.layers) / 2, fan_in = s % 2 ? 1 : shape.units[l], out = shape.units[l + 1];
            const int at = count * (s / (2 * shape.layers)) + (s % 2 ? bias_at[l] : weight_at[l]);
            const int row = l == last ? 1 : vectors(out) * LANES;
            real *ours = reinterpret_cast<real*>(state + at), *torchs = call.state[s] + r * fan_in * out;
            for (int i = 0; i < fan_in; ++i) {
                for (int j = 0; j < out; ++j) move(ours[i * row + j], torchs[i * out + j]);
            }
        }
    }

    void train(int thread) {
        for (int64_t replica = call.first; replica < call.last; ++replica) {
            if (thread == 0) {
                r = replica;
                memset(state, 0, (1 + shape.buffers) * count * sizeof(V));  // one that diverged fills layers up with NaN
                each_number([](real& ours, real& torchs) { ours = torchs; });
            }
            for (int64_t k = 0; k < call.steps; ++k) step(k, thread);
            if (thread == 0) each_number([](real& ours, real& torchs) { torchs = canonical(ours); });
        }
    }

    void run() {
        std::vector<std::thread> others;
        std::atomic<bool> complete{false};  // the team's size is known
        try {
            for (int thread = 1; thread < call.threads; ++thread) {
                others.emplace_back([this, thread, &complete] {
                    const DefaultArithmetic arithmetic;
                    while (!complete) std::this_thread::yield();
                    train(thread);
                });
                ++team.size;
            }
        } catch (const std::system_error&) {  // the process may have no more
        }
        complete = true;
        train(0);
        for (std::thread& other : others) other.join();
    }
};

EXPORTED void run_wide(const Call* call) {
    const DefaultArithmetic arithmetic;
    Wide(*call).run();
}
