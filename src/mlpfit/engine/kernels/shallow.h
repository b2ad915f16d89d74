// One replica of a net with one hidden layer and one output, with the bits that narrow.h gives it: every sum has the
// same terms in the same order. A vector holds neighbouring rows on the way forward, where sums go over the units, and
// neighbouring units on the way back, where they go over the rows. What the hidden units put out is computed in both
// ways, which is quicker than to turn it around.

struct Shallow {
    using N = OneRegister;  // neighbours
    static constexpr int PARTS = TILE <= N::lanes ? 1 : TILE <= 2 * N::lanes ? 2 : 4;
    using Tile = Vector<Register, PARTS>;  // the rows of a tile, and some of the next

    const Call& call;
    const Shape shape{call};
    const int inputs = shape.units[0], hidden = shape.units[1], rows = shape.rows;
    const int filled = (rows + TILE - 1) / TILE * TILE, lines = (filled + N::lanes - 1) / N::lanes;
    const int length = lines * N::lanes + Tile::lanes;              // of the rows, filled up with zeros
    const int columns = (hidden + N::lanes - 1) / N::lanes;         // vectors of the hidden units
    const int count = (inputs + 2) * columns + 1;                   // of the parameters: one more holds the last bias
    N *state = zeros<N>((1 + shape.buffers) * count), *gradient = zeros<N>(count);
    real *x = zeros<real>(filled * inputs), *x_columns = zeros<real>(inputs * length);  // (rows, inputs), and turned
    real *y = zeros<real>(length), *weights = zeros<real>(length);
    real *out = zeros<real>(length), *errors = zeros<real>(length), *slopes = zeros<real>(length);
    int64_t r = 0;

    explicit Shallow(const Call& call) : call(call) {}
    ~Shallow() {
        free(state), free(gradient), free(x), free(x_columns), free(y), free(weights);
        free(out), free(errors), free(slopes);
    }

    // Of the net, or of its gradient: weights of an input, biases, weights to the output, its bias.
    N* weights_of(N* of, int input) const { return of + input * columns; }
    N* biases(N* of) const { return of + inputs * columns; }
    N* above(N* of) const { return of + (inputs + 1) * columns; }
    real& last_bias(N* of) const { return of[(inputs + 2) * columns][0]; }
    static N* line(real* values, int number) { return reinterpret_cast<N*>(values) + number; }
    static real number(const N* values, int unit) { return reinterpret_cast<const real*>(values)[unit]; }

    // Outputs of LINES vectors of rows.
    template <int ACTIVATION, int LINES>
    INLINE void forward(int first) {
        N sum[LINES];
        _Pragma("GCC unroll 4") for (int i = 0; i < LINES; ++i) sum[i] = splat<N>(last_bias(state));
        for (int j = 0; j < hidden; ++j) {
            N z[LINES];
            _Pragma("GCC unroll 4") for (int i = 0; i < LINES; ++i) z[i] = splat<N>(number(biases(state), j));
            for (int c = 0; c < inputs; ++c) {
                const N w = splat<N>(number(weights_of(state, c), j)), *column = line(x_columns + c * length, first);
                _Pragma("GCC unroll 4") for (int i = 0; i < LINES; ++i) z[i] = fma(column[i], w, z[i]);
            }
            const N w = splat<N>(number(above(state), j));
            _Pragma("GCC unroll 4") for (int i = 0; i < LINES; ++i) {
                sum[i] = fma(activation<ACTIVATION>(z[i]), w, sum[i]);
            }
        }
        _Pragma("GCC unroll 4") for (int i = 0; i < LINES; ++i) line(out, first)[i] = sum[i];
    }

    static constexpr int ANY = -1;  // the activation of the call, else this one
    template <int ACTIVATION>
    INLINE N activation(N z) const {
        return activated(ACTIVATION == ANY ? shape.activation : ACTIVATION, shape.leak, z);
    }

    // Errors of the output, times what the loss makes of them. Returns the loss's sum.
    real errors_of_output(real scale) {
        for (int i = 0; i < lines; ++i) {
            N& unit = *line(out, i);
            unit = activated(shape.output, shape.leak, unit);
            *line(errors, i) = unit - *line(y, i);
        }
        for (int i = rows; i < filled; ++i) errors[i] = 0;
        for (int i = 0; i < lines; ++i) {
            const N pulled = pull(shape.kind, shape.delta, *line(errors, i));
            const N weighted = shape.weighted ? pulled * *line(weights, i) : pulled;
            *line(slopes, i) = below(shape.output, shape.leak, weighted * splat<N>(scale), *line(out, i));
        }
        Tile sums = {};
        for (int row = 0; row < filled; row += TILE) {
            sums = added_penalty(shape, load<Tile>(errors + row), load<Tile>(weights + row), sums);
            real slope = 0;
            EACH_ROW slope += slopes[row + t];
            last_bias(gradient) += slope;
        }
        real sum = 0;
        EACH_ROW sum += sums[t];
        return sum;
    }

