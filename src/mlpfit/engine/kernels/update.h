// One update of the vectors first .. last - 1 of `count` vectors of parameters as torch.optim writes it, f being this
// step's factors. With decay, the
// gradient is first increased by decay p; AdamW instead multiplies p by f[2].
// SGD: buffer = momentum buffer + gradient, p = p - lr buffer, with f = (lr, momentum); Nesterov's: p = p - lr (gradient
// + momentum buffer).
// Adam: Kingma and Ba (2015), algorithm 1, with f = (lr / (1 - beta1^t), sqrt(1 - beta2^t)).
// AdamW: Loshchilov and Hutter (2019), algorithm 2, with f[2] = 1 - lr decay.
// RMSprop: Tieleman and Hinton (2012): square = beta2 square + (1 - beta2) gradient^2, then the update of SGD with
// gradient / (sqrt(square) + eps).
template <class N>
INLINE void update(const Shape& shape, N* state, const N* gradient, int count, int first, int last, const real* f,
                   const Call& call) {
    N *p = state, *m = state + count, *v = state + 2 * count;
    const N decay = splat<N>(call.decay), beta2 = splat<N>(call.beta2), rest2 = splat<N>(1 - call.beta2);
    const N eps = splat<N>(call.eps), minus_rate = splat<N>(-f[0]), momentum = splat<N>(f[1]);
    if (shape.optimizer == ADAM || shape.optimizer == ADAMW) {
        const N rate = splat<N>(f[0]), correction = splat<N>(f[1]), kept = splat<N>(f[2]);
        const N beta1 = splat<N>(call.beta1), rest1 = splat<N>(1 - call.beta1);
        for (int i = first; i < last; ++i) {
            N g = gradient[i];
            if (shape.decayed && shape.optimizer == ADAM) g = fma(decay, p[i], g);
            if (shape.decayed && shape.optimizer == ADAMW) p[i] = p[i] * kept;
            m[i] = flushed(fma(rest1, g, beta1 * m[i]));
            v[i] = flushed(fma(rest2 * g, g, beta2 * v[i]));
            p[i] = p[i] - rate * m[i] / (root(v[i]) / correction + eps);
            if (shape.decayed) p[i] = flushed(p[i]);
        }
    } else if (shape.optimizer == RMSPROP) {
        for (int i = first; i < last; ++i) {
            N g = gradient[i];
            if (shape.decayed) g = fma(decay, p[i], g);
            m[i] = flushed(fma(rest2 * g, g, beta2 * m[i]));
            g = g / (root(m[i]) + eps);
            if (shape.buffers == 2) g = v[i] = flushed(fma(momentum, v[i], g));
            p[i] = fma(minus_rate, g, p[i]);
            if (shape.decayed) p[i] = flushed(p[i]);
        }
    } else {
        for (int i = first; i < last; ++i) {
            N g = gradient[i];
            if (shape.decayed) g = fma(decay, p[i], g);
            if (shape.buffers) {
                m[i] = flushed(fma(momentum, m[i], g));
                g = shape.nesterov ? fma(momentum, m[i], g) : m[i];
            }
            p[i] = fma(minus_rate, g, p[i]);
            if (shape.decayed) p[i] = flushed(p[i]);
        }
    }
}
