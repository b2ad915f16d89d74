// Words and numbers beside the pictures.
import type { Problem } from "../model/problem";
import type { Scene } from "../plot/panels";
import type { PublishedBand } from "../state/bands";
import type { Claim } from "../state/evidence";
import { byId, digits, make, percent } from "./dom";
import type { Numbers } from "../plot/scene";
import type { Trainer } from "../worker/trainer";

const grouped = new Intl.NumberFormat("en-GB");
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

export function showNumbers({ numbers, units, perSecond, percentile }: Reading): void {
  byId("loss").textContent = digits(numbers.loss);
  byId("percentile").textContent =
    percentile === null ? "–" : `percentile ${Math.round(percentile)}`;
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

/** Which seeds the bands are of, and what differs from them. */
export function aboutBand(
  experiment: string,
  band: PublishedBand | null,
  differing: string[],
  comparable: boolean,
): void {
  const words = (): string => {
    if (!band)
      return `No ensemble of ${experiment} came with this page: make ensembles playground.`;
    const { replicas, seeds } = band.band;
    const whose = `${grouped.format(replicas)} seeds (${seeds[0]} to ${seeds[1]}) of ${experiment} as published`;
    if (!comparable)
      return `No band: it would be of ${whose}, and another function, other rows or another loss are trained here.`;
    const apart = differing.length ? ` Yours differs in ${differing.join(", ")}.` : "";
    return `Bands: central 50 and 90 % of ${whose}, the fit after all its steps. A diverged one counts as infinite.${apart}`;
  };
  byId("about-band").textContent = words();
}

export function showClaims(claims: Claim[], tutorial: string): void {
  const own = claims.filter((claim) => claim.tutorial === tutorial);
  const items = own.map((c) =>
    make(
      "li",
      {},
      `${c.claim}: holds in ${percent(c.share)} of ${c.replicas} seeds `,
      make("small", {}, `(95 % interval ${percent(c.low)} to ${percent(c.high)}; ${c.measure})`),
    ),
  );
  const none = "No ledger came with this page: make ensembles report playground.";
  byId("claims").replaceChildren(...(items.length ? items : [make("li", {}, none)]));
}
