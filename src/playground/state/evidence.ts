// What the page was given: settings, starts and curves of finished runs, quantiles over ensembles, the ledger's claims.
import type { Rows } from "../model/rows";
import type { Settings } from "./settings";

export interface Packed {
  f4?: string;
  f8?: string;
}

export interface Band {
  replicas: number;
  seeds: [number, number];
  x: Packed;
  fit: Packed;
  steps: number[];
  loss: Packed;
  final: Packed;
  diverged: number;
  dead: number[];
}

export interface Experiment {
  question: string;
  settings: Settings;
  start: Record<"x" | "y" | "pool_x" | "pool_truth" | "weights", Packed> &
    Record<"center" | "scale", [number, number]>;
  curve: { steps: number[]; loss: Packed };
  printed: [number, number][];
  band: Band | null;
  verdict: Verdict | null;
}

/** What the ledger says of the published run, and by how many seeds. */
export interface Verdict {
  said: string;
  replicas: number | null;
}

export interface Claim {
  tutorial: string;
  claim: string;
  measure: string;
  /** In how many seeds it holds, as the ledger puts it. */
  said: string;
}

export interface Evidence {
  targets: Record<string, Settings>;
  optimizers: Record<string, Settings>;
  /** f(x) over a target's fields, by the target's name. */
  texts: Record<string, string>;
  experiments: Record<string, Experiment>;
  /** Why an experiment is not shown, by its name. */
  left_out: Record<string, string>;
  claims: Claim[];
}

/** Little-endian numbers in base64, as doubles. */
export function unpack(packed: Packed): Float64Array {
  const bytes = Uint8Array.from(atob(packed.f4 ?? packed.f8 ?? ""), (letter) =>
    letter.charCodeAt(0),
  );
  return Float64Array.from(
    packed.f4 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer),
  );
}

/** Rows and initial weights of a published run. */
export function publishedStart({ start }: Experiment): { rows: Rows; parameters: Float64Array } {
  const rows = {
    x: unpack(start.x),
    y: unpack(start.y),
    poolX: unpack(start.pool_x),
    poolTruth: unpack(start.pool_truth),
    center: start.center,
    scale: start.scale,
  };
  return { rows, parameters: unpack(start.weights) };
}
