// The net's outputs on any number of rows, in an order that numpy repeats without effort: every unit is its bias, plus
// input times weight, one input after the other, products and sums rounded apart. evaluation.py has the same in
// numpy, bit for bit.

struct Evaluation {
    int64_t replicas, rows, layers, activation;
    double leak;
    const int64_t* units;
    const real *x, *y;           // (R, rows, d), (R, rows, o)
    int64_t x_replica, y_replica;  // strides of the replicas; 0: all have the same rows
    const real* const* parameters;  // (R, in, out), (R, 1, out), next layer's ...
    double* squares;             // (R,) sums of squared errors
    int64_t* dead;               // (R,) numbers of hidden units that are zero on all rows; or null
};

// Rows are taken LANES at a time, one in each lane.
struct Outputs {
    const Evaluation& call;
    V *h, *next;  // outputs of the units of two layers
    V* seen;      // of all hidden units: an output that is not zero, if there was one in this lane

    explicit Outputs(const Evaluation& call) : call(call) {
        int64_t widest = 0, all = 0;
        for (int l = 0; l <= call.layers; ++l) {
            widest = call.units[l] > widest ? call.units[l] : widest, all += call.units[l];
        }
        h = zeros<V>(widest), next = zeros<V>(widest), seen = zeros<V>(all);
    }
    ~Outputs() { free(h), free(next), free(seen); }

    // Of neighbouring units at once, so that none waits for the sum of another.
    template <int UNITS>
    INLINE void sums(const real* weight, const real* bias, int64_t fan_in, int64_t out, V* into) const {
        V sum[UNITS];
        _Pragma("GCC unroll 4") for (int j = 0; j < UNITS; ++j) sum[j] = splat<V>(bias[j]);
        for (int64_t i = 0; i < fan_in; ++i) {
            const V value = h[i];
            _Pragma("GCC unroll 4") for (int j = 0; j < UNITS; ++j) sum[j] += value * splat<V>(weight[i * out + j]);
        }
        _Pragma("GCC unroll 4") for (int j = 0; j < UNITS; ++j) into[j] = sum[j];
    }

    void forward(int64_t r) {
        V* now = seen;
        for (int l = 0; l < call.layers; ++l) {
            const int64_t fan_in = call.units[l], out = call.units[l + 1];
            const real *weight = call.parameters[2 * l] + r * fan_in * out, *bias = call.parameters[2 * l + 1] + r * out;
            int64_t j = 0;
            for (; j + 4 <= out; j += 4) sums<4>(weight + j, bias + j, fan_in, out, next + j);
            for (; j < out; ++j) sums<1>(weight + j, bias + j, fan_in, out, next + j);
            V* const below = h;
            h = next, next = below;
            if (l + 1 == call.layers) return;
            for (int64_t j = 0; j < out; ++j, ++now) {
                h[j] = activated(call.activation, call.leak, h[j]);
                for (int i = 0; i < REGISTERS; ++i) now->part[i] = h[j].part[i] != 0 ? h[j].part[i] : now->part[i];
            }
        }
    }

    // Row i of the last vector is repeated where there are no more rows.
    void evaluate(int64_t r) {
        const int64_t inputs = call.units[0], outputs = call.units[call.layers];
        double sums[LANES] = {};
        int64_t units = 0;
        for (int l = 1; l < call.layers; ++l) units += call.units[l];
        memset(seen, 0, units * sizeof(V));
        for (int64_t row = 0; row < call.rows; row += LANES) {
            const int64_t lanes = call.rows - row < LANES ? call.rows - row : LANES;
            const real *x = call.x + r * call.x_replica + row * inputs, *y = call.y + r * call.y_replica + row * outputs;
            for (int64_t c = 0; c < inputs; ++c) {
                for (int lane = 0; lane < LANES; ++lane) h[c][lane] = x[(lane < lanes ? lane : 0) * inputs + c];
            }
            forward(r);
            for (int lane = 0; lane < lanes; ++lane) {
                for (int64_t o = 0; o < outputs; ++o) {
                    const double error = double(h[o][lane]) - double(y[lane * outputs + o]);
                    sums[lane] += error * error;
                }
            }
        }
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
        }
        call.squares[r] = sums[0] == sums[0] ? sums[0] : __builtin_nan("");
        if (!call.dead) return;
        call.dead[r] = 0;
        for (int64_t j = 0; j < units; ++j) {
            bool is_dead = true;
            for (int lane = 0; lane < LANES; ++lane) is_dead &= seen[j][lane] == 0;
            call.dead[r] += is_dead;
        }
    }
};

EXPORTED void evaluate(const Evaluation* call) {
    const DefaultArithmetic arithmetic;
    Outputs outputs(*call);
    for (int64_t r = 0; r < call->replicas; ++r) outputs.evaluate(r);
}