    // The gradients of a vector of hidden units.
    template <int ACTIVATION>
    INLINE void backward(int column) {
        const N bias = biases(state)[column];
        N above_slope = {}, bias_slope = {};
        for (int row = 0; row < filled; row += TILE) {
            N own[TILE], above_part = {}, bias_part = {};
            EACH_ROW own[t] = bias;
            for (int c = 0; c < inputs; ++c) {
                const N w = weights_of(state, c)[column];
                EACH_ROW own[t] = fma(splat<N>(x[(row + t) * inputs + c]), w, own[t]);
            }
            EACH_ROW {
                const N unit = activation<ACTIVATION>(own[t]), error = splat<N>(slopes[row + t]);
                own[t] = below(ACTIVATION == ANY ? shape.activation : ACTIVATION, shape.leak, error, unit);
                above_part = fma(unit, error, above_part);
                bias_part += own[t];
            }
            above_slope += above_part, bias_slope += bias_part;
            for (int c = 0; c < inputs; ++c) {
                N part = {};
                EACH_ROW part = fma(splat<N>(x[(row + t) * inputs + c]), own[t], part);
                weights_of(gradient, c)[column] += part;
            }
        }
        // All errors of a unit are multiplied by its weight to the output: that is done once.
        const N factor = above(state)[column];
        above(gradient)[column] = above_slope, biases(gradient)[column] = bias_slope * factor;
        for (int c = 0; c < inputs; ++c) weights_of(gradient, c)[column] *= factor;
    }

    template <int ACTIVATION>
    real pass(real scale) {
        int i = 0;
        for (; i + 4 <= lines; i += 4) forward<ACTIVATION, 4>(i);
        if (lines - i == 3) forward<ACTIVATION, 3>(i);
        if (lines - i == 2) forward<ACTIVATION, 2>(i);
        if (lines - i == 1) forward<ACTIVATION, 1>(i);
        const real sum = errors_of_output(scale);
        for (int column = 0; column < columns; ++column) backward<ACTIVATION>(column);
        return sum;
    }

    // The rows of a step; of a batch of fewer than others the first one is repeated, at weight 0.
    void pick(int64_t k) {
        const int64_t start = shape.ordered ? call.order.start(k, r) : 0;
        const int64_t length_of_batch = shape.ordered ? call.order.count(k, r) : rows;
        const real *from_x = call.x.at(k, r) + start * inputs, *from_y = call.y.at(k, r) + start;
        for (int i = 0; i < rows; ++i) {
            const int64_t row = i < length_of_batch ? i : 0;
            for (int c = 0; c < inputs; ++c) {
                x_columns[c * length + i] = x[i * inputs + c] = from_x[row * inputs + c];
            }
            y[i] = from_y[row];
            if (shape.weighted) weights[i] = shape.ordered ? i < length_of_batch : call.weights.at(k, r)[i];
        }
    }

    void step(int64_t k) {
        if (k == 0 || shape.ordered || call.x.step || call.y.step || shape.weighted) pick(k);
        real n = shape.weighted ? 0 : rows;
        for (int i = 0; shape.weighted && i < rows; ++i) n += weights[i];
        if (!call.mean) n = 1;
        memset(gradient, 0, count * sizeof(N));
        const real scale = real(call.slope) / n;
        const real sum = shape.activation == RELU ? pass<RELU>(scale) : pass<ANY>(scale);
        call.losses[k * call.replicas + r] = canonical(sum * real(call.loss) / n);
        update(shape, state, gradient, count, 0, count, call.factors + FACTORS * k, call);
    }

    template <class Move>
    void each_number(Move move) const {  // move(number of ours, the one in torch's tensors)
        for (int s = 0; s < 4 * (1 + shape.buffers); ++s) {
            N* of = state + s / 4 * count;
            const int fan_in = s % 4 ? 1 : inputs, width = s % 4 == 3 ? 1 : hidden;
            N* first = s % 4 == 0 ? of : s % 4 == 1 ? biases(of) : s % 4 == 2 ? above(of) : of + (inputs + 2) * columns;
            real* torchs = call.state[s] + r * fan_in * width;
            for (int c = 0; c < fan_in; ++c) {
                real* ours = reinterpret_cast<real*>(first + c * columns);
                for (int j = 0; j < width; ++j) move(ours[j], torchs[c * width + j]);
            }
        }
    }

    void run() {
        for (r = call.first; r < call.last; ++r) {
            memset(state, 0, (1 + shape.buffers) * count * sizeof(N));  // one that diverged leaves NaN
            each_number([](real& ours, real& torchs) { ours = torchs; });
            for (int64_t k = 0; k < call.steps; ++k) step(k);
            each_number([](real& ours, real& torchs) { torchs = canonical(ours); });
        }
    }
};
