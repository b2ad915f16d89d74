// What a net is made of at given inputs: every unit's share of the fit, its kinks, and the units that are dead.
import { Net } from "./net";
import { type Problem, units } from "./problem";

/** shares[j]: what unit j of the last hidden layer adds to the prediction at each x; they and the bias sum to it. */
export interface Parts {
  fit: Float64Array;
  shares: Float64Array[];
  /** Where a unit's own share bends, by unit: for relu where it switches on or off. */
  kinks: number[][];
}

export function parts(problem: Problem, parameters: Float64Array, x: Float64Array): Parts {
  const net = netOf(problem, parameters, x.length);
  const fit = net.predict(x).slice();
  const last = net.layers[net.layers.length - 1];
  const width = problem.hidden.length ? last.fanIn : 0;
  const outputs = net.outputs[net.layers.length - 1];
  const shares = Array.from({ length: width }, (_, j) =>
    x.map((_value, r) => outputs[r * width + j] * parameters[last.weight + j]),
  );
  return { fit, shares, kinks: shares.map((_, j) => kinksOf(problem, net, x, j)) };
}

/** A single hidden layer of relus has its kinks at -b / w; of a deeper net they are read off the outputs. */
function kinksOf(problem: Problem, net: Net, x: Float64Array, unit: number): number[] {
  if (problem.activation !== "relu") return [];
  const [first] = net.layers;
  if (problem.hidden.length === 1) {
    const kink = -net.parameters[first.bias + unit] / net.parameters[first.weight + unit];
    return kink >= x[0] && kink <= x[x.length - 1] ? [kink] : [];
  }
  const width = problem.hidden[problem.hidden.length - 1];
  const outputs = net.outputs[problem.hidden.length];
  const on = (r: number): boolean => outputs[r * width + unit] > 0;
  return [...x.keys()]
    .filter((r) => r > 0 && on(r) !== on(r - 1))
    .map((r) => (x[r] + x[r - 1]) / 2);
}

/** Hidden units that are 0 on every one of the rows. */
export function deadUnits(problem: Problem, parameters: Float64Array, x: Float64Array): number {
  const net = netOf(problem, parameters, x.length);
  net.predict(x);
  return problem.hidden.reduce((dead, width, i) => {
    const outputs = net.outputs[i + 1];
    const alive = new Set<number>();
    for (let k = 0; k < x.length * width; k++) if (outputs[k] !== 0) alive.add(k % width);
    return dead + width - alive.size;
  }, 0);
}

export function netOf(problem: Problem, parameters: Float64Array, rows: number): Net {
  const net = new Net(units(problem), problem.activation, rows);
  net.parameters.set(parameters);
  return net;
}
