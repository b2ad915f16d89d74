// From what was trained to what is shown of it at one step.
import { parse } from "../model/formula";
import { deadUnits, netOf, parts } from "../model/parts";
import type { Problem } from "../model/problem";
import type { Rows } from "../model/rows";
import { meanSquare, ofSquares } from "../model/training";
import type { Scene } from "./panels";
import type { Snapshot } from "../worker/messages";

const POINTS = 181;

/** The inputs that are drawn and f there, both in the units of the rows. */
export interface Ground {
  x: Float64Array;
  truth: Float64Array;
}

export function ground(problem: Problem, rows: Rows): Ground {
  const [low, high] = [Math.min(...rows.poolX), Math.max(...rows.poolX)];
  const x = Float64Array.from(
    { length: POINTS },
    (_, i) => low + (i / (POINTS - 1)) * (high - low),
  );
  const f = parse(problem.target.formula);
  const { center, scale } = rows;
  return { x, truth: x.map((value) => (f(scale[0] * value + center[0]) - center[1]) / scale[1]) };
}

/** Numbers beside the pictures, all of the weights that are shown. */
export interface Numbers {
  loss: number;
  distance: number;
  dead: number;
}

export function numbers(problem: Problem, rows: Rows, { parameters }: Snapshot): Numbers {
  const net = netOf(problem, parameters, Math.max(rows.x.length, rows.poolX.length));
  const n = rows.x.length;
  return {
    loss: ofSquares[problem.loss](meanSquare(net, rows.x, rows.y) * n, n),
    distance: Math.sqrt(meanSquare(net, rows.poolX, rows.poolTruth)),
    dead: deadUnits(problem, parameters, rows.poolX),
  };
}

type Shown = Pick<Scene, "rows" | "x" | "truth" | "parts" | "residuals" | "step">;

export function shown(problem: Problem, rows: Rows, { x, truth }: Ground, at: Snapshot): Shown {
  const prediction = netOf(problem, at.parameters, rows.x.length).predict(rows.x);
  const residuals = prediction.map((value, r) => value - rows.y[r]);
  return { rows, x, truth, parts: parts(problem, at.parameters, x), residuals, step: at.step };
}
