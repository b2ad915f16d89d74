// Small nets: a vector holds the same number of 16 (float) or 8 (double) replicas, and so many replicas take all their
// steps before the next ones begin, their parameters in the first-level cache.

constexpr int weight_at(int layer) {  // of the layer's first weight among the parameters of a replica
    int at = 0;
    for (int l = 0; l < layer; ++l) at += (UNITS[l] + 1) * UNITS[l + 1];
    return at;
}
constexpr int bias_at(int layer) { return weight_at(layer) + UNITS[layer] * UNITS[layer + 1]; }
constexpr int unit_at(int layer) {
    int at = 0;
    for (int l = 0; l < layer; ++l) at += UNITS[l];
    return at;
}
constexpr bool SHALLOW = LAYERS == 2;
constexpr int COUNT = weight_at(LAYERS), INPUTS = UNITS[0], OUTPUT = unit_at(LAYERS);

// Rows that pass through the net together: each weight is fetched once for all of them.
constexpr int TILE = (ROWS + 4) / 5 * 5 <= (ROWS + 3) / 4 * 4 ? 5 : 4;
constexpr int FILLED = (ROWS + TILE - 1) / TILE * TILE;  // rows with those that fill up the last tile
#define EACH_ROW _Pragma("GCC unroll 8") for (int t = 0; t < TILE; ++t)

struct Tile {
    V h[OUTPUT + 1][TILE], error[OUTPUT + 1][TILE];  // of every unit, the inputs first
};

template <int l>
inline void forward(const V* p, Tile& tile) {
    constexpr int fan_in = UNITS[l], out = UNITS[l + 1];
    for (int j = 0; j < out; ++j) {
        V z[TILE];
        EACH_ROW z[t] = p[bias_at(l) + j];
        for (int i = 0; i < fan_in; ++i) {
            EACH_ROW z[t] += tile.h[unit_at(l) + i][t] * p[weight_at(l) + i * out + j];
        }
        EACH_ROW tile.h[unit_at(l + 1) + j][t] = l + 1 < LAYERS ? activated(z[t]) : z[t];
    }
    if constexpr (l + 1 < LAYERS) forward<l + 1>(p, tile);
}

template <int l>
inline void backward(const V* p, V* gradient, Tile& tile) {
    constexpr int fan_in = UNITS[l], out = UNITS[l + 1];
    for (int i = 0; i < fan_in; ++i) {
        V sum[TILE] = {};
        for (int j = 0; j < out; ++j) {
            V slope = {};
            EACH_ROW {
                V error = tile.error[unit_at(l + 1) + j][t];
                slope += tile.h[unit_at(l) + i][t] * error;
                if constexpr (l > 0) sum[t] += error * p[weight_at(l) + i * out + j];
            }
            gradient[weight_at(l) + i * out + j] += slope;
        }
        if constexpr (l > 0) {
            V slope = {};
            EACH_ROW slope += tile.error[unit_at(l) + i][t] = below(sum[t], tile.h[unit_at(l) + i][t]);
            gradient[bias_at(l - 1) + i] += slope;
        }
    }
    if constexpr (l > 0) backward<l - 1>(p, gradient, tile);
}

// With one hidden layer, every unit has one weight to the output, by which all of its error is multiplied: that is done
// once a step, by scale_shallow(), and forward and back are one pass over the units each.
inline void forward_shallow(const V* p, Tile& tile) {
    constexpr int hidden = UNITS[1], at = unit_at(1);
    V out[TILE];
    EACH_ROW out[t] = p[bias_at(1)];
    for (int j = 0; j < hidden; ++j) {
        EACH_ROW {
            V z = p[bias_at(0) + j];
            for (int c = 0; c < INPUTS; ++c) z += tile.h[c][t] * p[weight_at(0) + c * hidden + j];
            out[t] += (tile.h[at + j][t] = activated(z)) * p[weight_at(1) + j];
        }
    }
    EACH_ROW tile.h[OUTPUT][t] = out[t];
}

inline void backward_shallow(V* gradient, Tile& tile) {
    constexpr int hidden = UNITS[1], at = unit_at(1);
    for (int j = 0; j < hidden; ++j) {
        V above = {}, bias = {}, weight[INPUTS] = {};
        EACH_ROW {
            V h = tile.h[at + j][t], error = tile.error[OUTPUT][t], own = below(error, h);
            above += h * error;
            bias += own;
            for (int c = 0; c < INPUTS; ++c) weight[c] += tile.h[c][t] * own;
        }
        gradient[weight_at(1) + j] += above;
        gradient[bias_at(0) + j] += bias;
        for (int c = 0; c < INPUTS; ++c) gradient[weight_at(0) + c * hidden + j] += weight[c];
    }
}

