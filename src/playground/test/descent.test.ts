// Gradients against finite differences; optimisers, orders and rows against what is known in closed form.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Net } from "../model/net";
import { optimizer } from "../model/optimizer";
import { batches } from "../model/order";
import { deadUnits, parts } from "../model/parts";
import type { Activation, Loss, Problem } from "../model/problem";
import { drawRows } from "../model/rows";
import { draw } from "../model/start";
import { meanSquare, ofSquares, Training } from "../model/training";
import { Generator } from "../random/pcg64";

export const PROBLEM: Problem = {
  seed: 3,
  streams: "spawned",
  loss: "mse",
  target: {
    ...{ formula: "2 * x - 1", points: 40, inputs: "grid", low: -2, high: 3, noise: 0 },
    ...{ observed: null, standardise: false, float32: false },
  },
  hidden: [],
  activation: "identity",
  init: "torch",
  optimizer: { name: "sgd", lr: 0.05, momentum: 0, beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  ...{ batch: null, order: "full", startBelow: null, macroBatch: null },
  ...{ precision: "64-true", steps: 2000 },
};

const close = (a: number, b: number, relative: number): void =>
  assert.ok(
    Math.abs(a - b) <= relative * Math.max(Math.abs(a), Math.abs(b), 1e-300),
    `${a}, not ${b}`,
  );

for (const activation of ["relu", "tanh", "identity"] as Activation[]) {
  for (const hidden of [[], [5], [4, 3], [3, 4, 2]]) {
    for (const loss of ["mse", "sse", "half_mse"] as Loss[]) {
      test(`the gradient of 1-${[...hidden, 1].join("-")} ${activation} ${loss} is the slope of the loss`, () => {
        const problem: Problem = { ...PROBLEM, activation, hidden, loss };
        const start = draw(problem);
        const training = new Training(
          { ...problem, optimizer: { ...problem.optimizer, lr: 1e-300 } },
          start,
        );
        training.step();
        const { net } = training;
        const n = start.rows.x.length;
        const at = (): number =>
          ofSquares[loss](meanSquare(net, start.rows.x, start.rows.y) * n, n);
        const gradient = net.gradient.slice();
        const scale = Math.max(...gradient.map(Math.abs));
        for (let k = 0; k < gradient.length; k++) {
          const [value, h] = [net.parameters[k], 1e-6];
          net.parameters[k] = value + h;
          const above = at();
          net.parameters[k] = value - h;
          const slope = (above - at()) / (2 * h);
          net.parameters[k] = value;
          assert.ok(Math.abs(slope - gradient[k]) < 1e-6 * scale, `${slope}, not ${gradient[k]}`);
        }
      });
    }
  }
}

test("descent on a line ends at the line", () => {
  const training = new Training(PROBLEM, draw(PROBLEM));
  for (let k = 0; k < PROBLEM.steps; k++) training.step();
  close(training.net.parameters[0], 2, 1e-12);
  close(training.net.parameters[1], -1, 1e-12);
});

/** On w^2 / 2 the gradient is w: k steps of descent shrink w by (1 - lr)^k. */
test("gradient descent on a parabola shrinks by 1 - lr a step", () => {
  const w = Float64Array.of(3);
  const update = optimizer({ ...PROBLEM.optimizer, lr: 0.1 }, 1);
  for (let k = 0; k < 50; k++) update(w, w.slice());
  close(w[0], 3 * 0.9 ** 50, 1e-13);
});

/** w_k of momentum on w^2 / 2 solves w_(k+1) = (1 + m - lr) w_k - m w_(k-1). */
test("momentum on a parabola follows its recurrence", () => {
  const [lr, momentum] = [0.1, 0.8];
  const w = Float64Array.of(3);
  const update = optimizer({ ...PROBLEM.optimizer, lr, momentum }, 1);
  const path = [3, 3 * (1 - lr)];
  for (let k = 2; k <= 40; k++)
    path.push((1 + momentum - lr) * path[k - 1] - momentum * path[k - 2]);
  for (let k = 1; k <= 40; k++) {
    update(w, w.slice());
    assert.ok(Math.abs(w[0] - path[k]) < 1e-13);
  }
});

test("Adam under a constant gradient takes steps of lr", () => {
  const w = Float64Array.of(0, 0);
  const update = optimizer({ ...PROBLEM.optimizer, name: "adam", lr: 0.01, eps: 1e-12 }, 2);
  for (let k = 0; k < 30; k++) update(w, Float64Array.of(5, -0.001));
  close(w[0], -0.3, 1e-8);
  close(w[1], 0.3, 1e-6);
});

test("every epoch of a shuffled order sees every row once", () => {
  const order = batches({ ...PROBLEM, order: "shuffle", batch: 7 }, 40, new Generator(1, 2));
  for (let epoch = 0; epoch < 3; epoch++) {
    const seen: number[] = [];
    for (let k = 0; k < 6; k++) {
      const { rows, start, length } = order!.next().value;
      seen.push(...rows.slice(start, start + length));
    }
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      [...Array(40).keys()],
    );
  }
});

