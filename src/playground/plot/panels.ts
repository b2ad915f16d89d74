// The four pictures of a state of training.
import type { Parts } from "../model/parts";
import type { Rows } from "../model/rows";
import type { Edges } from "../state/bands";
import { type Axis, around, decades, symmetric } from "./axes";
import type { Layer, Picture } from "./plot";

/** Everything the pictures show, at one step. */
export interface Scene {
  rows: Rows;
  x: Float64Array;
  truth: Float64Array;
  parts: Parts;
  /** d prediction - y on the rows. */
  residuals: Float64Array;
  unit: number | null;
  step: number;
  losses: Float64Array;
  fitBand: Edges | null;
  lossBand: Edges | null;
  ownFitBand: Edges | null;
  ownLossBand: Edges | null;
  curve: { steps: number[]; loss: Float64Array } | null;
  printed: [number, number][];
  steps: number;
}

const FAR = 100; // times the first loss: what climbs further leaves the picture at the top

const across = (scene: Scene): Axis => around(scene.x, 0.02);

export function fitPicture(scene: Scene): Picture {
  const { x, truth, rows, parts, unit } = scene;
  const layers: Layer[] = [...band(scene.fitBand), ...outline(scene.ownFitBand)];
  const many = rows.x.length > 400;
  layers.push({
    kind: "points",
    x: rows.x,
    y: rows.y,
    meaning: "rows",
    size: many ? 1.4 : 2.4,
    alpha: many ? 0.4 : 0.7,
  });
  layers.push({ kind: "line", x, y: truth, meaning: "truth", dash: [5, 4], width: 1.4 });
  layers.push({ kind: "line", x, y: parts.fit, meaning: "net", width: 2.4 });
  if (unit !== null && parts.shares[unit]) {
    layers.push(
      { kind: "line", x, y: parts.shares[unit], meaning: "unit", width: 2 },
      ...uprights(scene),
    );
  }
  return { x: across(scene), y: around([...truth, ...rows.y], 0.15), xLabel: "x", layers };
}

export function unitsPicture(scene: Scene): Picture {
  const { x, parts, unit } = scene;
  const shown = unit === null ? parts.shares : parts.shares.filter((_, j) => j === unit);
  const alpha = shown.length > 24 ? 0.35 : shown.length > 8 ? 0.6 : 0.85;
  const lines = shown.map((y): Layer => ({
    kind: "line",
    x,
    y,
    meaning: "unit",
    width: 1.5,
    alpha,
  }));
  const y = symmetric(parts.shares.flatMap((share) => [...share]));
  const kinks = parts.kinks.flatMap((places, j) => (unit === null || unit === j ? places : []));
  const marks: Layer = {
    ...{ kind: "points", x: kinks, y: kinks.map(() => 0), meaning: "unit", size: 4, hollow: true },
  };
  return { x: across(scene), y, xLabel: "x", layers: [...lines, marks, ...uprights(scene)] };
}

export function residualPicture(scene: Scene): Picture {
  const { x, truth, parts, rows, residuals } = scene;
  const error = x.map((_, i) => parts.fit[i] - truth[i]);
  const many = rows.x.length > 400;
  const layers: Layer[] = [
    { kind: "line", x, y: x.map(() => 0), meaning: "truth", dash: [5, 4], width: 1.2 },
    {
      kind: "points",
      x: rows.x,
      y: residuals,
      meaning: "rows",
      size: many ? 1.4 : 2.4,
      alpha: many ? 0.4 : 0.7,
    },
    { kind: "line", x, y: error, meaning: "net", width: 1.8 },
  ];
  return { x: across(scene), y: symmetric([...error, ...residuals]), xLabel: "x", layers };
}

export function lossPicture(scene: Scene): Picture {
  const { losses, steps, curve, printed, step } = scene;
  const own = thinned(losses);
  const layers: Layer[] = [...band(scene.lossBand), ...outline(scene.ownLossBand)];
  layers.push({ kind: "line", x: own.x, y: own.y, meaning: "net", width: 2 });
  if (curve) {
    const [x, y] = [curve.steps, curve.loss];
    layers.push({ kind: "line", x, y, meaning: "published", width: 1.2, dash: [4, 3] });
  }
  if (printed.length) {
    const [x, y] = [printed.map((p) => p[0]), printed.map((p) => p[1])];
    layers.push({ kind: "points", x, y, meaning: "published", size: 3.2 });
  }
  layers.push({ kind: "upright", at: step, meaning: "soft", dash: [3, 3] });
  const start =
    Math.max(losses[0] ?? 0, curve?.loss[0] ?? 0, scene.lossBand?.edges[2][0] ?? 0) || 1;
  const edges = [scene.lossBand, scene.ownLossBand].flatMap((b) =>
    b ? [b.edges[0], b.edges[4]] : [],
  );
  const values = [
    ...own.y,
    ...(curve?.loss ?? []),
    ...printed.map((p) => p[1]),
    ...edges.flatMap((e) => [...e]),
  ];
  return {
    x: { low: 0, high: Math.max(steps, losses.length) },
    y: decades(values, FAR * start),
    xLabel: "steps",
    layers,
  };
}

function band(edges: Edges | null): Layer[] {
  if (!edges) return [];
  const x = edges.x;
  const meaning = "band";
  const [q5, q25, q50, q75, q95] = edges.edges;
  return [
    { kind: "band", x, low: q5, high: q95, meaning, alpha: 0.13 },
    { kind: "band", x, low: q25, high: q75, meaning, alpha: 0.17 },
    { kind: "line", x, y: q50, meaning, width: 1, dash: [2, 3], alpha: 0.9 },
  ];
}

/** Of seeds trained here: 5 and 95 %, and the median dotted, as lines over the published band. */
function outline(edges: Edges | null): Layer[] {
  if (!edges) return [];
  const { x } = edges;
  const [q5, , q50, , q95] = edges.edges;
  return [
    { kind: "band", x, low: q5, high: q95, meaning: "unit", alpha: 0.07 },
    { kind: "line", x, y: q5, meaning: "unit", width: 1 },
    { kind: "line", x, y: q95, meaning: "unit", width: 1 },
    { kind: "line", x, y: q50, meaning: "unit", width: 1, dash: [2, 3] },
  ];
}

const uprights = ({ parts, unit }: Scene): Layer[] =>
  (unit === null ? [] : (parts.kinks[unit] ?? [])).map((at) => ({
    ...{ kind: "upright", at, meaning: "unit", dash: [2, 3] },
  }));

/** At most a thousand points of a long curve. */
function thinned(losses: Float64Array): { x: number[]; y: number[] } {
  const stride = Math.max(1, Math.ceil(losses.length / 1000));
  const x: number[] = [];
  for (let k = 0; k < losses.length; k += stride) x.push(k);
  if (losses.length && x[x.length - 1] !== losses.length - 1) x.push(losses.length - 1);
  return { x, y: x.map((k) => losses[k]) };
}