inline void scale_shallow(const V* p, V* gradient) {
    constexpr int hidden = UNITS[1];
    for (int i = 0; i < (INPUTS + 1) * hidden; ++i) gradient[weight_at(0) + i] *= p[weight_at(1) + i % hidden];
}

// A vector's replicas; lanes beyond the last replica repeat it.
struct Group {
    const Call& call;
    int64_t first;
    V *x, *y, *weights, *state, *gradient;

    int64_t replica(int lane) const { return first + lane < call.last ? first + lane : call.last - 1; }

    void gather(const Rows& rows, int64_t k, int size, V* into) const {
        for (int lane = 0; lane < LANES; ++lane) {
            const real* from = rows.at(k, replica(lane));
            for (int i = 0; i < size; ++i) into[i][lane] = from[i];
        }
    }

    void pick(int64_t k) const {
        for (int lane = 0; lane < LANES; ++lane) {
            int64_t r = replica(lane), start = call.order.start(k, r), count = call.order.count(k, r);
            const real *from_x = call.x.at(k, r) + start * INPUTS, *from_y = call.y.at(k, r) + start;
            for (int i = 0; i < ROWS; ++i) {
                int64_t row = !WEIGHTED || i < count ? i : 0;
                for (int c = 0; c < INPUTS; ++c) x[i * INPUTS + c][lane] = from_x[row * INPUTS + c];
                y[i][lane] = from_y[row];
                if constexpr (WEIGHTED) weights[i][lane] = i < count;
            }
        }
    }

    template <class Move>
    void each_number(Move move) const {  // move(its lane, its place in a replica's state, where it is in torch's tensors)
        for (int s = 0, at = 0; s < 2 * LAYERS * (1 + BUFFERS); ++s) {
            int l = s % (2 * LAYERS) / 2, size = (s % 2 ? 1 : UNITS[l]) * UNITS[l + 1];
            for (int lane = 0; lane < LANES; ++lane) {
                for (int i = 0; i < size; ++i) move(lane, at + i, call.state[s][replica(lane) * size + i]);
            }
            at += size;
        }
    }

    void step(int64_t k) {
        if (ORDERED) pick(k);
        else {
            if (k == 0 || call.x.step) gather(call.x, k, ROWS * INPUTS, x);
            if (k == 0 || call.y.step) gather(call.y, k, ROWS, y);
            if constexpr (WEIGHTED) gather(call.weights, k, ROWS, weights);
        }
        V n = WEIGHTED || !call.mean ? V{} : splat(ROWS);
        for (int i = 0; WEIGHTED && i < ROWS; ++i) n += weights[i];
        if (!call.mean) n = splat(1);
        V scale = splat(call.slope) / n, squares[TILE] = {};
        Tile tile;
        std::memset(gradient, 0, COUNT * sizeof(V));
        for (int row = 0; row < FILLED; row += TILE) {
            for (int c = 0; c < INPUTS; ++c) EACH_ROW tile.h[c][t] = x[(row + t) * INPUTS + c];
            if constexpr (SHALLOW) forward_shallow(state, tile);
            else forward<0>(state, tile);
            V slope = {};
            EACH_ROW {
                V error = row + t < ROWS ? tile.h[OUTPUT][t] - y[row + t] : V{};
                V weighted = WEIGHTED ? error * weights[row + t] : error;
                squares[t] += error * weighted;
                slope += tile.error[OUTPUT][t] = weighted * scale;
            }
            gradient[bias_at(LAYERS - 1)] += slope;
            if constexpr (SHALLOW) backward_shallow(gradient, tile);
            else backward<LAYERS - 1>(state, gradient, tile);
        }
        if constexpr (SHALLOW) scale_shallow(state, gradient);
        V sum = {};
        EACH_ROW sum += squares[t];
        sum = sum * real(call.loss) / n;
        for (int lane = 0; lane < LANES; ++lane) call.losses[k * call.replicas + replica(lane)] = sum[lane];
        update(state, gradient, COUNT, call.factors + 2 * k, call);
    }
};

extern "C" void run(const Call* call) {
    V *x = zeros<V>(FILLED * INPUTS), *y = zeros<V>(FILLED), *weights = zeros<V>(FILLED);
    V *state = zeros<V>((1 + BUFFERS) * COUNT), *gradient = zeros<V>(COUNT);
    for (int64_t first = call->first; first < call->last; first += LANES) {
        Group group{*call, first, x, y, weights, state, gradient};
        group.each_number([&](int lane, int at, real& value) { state[at][lane] = value; });
        for (int64_t k = 0; k < call->steps; ++k) group.step(k);
        group.each_number([&](int lane, int at, real& value) { value = state[at][lane]; });
    }
    std::free(x), std::free(y), std::free(weights), std::free(state), std::free(gradient);
}
