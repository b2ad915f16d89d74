// One seed of many: trained to the end, and what the bands need of it.
import { deadUnits } from "../model/parts";
import type { Problem } from "../model/problem";
import { draw } from "../model/start";
import { meanSquare, ofSquares, Training } from "../model/training";
import type { Replica } from "./messages";

/** Losses after the given steps (ascending), fit at x. */
export function replica(problem: Problem, x: Float64Array, steps: number[]): Replica {
  const start = draw(problem);
  const training = new Training(problem, start);
  const losses = new Float64Array(steps.length).fill(Infinity);
  let at = 0;
  let diverged = false;
  while (!diverged && training.steps < problem.steps) {
    const wanted = training.steps === steps[at];
    const loss = training.step();
    if (wanted) losses[at++] = loss;
    diverged = !Number.isFinite(loss);
  }
  const rows = start.rows.x.length;
  const mse = diverged ? Infinity : meanSquare(training.net, start.rows.x, start.rows.y);
  diverged ||= !Number.isFinite(mse);
  const wide = new Training(problem, { ...start, rows: { ...start.rows, x, y: x } }).net;
  wide.parameters.set(training.net.parameters);
  return {
    seed: problem.seed,
    fit: diverged ? new Float64Array(x.length).fill(Infinity) : wide.predict(x).slice(),
    losses,
    final: ofSquares[problem.loss](mse * rows, rows),
    dead: diverged ? 0 : deadUnits(problem, training.net.parameters, start.rows.poolX),
    diverged,
  };
}
