// One update of all parameters, as torch.optim writes it.
import type { Optimizer } from "./problem";

export type Update = (parameters: Float64Array, gradient: Float64Array) => void;

export function optimizer(options: Optimizer, size: number): Update {
  return options.name === "adam" ? adam(options, size) : sgd(options, size);
}

/** buffer = momentum buffer + gradient; w = w - lr buffer. */
function sgd({ lr, momentum }: Optimizer, size: number): Update {
  const buffer = new Float64Array(size);
  return (p, g) => {
    for (let i = 0; i < size; i++) {
      buffer[i] = momentum * buffer[i] + g[i];
      p[i] -= lr * buffer[i];
    }
  };
}

/** Kingma and Ba (2015), algorithm 1. */
function adam({ lr, beta1, beta2, eps }: Optimizer, size: number): Update {
  const [m, v] = [new Float64Array(size), new Float64Array(size)];
  let step = 0;
  return (p, g) => {
    step++;
    const rate = lr / (1 - beta1 ** step);
    const root = Math.sqrt(1 - beta2 ** step);
    for (let i = 0; i < size; i++) {
      m[i] += (1 - beta1) * (g[i] - m[i]); // Tensor.lerp_, as torch writes it
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      p[i] -= (rate * m[i]) / (Math.sqrt(v[i]) / root + eps);
    }
  };
}
