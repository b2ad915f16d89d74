// A link is the state: it survives the way there and back, and what is no state is refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bandsOf, place, quantile, wilson } from "../state/bands";
import type { Evidence, Experiment } from "../state/evidence";
import {
  command,
  departures,
  fromFragment,
  overrides,
  startsAsPublished,
  toFragment,
} from "../state/link";
import {
  changed,
  FIELDS,
  fieldOf,
  problemOf,
  published,
  read,
  type Settings,
  toProblem,
} from "../state/settings";
import { Timeline } from "../state/timeline";

const TARGET = {
  points: 100,
  inputs: "grid",
  low: -5,
  high: 5,
  noise: 0,
  observed: null,
  standardise: false,
  float32: false,
};
const GIVEN: Settings = {
  ...{ target: "bowl", optimizer: "sgd", seed: 19, streams: "libraries", loss: "mse" },
  ...{ "target.points": 100, "target.inputs": "uniform", "target.low": -5, "target.high": 5 },
  ...{
    "target.noise": 0,
    "target.observed": null,
    "target.standardise": false,
    "target.float32": false,
  },
  ...{
    "target.curvature": 1,
    "model.hidden": 8,
    "model.activation": "relu",
    "model.init": "torch",
  },
  ...{
    "data.batch_size": null,
    "data.order": "full",
    "data.start_below": null,
    "data.macro_batch": null,
  },
  ...{ "optimizer.lr": 0.02, "optimizer.momentum": 0.9 },
  ...{ "trainer.max_steps": 500, "trainer.precision": "32-true" },
};
const EVIDENCE: Evidence = {
  targets: {
    bowl: { name: "bowl", curvature: 1, ...TARGET, inputs: "uniform" },
    steps: { name: "steps", levels: [1, 2], ...TARGET, low: 0, noise: 0.5 },
    formula: { name: "formula", f: "x^2", ...TARGET },
  },
  optimizers: {
    sgd: { name: "sgd", lr: 0.001, momentum: 0 },
    adam: { name: "adam", lr: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  },
  texts: {
    bowl: "{curvature} * x^2",
    steps: "where(x < 0, {levels[0]}, {levels[1]})",
    formula: "{f}",
  },
  experiments: { "bowls/one": { settings: GIVEN } as unknown as Experiment },
  left_out: {},
  claims: [],
};
const START = published(EVIDENCE, "bowls/one");
const set = (settings: Settings, ...pairs: [string, Settings[string]][]): Settings =>
  pairs.reduce((now, [key, value]) => changed(EVIDENCE, now, key, value), settings);

const STATES: Record<string, Settings> = {
  "the published one": START,
  "another seed": set(START, ["seed", 0]),
  "another target": set(START, ["target", "steps"], ["target.noise", 0.1]),
  "a formula": set(START, ["target.f", "sin(3*x) + x^2 & 50%"], ["target.low", -1.5e-7]),
  "another optimiser": set(START, ["optimizer", "adam"]),
  batches: set(START, ["data.batch_size", 7]),
  slices: set(START, ["data.order", "slices"], ["data.start_below", 60]),
  "macro batches": set(
    START,
    ["target", "steps"],
    ["data.order", "blocks"],
    ["data.macro_batch", 50],
  ),
  "a deep net": set(
    START,
    ["model.hidden", "64-64-64"],
    ["model.activation", "tanh"],
    ["loss", "sse"],
  ),
};

for (const [name, settings] of Object.entries(STATES)) {
  test(`a link to ${name} gives it back`, () => {
    for (const view of [
      { step: 0, unit: null, seeds: false },
      { step: 120, unit: 3, seeds: true },
    ]) {
      const fragment = toFragment(EVIDENCE, { settings, view });
      if (settings["target.f"] === "sin(3*x) + x^2 & 50%") {
        assert.throws(() => fromFragment(EVIDENCE, fragment, "bowls/one"), /character 16: & means/);
        continue;
      }
      assert.deepEqual(fromFragment(EVIDENCE, fragment, "bowls/one"), { settings, view });
    }
  });
}

const BAD: [string, RegExp][] = [
  ["experiment=none", /there are bowls\/one/],
  ["seed", /key=value/],
  ["seed=-1", /seed=-1: must be a whole number from 0/],
  ["seed=1.5", /whole number/],
  ["optimizer.lr=0", /above 0/],
  ["optimizer.lr=abc", /optimizer.lr=abc: must be a number/],
  ["optimizer.lr=Infinity", /must be a number/],
  ["learning=1", /learning: no such setting/],
  ["__proto__=1", /no such setting/],
  ["target=toString", /allowed are bowl, steps, formula/],
  ["target.f=alert(1)", /alert is unknown/],
  ["model.hidden=1000", /at most 100/],
  ["target.low=9", /must be below target.high/],
  ["data.order=shuffle&streams=libraries&data.batch_size=5", /needs data.order=full/],
  ["data.batch_size=5", /goes with a data.order/],
  ["step=-1", /whole number/],
  ["%E0%A4%A=1", /can't be read/],
];

for (const [fragment, message] of BAD) {
  test(`${fragment} is refused in one line`, () => {
    assert.throws(
      () => fromFragment(EVIDENCE, fragment, "bowls/one"),
      (error: Error) =>
        error instanceof RangeError && message.test(error.message) && !/\n/.test(error.message),
    );
  });
}

test("an empty link is the first experiment as published", () => {
  assert.deepEqual(fromFragment(EVIDENCE, "", "bowls/one").settings, START);
});

test("the command names what differs, quotes a formula and takes back what another optimiser lacks", () => {
  assert.equal(command(EVIDENCE, START), "mlpfit experiment=bowls/one");
  assert.equal(command(EVIDENCE, set(START, ["seed", 0])), "mlpfit experiment=bowls/one seed=0");
  assert.equal(
    command(EVIDENCE, set(START, ["target.f", "x^3 - x"], ["target.noise", 0.5])),
    `mlpfit experiment=bowls/one target=formula 'target.f="x^3 - x"' target.inputs=uniform target.noise=0.5`,
  );
  assert.equal(
    command(EVIDENCE, STATES["another optimiser"]),
    "mlpfit experiment=bowls/one optimizer=adam optimizer.lr=0.02 ~optimizer.momentum",
  );
  assert.equal(
    command(EVIDENCE, STATES["batches"]),
    "mlpfit experiment=bowls/one data.order=shuffle streams=spawned data.batch_size=7",
  );
});

test("only what decides rows and weights parts a start from the published one", () => {
  const same = set(START, ["optimizer.lr", 0.1], ["loss", "sse"], ["model.activation", "tanh"]);
  assert.ok(startsAsPublished(EVIDENCE, same));
  for (const apart of [
    set(START, ["seed", 1]),
    set(START, ["target.noise", 1]),
    STATES["a deep net"],
  ]) {
    assert.ok(!startsAsPublished(EVIDENCE, apart));
  }
  assert.deepEqual(departures(EVIDENCE, set(START, ["seed", 1])), []);
});

test("every setting that a control can make trains, or says what is wrong", () => {
  for (const settings of Object.values(STATES)) assert.equal(toProblem(settings).steps, 500);
  assert.match(problemOf(set(START, ["target.observed", 200])) ?? "", /at most target.points=100/);
  for (const { key } of FIELDS) assert.ok(fieldOf(key));
  assert.equal(read(fieldOf("target.observed")!, " "), null);
  assert.equal(overrides(EVIDENCE, START).length, 0);
});

test("a quantile is one of the values, and infinite ones lie above", () => {
  const sorted = Float64Array.of(1, 2, 3, Infinity);
  assert.equal(quantile(sorted, 0.5), 2);
  assert.equal(quantile(sorted, 0.05), 1);
  assert.equal(quantile(sorted, 0.95), Infinity);
  const one = (final: number) => ({
    seed: 0,
    fit: Float64Array.of(final),
    losses: Float64Array.of(final),
  });
  const replicas = [3, 1, 2].map((v) => ({ ...one(v), final: v, dead: 0, diverged: false }));
  assert.deepEqual(
    bandsOf(replicas, Float64Array.of(0), [0]).fit.edges.map((e) => e[0]),
    [1, 1, 2, 3, 3],
  );
});

test("a percentile grows with the value from 0 to 100", () => {
  const quantiles = Float64Array.from({ length: 101 }, (_, p) => 10 + p);
  assert.equal(place(quantiles, 9), 0);
  assert.equal(place(quantiles, 47.5), 37.5);
  assert.equal(place(quantiles, 1000), 100);
  assert.equal(place(quantiles, NaN), 100);
});

/** Wilson (1927) at 0 of n: from 0 to z^2 / (n + z^2). */
test("the interval of a share that never occurred", () => {
  const z = 1.959963984540054;
  const [low, high] = wilson(0, 100);
  assert.ok(low < 1e-12 && Math.abs(high - z ** 2 / (100 + z ** 2)) < 1e-12);
});

test("a timeline gives the nearest weights and every loss", () => {
  const timeline = new Timeline();
  const parameters = new Float64Array(1);
  const progress = { kind: "progress", id: 1, running: false, perSecond: 0 } as const;
  const snapshots = Array.from({ length: 3000 }, (_, i) => ({ step: i + 1, parameters })).filter(
    (s) => s.step % 8 === 0,
  );
  const losses = Float64Array.from({ length: 3000 }, (_, i) => i);
  timeline.add({ ...progress, head: { step: 3000, parameters }, snapshots, stride: 8, losses });
  assert.equal(timeline.steps, 3000);
  assert.equal(timeline.losses[2999], 2999);
  assert.equal(timeline.nearest(1001).step, 1000);
  assert.equal(timeline.nearest(2999).step, 3000);
});
