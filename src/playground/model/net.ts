// A multilayer perceptron with one input and one output, and its gradient by the chain rule, in double precision.
import type { Activation } from "./problem";

/** Where a layer's numbers lie among the parameters: weight (in, out) row by row, then bias (out). */
interface Layer {
  fanIn: number;
  out: number;
  weight: number;
  bias: number;
}

/** Parameters in one array, layer by layer; buffers for up to `most` rows. */
export class Net {
  readonly layers: Layer[] = [];
  readonly parameters: Float64Array;
  readonly gradient: Float64Array;
  /** What every layer makes of the rows: the input, hidden (rows, h) ..., the prediction. */
  readonly outputs: Float64Array[];
  private readonly errors: Float64Array[];

  constructor(
    readonly units: number[],
    readonly activation: Activation,
    most: number,
  ) {
    let size = 0;
    for (let i = 0; i + 1 < units.length; i++) {
      const [fanIn, out] = [units[i], units[i + 1]];
      this.layers.push({ fanIn, out, weight: size, bias: size + fanIn * out });
      size += fanIn * out + out;
    }
    this.parameters = new Float64Array(size);
    this.gradient = new Float64Array(size);
    this.outputs = units.map((width) => new Float64Array(most * width));
    this.errors = units.map((width) => new Float64Array(most * width));
  }

  /** x (n) -> the prediction (n), a view that the next call overwrites. */
  predict(x: Float64Array, n = x.length): Float64Array {
    this.outputs[0].set(n === x.length ? x : x.subarray(0, n));
    this.forward(n);
    return this.outputs[this.layers.length].subarray(0, n);
  }

  private forward(n: number): void {
    const last = this.layers.length - 1;
    this.layers.forEach((layer, i) => {
      const [below, above] = [this.outputs[i], this.outputs[i + 1]];
      linear(this.parameters, layer, below, above, n);
      if (i < last && this.activation === "relu") {
        for (let k = 0; k < n * layer.out; k++) above[k] = Math.max(above[k], 0);
      } else if (i < last && this.activation === "tanh") {
        for (let k = 0; k < n * layer.out; k++) above[k] = Math.tanh(above[k]);
      }
    });
  }

  /** Fills `gradient` from d loss / d prediction (n) of the rows predicted last. The derivative of relu at 0 is 0. */
  backward(error: Float64Array, n: number): void {
    const count = this.layers.length;
    this.errors[count].set(error.subarray(0, n));
    this.gradient.fill(0);
    for (let i = count - 1; i >= 0; i--) {
      const [below, above] = [this.outputs[i], this.errors[i + 1]];
      slopes(this.gradient, this.layers[i], below, above, n);
      if (i === 0) continue;
      const beneath = this.errors[i];
      back(this.parameters, this.layers[i], above, beneath, n);
      const size = n * this.layers[i].fanIn;
      if (this.activation === "relu") {
        for (let k = 0; k < size; k++) if (!(below[k] > 0)) beneath[k] = 0;
      } else if (this.activation === "tanh") {
        for (let k = 0; k < size; k++) beneath[k] *= 1 - below[k] * below[k];
      }
    }
  }
}

// Layers with one output or one input have loops of their own: half of all the time of a small net.

/** above = below W + b. */
function linear(
  p: Float64Array,
  layer: Layer,
  below: Float64Array,
  above: Float64Array,
  n: number,
) {
  const { fanIn, out, weight, bias } = layer;
  if (out === 1) {
    for (let r = 0, k = 0; r < n; r++) {
      let sum = 0;
      for (let i = 0; i < fanIn; i++) sum += below[k++] * p[weight + i];
      above[r] = sum + p[bias];
    }
    return;
  }
  if (fanIn === 1) {
    for (let r = 0, k = 0; r < n; r++) {
      const h = below[r];
      for (let j = 0; j < out; j++) above[k++] = h * p[weight + j] + p[bias + j];
    }
    return;
  }
  for (let r = 0; r < n; r++) {
    const row = r * out;
    for (let j = 0; j < out; j++) above[row + j] = p[bias + j];
    for (let i = 0; i < fanIn; i++) {
      const h = below[r * fanIn + i];
      const w = weight + i * out;
      for (let j = 0; j < out; j++) above[row + j] += h * p[w + j];
    }
  }
}

/** Adds below^T error to the weight's slopes and the error's sum over rows to the bias's. */
function slopes(
  g: Float64Array,
  layer: Layer,
  below: Float64Array,
  error: Float64Array,
  n: number,
) {
  const { fanIn, out, weight, bias } = layer;
  if (out === 1) {
    for (let i = 0; i < fanIn; i++) {
      let sum = 0;
      for (let r = 0, k = i; r < n; r++, k += fanIn) sum += below[k] * error[r];
      g[weight + i] += sum;
    }
    for (let r = 0; r < n; r++) g[bias] += error[r];
    return;
  }
  if (fanIn === 1) {
    for (let j = 0; j < out; j++) {
      let [sum, moment] = [0, 0];
      for (let r = 0, k = j; r < n; r++, k += out) {
        sum += error[k];
        moment += error[k] * below[r];
      }
      g[bias + j] += sum;
      g[weight + j] += moment;
    }
    return;
  }
  for (let r = 0; r < n; r++) {
    const row = r * out;
    for (let j = 0; j < out; j++) g[bias + j] += error[row + j];
    for (let i = 0; i < fanIn; i++) {
      const h = below[r * fanIn + i];
      const w = weight + i * out;
      for (let j = 0; j < out; j++) g[w + j] += h * error[row + j];
    }
  }
}

/** beneath = error W^T. */
function back(
  p: Float64Array,
  layer: Layer,
  error: Float64Array,
  beneath: Float64Array,
  n: number,
) {
  const { fanIn, out, weight } = layer;
  if (out === 1) {
    for (let r = 0, k = 0; r < n; r++) {
      const e = error[r];
      for (let i = 0; i < fanIn; i++) beneath[k++] = e * p[weight + i];
    }
    return;
  }
  for (let r = 0, k = 0; r < n; r++) {
    const row = r * out;
    for (let i = 0; i < fanIn; i++) {
      const w = weight + i * out;
      let sum = 0;
      for (let j = 0; j < out; j++) sum += error[row + j] * p[w + j];
      beneath[k++] = sum;
    }
  }
}
