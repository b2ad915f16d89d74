// The rows of one replica, drawn as mlpfit draws them: inputs, then noise, then which rows are observed.
import type { Source } from "../random/source";
import { parse } from "./formula";
import type { Target } from "./problem";

/** x, y: what the net sees; pool: every row generated; truth without noise; raw = scale * column + center. */
export interface Rows {
  x: Float64Array;
  y: Float64Array;
  poolX: Float64Array;
  poolTruth: Float64Array;
  center: [number, number];
  scale: [number, number];
}

/** Throws FormulaError if f is no formula or not finite on the rows. */
export function drawRows(target: Target, source: Source): Rows {
  const f = parse(target.formula);
  const round = (values: Float64Array): Float64Array =>
    target.float32 ? values.map(Math.fround) : values;
  const x = round(inputs(target, source));
  const truth = x.map(f);
  const bad = truth.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new RangeError(`f(x) is not finite at x = ${x[bad]}; see target.low and target.high`);
  const y = round(
    target.noise > 0 ? truth.map((value) => value + target.noise * source.normal()) : truth,
  );
  const seen = target.observed === null ? null : source.choice(target.points, target.observed);
  const pick = (values: Float64Array): Float64Array =>
    seen === null ? values : Float64Array.from(seen, (row) => values[row]);
  const [cx, sx] = target.standardise ? moments(pick(x)) : [0, 1];
  const [cy, sy] = target.standardise ? moments(pick(y)) : [0, 1];
  const poolX = x.map((value) => (value - cx) / sx);
  const poolY = y.map((value) => (value - cy) / sy);
  const poolTruth = truth.map((value) => (value - cy) / sy);
  return { x: pick(poolX), y: pick(poolY), poolX, poolTruth, center: [cx, cy], scale: [sx, sy] };
}

function inputs(target: Target, source: Source): Float64Array {
  const { points, low, high } = target;
  if (target.inputs === "grid") {
    const step = points > 1 ? (high - low) / (points - 1) : 0;
    return Float64Array.from({ length: points }, (_, i) =>
      i && i === points - 1 ? high : i * step + low,
    );
  }
  const draw =
    target.inputs === "uniform" ? () => source.uniform(low, high) : () => source.normal();
  return Float64Array.from({ length: points }, draw);
}

/** Mean, and standard deviation with n - 1. */
function moments(values: Float64Array): [number, number] {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((a, b) => a + (b - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / (values.length - 1))];
}
