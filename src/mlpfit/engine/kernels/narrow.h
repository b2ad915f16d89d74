// Small nets: a OneRegister holds the same number of as many replicas as it has room for, a Single that of one, and so
// many replicas take all their steps before the next ones begin, their parameters in the first-level cache. (With two
// registers a number, the sums of TILE rows would not fit into the 16 that AVX2 has.)

// TILE rows pass through the net together: each weight is fetched once for all.

#ifdef UNITS  // all loops over layers are unrolled, and the pass that is called is inlined
#define EACH_LAYER _Pragma("GCC unroll 8")
#define PASS INLINE
#else
#define EACH_LAYER
#define PASS __attribute__((noinline))
#endif

INLINE int weight_at(const Shape& shape, int layer) {  // of the layer's first weight among a replica's parameters
    int at = 0;
    for (int l = 0; l < layer; ++l) at += (shape.units[l] + 1) * shape.units[l + 1];
    return at;
}
INLINE int bias_at(const Shape& shape, int l) { return weight_at(shape, l) + shape.units[l] * shape.units[l + 1]; }
INLINE int unit_at(const Shape& shape, int layer) {
    int at = 0;
    for (int l = 0; l < layer; ++l) at += shape.units[l];
    return at;
}

// The replicas in the lanes of an N; lanes beyond the last replica repeat it.
template <class N>
struct Narrow {
    const Call& call;
    const Shape shape{call};
    int64_t first = 0;
    N *x, *y, *weights, *state, *gradient;
    N (*h)[TILE], (*errors)[TILE];  // of every unit, the inputs first

    INLINE int count() const { return weight_at(shape, shape.layers); }
    INLINE int inputs() const { return shape.units[0]; }
    INLINE int output() const { return unit_at(shape, shape.layers); }  // the first of them
    INLINE int outputs() const { return shape.units[shape.layers]; }
    INLINE int filled() const { return (shape.rows + TILE - 1) / TILE * TILE; }
    int64_t replica(int lane) const { return first + lane < call.last ? first + lane : call.last - 1; }

    explicit Narrow(const Call& call) : call(call) {
        x = zeros<N>(filled() * inputs()), y = zeros<N>(filled() * outputs()), weights = zeros<N>(filled());
        state = zeros<N>((1 + shape.buffers) * count()), gradient = zeros<N>(count());
        h = reinterpret_cast<N(*)[TILE]>(zeros<N>((output() + outputs()) * TILE));
        errors = reinterpret_cast<N(*)[TILE]>(zeros<N>((output() + outputs()) * TILE));
    }
    ~Narrow() { free(x), free(y), free(weights), free(state), free(gradient), free(h), free(errors); }

    PASS void forward() {
        const N* p = state;
        EACH_LAYER for (int l = 0; l < shape.layers; ++l) {
            const int fan_in = shape.units[l], out = shape.units[l + 1], from = unit_at(shape, l);
            for (int j = 0; j < out; ++j) {
                N z[TILE];
                EACH_ROW z[t] = p[bias_at(shape, l) + j];
                for (int i = 0; i < fan_in; ++i) {
                    const N w = p[weight_at(shape, l) + i * out + j];
                    EACH_ROW z[t] = fma(h[from + i][t], w, z[t]);
                }
                const bool hidden = l + 1 < shape.layers;
                EACH_ROW h[from + fan_in + j][t] = hidden ? activated(shape.activation, shape.leak, z[t]) : z[t];
            }
        }
    }

    PASS void backward() {
        const N* p = state;
        EACH_LAYER for (int l = shape.layers - 1; l >= 0; --l) {
            const int fan_in = shape.units[l], out = shape.units[l + 1], from = unit_at(shape, l);
            for (int i = 0; i < fan_in; ++i) {
                N sum[TILE] = {};
                for (int j = 0; j < out; ++j) {
                    N slope = {};
                    const N w = p[weight_at(shape, l) + i * out + j];
                    EACH_ROW {
                        const N error = errors[from + fan_in + j][t];
                        slope = fma(h[from + i][t], error, slope);
                        if (l > 0) sum[t] = fma(error, w, sum[t]);
                    }
                    gradient[weight_at(shape, l) + i * out + j] += slope;
                }
                if (l > 0) {
                    N slope = {};
                    EACH_ROW {
                        const N error = below(shape.activation, shape.leak, sum[t], h[from + i][t]);
                        slope += errors[from + i][t] = error;
                    }
                    gradient[bias_at(shape, l - 1) + i] += slope;
                }
            }
        }
    }

    // With one hidden layer and one output, every unit has one weight to the output, by which all of its error is multiplied: that is
    // done once a step, by scale_shallow(), and forward and back are one pass over the units each.
    PASS void forward_shallow() {
        const N* p = state;
        const int hidden = shape.units[1], at = inputs();
        N out[TILE];
        EACH_ROW out[t] = p[bias_at(shape, 1)];
        for (int j = 0; j < hidden; ++j) {
            const N above = p[weight_at(shape, 1) + j];
            N z[TILE];
            EACH_ROW z[t] = p[bias_at(shape, 0) + j];
            for (int c = 0; c < inputs(); ++c) {
                const N w = p[weight_at(shape, 0) + c * hidden + j];
                EACH_ROW z[t] = fma(h[c][t], w, z[t]);
            }
            EACH_ROW {
                const N unit = h[at + j][t] = activated(shape.activation, shape.leak, z[t]);
                out[t] = fma(unit, above, out[t]);
            }
        }
        EACH_ROW h[output()][t] = out[t];
    }

