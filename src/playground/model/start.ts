// The start of a run: its generators, rows, initial weights and order, each a pure function of the seed.
import { RandomState, TorchGenerator } from "../random/mersenne";
import { Generator } from "../random/pcg64";
import type { Source } from "../random/source";
import { type Batch, batches } from "./order";
import { type Problem, units } from "./problem";
import { drawRows, type Rows } from "./rows";

export interface Start {
  rows: Rows;
  /** Layer by layer: weight (in, out) row by row, bias (out). */
  parameters: Float64Array;
  batches: Iterator<Batch> | null;
}

/** mlpfit's streams: three spawned generators; numpy's and torch's, seeded alike; one legacy generator for all. */
export function draw(problem: Problem): Start {
  const { seed, streams } = problem;
  const legacy = new RandomState(seed);
  const [data, order]: Source[] =
    streams === "spawned" ? [new Generator(seed, 0), new Generator(seed, 2)] : [legacy, legacy];
  const rows = drawRows(problem.target, data);
  const weights = streams === "legacy" ? single(legacy) : weightsOf(seed, streams);
  const parameters = initial(units(problem), problem.init, weights);
  return rounded(problem, { rows, parameters, batches: batches(problem, rows.x.length, order) });
}

/** In 32-true the rows and the weights that training starts from are float32; what follows is double here. */
export function rounded(problem: Problem, start: Start): Start {
  if (problem.precision === "64-true") return start;
  const { x, y } = start.rows;
  const rows = { ...start.rows, x: x.map(Math.fround), y: y.map(Math.fround) };
  return { ...start, rows, parameters: start.parameters.map(Math.fround) };
}

function weightsOf(seed: number, streams: "spawned" | "libraries"): Weights {
  return streams === "libraries" ? new TorchGenerator(seed) : single(new Generator(seed, 1));
}

interface Weights {
  uniforms(low: number, high: number, size: number): Float64Array;
  normals(size: number): Float64Array;
}

const single = (source: Source): Weights => ({
  uniforms: (low, high, size) =>
    Float64Array.from({ length: size }, () => source.uniform(low, high)),
  normals: (size) => Float64Array.from({ length: size }, () => source.normal()),
});

/** torch: as torch.nn.Linear; normal: N(0, 1) weights, zero biases; ones: all 1. */
function initial(widths: number[], init: Problem["init"], source: Weights): Float64Array {
  const parts: number[] = [];
  for (let k = 0; k + 1 < widths.length; k++) {
    const [fanIn, out] = [widths[k], widths[k + 1]];
    if (init === "ones") {
      parts.push(...new Array<number>(fanIn * out + out).fill(1));
    } else if (init === "normal") {
      parts.push(...source.normals(fanIn * out), ...new Array<number>(out).fill(0));
    } else {
      const bound = Math.sqrt(3) * (Math.sqrt(2 / 6) / Math.sqrt(fanIn)); // torch's arithmetic
      const byUnit = source.uniforms(-bound, bound, fanIn * out); // torch keeps (out, in)
      for (let i = 0; i < fanIn; i++)
        for (let j = 0; j < out; j++) parts.push(byUnit[j * fanIn + i]);
      parts.push(...source.uniforms(-1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn), out));
    }
  }
  return Float64Array.from(parts);
}
