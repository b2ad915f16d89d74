// Quantiles over seeds: those that came with the page, and those of seeds trained on it.
import type { Replica } from "../worker/messages";
import { type Band, unpack } from "./evidence";

/** Edges at 5, 25, 50, 75 and 95 % over x; infinite where that share of the seeds has diverged. */
export interface Edges {
  x: ArrayLike<number>;
  edges: Float64Array[];
}

const SHARES = [0.05, 0.25, 0.5, 0.75, 0.95];

/** The value at or below which this share of the seeds lies (Hyndman and Fan 1996, definition 1). */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share - 1e-9) - 1)];
}

/** Bands of fit and loss over replicas that were trained here. */
export function bandsOf(
  replicas: Replica[],
  x: Float64Array,
  steps: number[],
): Record<"fit" | "loss", Edges> {
  const over = (place: number, of: (replica: Replica) => Float64Array): number[] => {
    const sorted = Float64Array.from(replicas, (r) => of(r)[place]).sort();
    return SHARES.map((share) => quantile(sorted, share));
  };
  const edges = (count: number, of: (replica: Replica) => Float64Array): Float64Array[] => {
    const columns = Array.from({ length: count }, (_, place) => over(place, of));
    return SHARES.map((_, q) => Float64Array.from(columns, (column) => column[q]));
  };
  return {
    fit: { x, edges: edges(x.length, (r) => r.fit) },
    loss: { x: steps, edges: edges(steps.length, (r) => r.losses) },
  };
}

/** The seeds of a published experiment. */
export class PublishedBand {
  readonly fit: Edges;
  readonly loss: Edges;
  private readonly losses: Float64Array; // (101, steps)
  private readonly final: Float64Array; // (101,)

  constructor(readonly band: Band) {
    const [x, fit] = [unpack(band.x), unpack(band.fit)];
    const row = (values: Float64Array, n: number, i: number): Float64Array =>
      values.subarray(i * n, (i + 1) * n);
    this.losses = unpack(band.loss);
    this.final = unpack(band.final);
    const percents = SHARES.map((share) => Math.round(100 * share));
    this.fit = { x, edges: SHARES.map((_, i) => row(fit, x.length, i)) };
    this.loss = {
      x: band.steps,
      edges: percents.map((p) => row(this.losses, band.steps.length, p)),
    };
  }

  /** Steps of the published run: what lies after the last of its losses is its final one. */
  get lastStep(): number {
    return this.band.steps[this.band.steps.length - 1] + 1;
  }

  /** Per cent of the seeds whose loss after this many steps is below the given one. */
  percentile(step: number, loss: number): number | null {
    const { steps } = this.band;
    const last = steps[steps.length - 1];
    if (step > last) return step === this.lastStep ? place(this.final, loss) : null;
    const above = steps.findIndex((s) => s >= step);
    const below = steps[above] === step ? above : above - 1;
    const weight = above === below ? 0 : (step - steps[below]) / (steps[above] - steps[below]);
    const at = (p: number, i: number): number => this.losses[p * steps.length + i];
    const column = Float64Array.from({ length: 101 }, (_, p) =>
      above === below
        ? at(p, above)
        : Math.exp((1 - weight) * Math.log(at(p, below)) + weight * Math.log(at(p, above))),
    );
    return place(column, loss);
  }
}

/** Where a value lies among the 0, 1 ... 100 % quantiles, in per cent. */
export function place(quantiles: Float64Array, value: number): number {
  if (!Number.isFinite(value)) return 100;
  const above = quantiles.findIndex((q) => q > value);
  if (above < 0) return 100;
  if (above === 0) return 0;
  const [low, high] = [quantiles[above - 1], quantiles[above]];
  return above - 1 + (Number.isFinite(high) ? (value - low) / (high - low) : 0);
}

/** Wilson's (1927) 95 % interval of a share. */
export function wilson(count: number, n: number): [number, number] {
  const z = 1.959963984540054;
  const p = count / n;
  const middle = p + (z * z) / (2 * n);
  const half = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}