test("batches in sequence are the same in every epoch", () => {
  const order = batches({ ...PROBLEM, order: "sequential", batch: 7 }, 10, new Generator(1, 2));
  for (let epoch = 0; epoch < 2; epoch++) {
    for (const expected of [
      [0, 1, 2, 3, 4, 5, 6],
      [7, 8, 9],
    ]) {
      const { rows, start, length } = order!.next().value;
      assert.deepEqual([...rows.slice(start, start + length)], expected);
    }
  }
});

test("every epoch of macro batches sees every row once", () => {
  const order = batches(
    { ...PROBLEM, order: "blocks", batch: 4, macroBatch: 15 },
    40,
    new Generator(1, 2),
  );
  const seen: number[] = [];
  while (seen.length < 40) {
    const { rows, start, length } = order!.next().value;
    seen.push(...rows.slice(start, start + length));
  }
  assert.deepEqual(
    seen.sort((a, b) => a - b),
    [...Array(40).keys()],
  );
});

test("slices start below their limit and keep their length", () => {
  const order = batches(
    { ...PROBLEM, order: "slices", batch: 10, startBelow: 30 },
    40,
    new Generator(1, 2),
  );
  for (let k = 0; k < 500; k++) {
    const { start, length } = order!.next().value;
    assert.ok(start >= 0 && start < 20 && length === 10);
  }
});

test("standardised rows have mean 0 and standard deviation 1", () => {
  const target = { ...PROBLEM.target, noise: 1, observed: 20, standardise: true };
  const { x, y, scale, center, poolX } = drawRows(target, new Generator(5, 0));
  for (const values of [x, y]) {
    const mean = values.reduce((a, b) => a + b, 0) / 20;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / 19;
    assert.ok(Math.abs(mean) < 1e-14 && Math.abs(variance - 1) < 1e-13);
  }
  close(poolX[0] * scale[0] + center[0], -2, 1e-12);
});

test("the units' shares and the last bias sum to the fit, and relus bend at their kinks", () => {
  const problem: Problem = { ...PROBLEM, hidden: [6], activation: "relu", init: "normal" };
  const { parameters } = draw(problem);
  const x = Float64Array.from({ length: 50 }, (_, i) => -3 + i * 0.12);
  const { fit, shares, kinks } = parts(problem, parameters, x);
  const bias = parameters[parameters.length - 1];
  fit.forEach((value, r) =>
    close(
      value,
      shares.reduce((sum, s) => sum + s[r], bias),
      1e-12,
    ),
  );
  const net = new Net([1, 6, 1], "relu", 3);
  net.parameters.set(parameters);
  for (const [unit, [kink]] of kinks.entries()) {
    if (kink === undefined) continue;
    net.predict(Float64Array.of(kink - 1e-6, kink, kink + 1e-6));
    const [left, at, right] = [0, 1, 2].map((r) => net.outputs[1][r * 6 + unit]);
    assert.ok(Math.min(left, right) === 0 && Math.max(left, right) > 0 && at < 1e-9);
  }
});

test("a unit whose bias keeps it off is dead, others are not", () => {
  const problem: Problem = { ...PROBLEM, hidden: [2], activation: "relu" };
  const parameters = Float64Array.of(1, 1, -10, 0, 1, 1, 0); // weights, biases, weights, bias
  assert.equal(deadUnits(problem, parameters, Float64Array.of(-1, 0, 1)), 1);
});