    PASS void backward_shallow() {
        const int hidden = shape.units[1], at = inputs();
        for (int j = 0; j < hidden; ++j) {
            N above = {}, bias = {}, own[TILE];
            EACH_ROW {
                const N unit = h[at + j][t], error = errors[output()][t];
                own[t] = below(shape.activation, shape.leak, error, unit);
                above = fma(unit, error, above);
                bias += own[t];
            }
            gradient[weight_at(shape, 1) + j] += above;
            gradient[bias_at(shape, 0) + j] += bias;
            for (int c = 0; c < inputs(); ++c) {
                N weight = {};
                EACH_ROW weight = fma(h[c][t], own[t], weight);
                gradient[weight_at(shape, 0) + c * hidden + j] += weight;
            }
        }
    }

    INLINE void scale_shallow() {
        const int hidden = shape.units[1];
        for (int c = 0; c <= inputs(); ++c) {  // the last is the bias
            N* g = gradient + weight_at(shape, 0) + c * hidden;
            for (int j = 0; j < hidden; ++j) g[j] *= state[weight_at(shape, 1) + j];
        }
    }

    void gather(const Rows& rows, int64_t k, int size, N* into) const {
        for (int lane = 0; lane < N::lanes; ++lane) {
            const real* from = rows.at(k, replica(lane));
            for (int i = 0; i < size; ++i) into[i][lane] = from[i];
        }
    }

    void pick(int64_t k) const {
        for (int lane = 0; lane < N::lanes; ++lane) {
            const int64_t r = replica(lane), start = call.order.start(k, r), rows = call.order.count(k, r);
            const real *from_x = call.x.at(k, r) + start * inputs(), *from_y = call.y.at(k, r) + start * outputs();
            for (int i = 0; i < shape.rows; ++i) {
                const int64_t row = i < rows ? i : 0;
                for (int c = 0; c < inputs(); ++c) x[i * inputs() + c][lane] = from_x[row * inputs() + c];
                for (int o = 0; o < outputs(); ++o) y[i * outputs() + o][lane] = from_y[row * outputs() + o];
                if (shape.weighted) weights[i][lane] = i < rows;
            }
        }
    }

    template <class Move>
    void each_number(Move move) const {  // move(lane, place in a vector's state, the number in torch's tensors)
        for (int s = 0, at = 0; s < 2 * shape.layers * (1 + shape.buffers); ++s) {
            const int l = s % (2 * shape.layers) / 2, size = (s % 2 ? 1 : shape.units[l]) * shape.units[l + 1];
            for (int lane = 0; lane < N::lanes; ++lane) {
                for (int i = 0; i < size; ++i) move(lane, at + i, call.state[s][replica(lane) * size + i]);
            }
            at += size;
        }
    }

    INLINE void step(int64_t k) {
        if (shape.ordered) pick(k);
        else {
            if (k == 0 || call.x.step) gather(call.x, k, shape.rows * inputs(), x);
            if (k == 0 || call.y.step) gather(call.y, k, shape.rows * outputs(), y);
            if (shape.weighted) gather(call.weights, k, shape.rows, weights);
        }
        N n = shape.weighted || !call.mean ? N{} : splat<N>(shape.rows);
        for (int i = 0; shape.weighted && i < shape.rows; ++i) n += weights[i];
        if (!call.mean) n = splat<N>(1);
        const bool shallow = shape.layers == 2 && outputs() == 1;
        const N scale = splat<N>(call.slope) / n;
        N sums[TILE] = {};
        memset(gradient, 0, count() * sizeof(N));
        for (int row = 0; row < filled(); row += TILE) {
            for (int c = 0; c < inputs(); ++c) EACH_ROW h[c][t] = x[(row + t) * inputs() + c];
            if (shallow) forward_shallow();
            else forward();
            for (int o = 0; o < outputs(); ++o) {
                N slope = {};
                EACH_ROW {
                    const N unit = h[output() + o][t] = activated(shape.output, shape.leak, h[output() + o][t]);
                    const N error = row + t < shape.rows ? unit - y[(row + t) * outputs() + o] : N{};
                    const N pulled = pull(shape.kind, shape.delta, error);
                    const N weighted = shape.weighted ? pulled * weights[row + t] : pulled;
                    sums[t] = added_penalty(shape, error, weights[row + t], sums[t]);
                    slope += errors[output() + o][t] = below(shape.output, shape.leak, weighted * scale, unit);
                }
                gradient[bias_at(shape, shape.layers - 1) + o] += slope;
            }
            if (shallow) backward_shallow();
            else backward();
        }
        if (shallow) scale_shallow();
        N sum = {};
        EACH_ROW sum += sums[t];
        sum = sum * splat<N>(call.loss) / n;
        for (int lane = 0; lane < N::lanes; ++lane) {
            call.losses[k * call.replicas + replica(lane)] = canonical(sum[lane]);
        }
        update(shape, state, gradient, count(), 0, count(), call.factors + FACTORS * k, call);
    }

    void run() {
        for (first = call.first; first < call.last; first += N::lanes) {
            each_number([&](int lane, int at, real& value) { state[at][lane] = value; });
            for (int64_t k = 0; k < call.steps; ++k) step(k);
            each_number([&](int lane, int at, real& value) { value = canonical(state[at][lane]); });
        }
    }
};

EXPORTED void run_narrow(const Call* call) {
    const DefaultArithmetic arithmetic;
#ifdef UNITS
    Narrow<OneRegister>(*call).run();
#else
    if (call->layers == 2 && call->units[2] == 1) Shallow(*call).run();
    else Narrow<Single>(*call).run();
#endif
}
