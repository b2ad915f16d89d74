// One update of `count` vectors of parameters, f being this step's factors.
// SGD: buffer = momentum buffer + gradient, p = p - lr buffer, with f = (lr, momentum).
// Adam: Kingma and Ba (2015), algorithm 1, as torch.optim.Adam writes it, with
// f = (lr / (1 - beta1^t), sqrt(1 - beta2^t)).
template <class N>
INLINE void update(const Shape& shape, N* state, const N* gradient, int count, const real* f, const Call& call) {
    N *p = state, *m = state + count, *v = state + 2 * count;
    if (shape.optimizer == ADAM) {
        const N rate = splat<N>(f[0]), correction = splat<N>(f[1]), eps = splat<N>(call.eps);
        const N beta1 = splat<N>(call.beta1), rest1 = splat<N>(1 - call.beta1);
        const N beta2 = splat<N>(call.beta2), rest2 = splat<N>(1 - call.beta2);
        for (int i = 0; i < count; ++i) {
            const N g = gradient[i];
            m[i] = flushed(fma(rest1, g, beta1 * m[i]));
            v[i] = flushed(fma(rest2 * g, g, beta2 * v[i]));
            p[i] = p[i] - rate * m[i] / (root(v[i]) / correction + eps);
        }
    } else {
        const N minus_rate = splat<N>(-f[0]), momentum = splat<N>(f[1]);
        for (int i = 0; i < count; ++i) {
            N g = gradient[i];
            if (shape.buffers) g = m[i] = flushed(fma(momentum, m[i], g));
            p[i] = fma(minus_rate, g, p[i]);
        }
    }
}
