// Words and numbers beside the pictures.
import type { Problem } from "../model/problem";
import type { Scene } from "../plot/panels";
import type { PublishedBand } from "../state/bands";
import { byId, digits, grouped } from "./dom";
import type { Numbers } from "../plot/scene";
import type { Trainer } from "../worker/trainer";

export const steps = (count: number): string =>
  `${grouped.format(count)} step${count === 1 ? "" : "s"}`;

export interface Reading {
  numbers: Numbers;
  units: number;
  perSecond: number;
  percentile: number | null;
}

type Trained = Pick<Trainer, "timeline" | "perSecond">;

/** The numbers of the weights after a step, and the percentile of its loss among the published seeds. */
export function read(
  { timeline, perSecond }: Trained,
  problem: Problem,
  now: Numbers,
  step: number,
  band: PublishedBand | null,
): Reading {
  const units = problem.hidden.reduce((a, b) => a + b, 0);
  const onAllRows = problem.order === "full" || step === band?.lastStep;
  const ofBatch = step < timeline.steps ? timeline.losses[step] : null;
  const loss = onAllRows ? now.loss : ofBatch;
  const percentile = band && loss !== null ? band.percentile(step, loss) : null;
  return { numbers: now, units, perSecond, percentile };
}

/** The verdict on a place among the published seeds, as the ledger has it: inside the central 90 or 99.8 %. */
export function placeInWords(percentile: number): string {
  const tail = Math.min(percentile, 100 - percentile);
  return tail >= 5 ? "a typical run" : tail >= 0.1 ? "an unusual run" : "outside the seeds";
}

export function showNumbers(
  { numbers, units, perSecond, percentile }: Reading,
  band: PublishedBand | null,
  reason: string,
): void {
  byId("loss").textContent = digits(numbers.loss);
  const seeds = grouped.format(band?.band.replicas ?? 0);
  byId("percentile").textContent =
    percentile !== null
      ? `percentile ${Math.round(percentile)} of ${seeds} seeds: ${placeInWords(percentile)}`
      : reason || "not yet comparable";
  byId("distance").textContent = digits(numbers.distance);
  byId("dead").textContent = units ? `${numbers.dead} of ${units}` : "no hidden units";
  const speed = Number(perSecond.toPrecision(2));
  byId("speed").textContent = perSecond > 0 ? `${grouped.format(speed)} steps/s` : "–";
}

/** What a reader who does not see the pictures is told of them. */
export function describe(scene: Scene, { numbers, units, percentile }: Reading): void {
  const most = Math.max(...scene.residuals.map(Math.abs));
  const after = `after ${steps(scene.step)}`;
  const alone = scene.unit === null ? "" : `; unit ${scene.unit + 1} is shown alone`;
  byId("fit-words").textContent =
    `${scene.rows.x.length} rows; ${after} the fit is ${digits(numbers.distance)} from f(x) in the root mean square${alone}`;
  byId("loss-words").textContent =
    `${after} the loss is ${digits(numbers.loss)}` +
    (percentile === null ? "" : `, percentile ${Math.round(percentile)} of the published seeds`);
  byId("units-words").textContent = `${units} hidden units, ${numbers.dead} of them dead${alone}`;
  byId("residual-words").textContent =
    `${after} the largest residual on the rows is ${digits(most)}`;
}
