// Training one replica step by step.
import type { Batch } from "./order";
import { Net } from "./net";
import { optimizer, type Update } from "./optimizer";
import { type Loss, type Problem, units } from "./problem";
import type { Start } from "./start";

/** sum of squares -> loss, by rows. */
export const ofSquares: Record<Loss, (sum: number, rows: number) => number> = {
  mse: (sum, rows) => sum / rows,
  sse: (sum) => sum,
  half_mse: (sum, rows) => 0.5 * (sum / rows),
};
const SLOPE: Record<Loss, (rows: number) => number> = {
  mse: (rows) => 2 / rows,
  sse: () => 2,
  half_mse: (rows) => 1 / rows,
};

export class Training {
  readonly net: Net;
  steps = 0;
  private readonly x: Float64Array;
  private readonly y: Float64Array;
  private readonly error: Float64Array;
  private readonly update: Update;
  private readonly batches: Iterator<Batch> | null;

  constructor(
    readonly problem: Problem,
    readonly start: Start,
  ) {
    const n = start.rows.x.length;
    this.net = new Net(units(problem), problem.activation, n);
    this.net.parameters.set(start.parameters);
    this.update = optimizer(problem.optimizer, this.net.parameters.length);
    this.batches = start.batches;
    const most = this.batches ? (problem.batch as number) : n;
    this.error = new Float64Array(n);
    this.x = this.batches ? new Float64Array(most) : start.rows.x;
    this.y = this.batches ? new Float64Array(most) : start.rows.y;
  }

  /** One optimiser step; returns the loss on its batch before the update. */
  step(): number {
    const n = this.batch();
    const prediction = this.net.predict(this.x, n);
    const factor = SLOPE[this.problem.loss](n);
    let squares = 0;
    for (let r = 0; r < n; r++) {
      const error = prediction[r] - this.y[r];
      squares += error * error;
      this.error[r] = error * factor;
    }
    this.net.backward(this.error, n);
    this.update(this.net.parameters, this.net.gradient);
    this.steps++;
    return ofSquares[this.problem.loss](squares, n);
  }

  private batch(): number {
    if (!this.batches) return this.x.length;
    const { rows, start, length } = this.batches.next().value as Batch;
    const { x, y } = this.start.rows;
    for (let k = 0; k < length; k++) {
      this.x[k] = x[rows[start + k]];
      this.y[k] = y[rows[start + k]];
    }
    return length;
  }
}

/** Mean squared error on the rows. */
export function meanSquare(net: Net, x: Float64Array, y: Float64Array): number {
  const prediction = net.predict(x);
  let sum = 0;
  for (let r = 0; r < x.length; r++) sum += (prediction[r] - y[r]) ** 2;
  return sum / x.length;
}
