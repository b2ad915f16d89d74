// Settings by YAML key, the controls that stand for them, and what is allowed.
import { FormulaError, parse } from "../model/formula";
import type { Problem } from "../model/problem";
import type { Evidence } from "./evidence";

export type Value = string | number | boolean | null | number[];
export type Settings = Record<string, Value>;

export interface Field {
  key: string;
  label: string;
  group: "function" | "net" | "descent";
  kind: "choice" | "number" | "whole" | "text" | "flag";
  choices?: string[];
  least?: number;
  most?: number;
  above?: number;
  optional?: boolean;
  hint?: string;
  shown?: (settings: Settings) => boolean;
}

const MOST_ROWS = 5000;
const ORDERS = ["full", "shuffle", "sequential", "slices", "consecutive", "blocks"];
export const MOST_STEPS = 200000;
/** Whether batches start at any row. */
const startsAnywhere = (settings: Settings): boolean =>
  ["slices", "consecutive"].includes(settings["data.order"] as string);
const ordered = (settings: Settings): boolean => settings["data.order"] !== "full";

type Group = Field["group"];
type Options = Omit<Partial<Field>, "key" | "label" | "group" | "kind">;
type Entry = [key: string, label: string, kind: Field["kind"], options?: Options];

const fields = (group: Group, entries: Entry[]): Field[] =>
  entries.map(([key, label, kind, options]) => ({ key, label, group, kind, ...options }));
const rowCount = { least: 1, most: MOST_ROWS };

export const FIELDS: Field[] = [
  ...fields("function", [
    ["target", "function", "choice"],
    ["target.f", "f(x)", "text", { hint: "what you type becomes target=formula" }],
    ["target.points", "rows", "whole", rowCount],
    ["target.inputs", "inputs", "choice", { choices: ["grid", "uniform", "normal"] }],
    ["target.low", "low", "number"],
    ["target.high", "high", "number"],
    ["target.noise", "noise", "number", { least: 0 }],
    ["target.observed", "rows kept", "whole", { ...rowCount, optional: true, hint: "empty: all" }],
    ["target.standardise", "standardise", "flag"],
  ]),
  ...fields("net", [
    ["model.hidden", "hidden layers", "text", { hint: "8, 16-16, 64-64-64 or none" }],
    ["model.activation", "activation", "choice", { choices: ["relu", "tanh", "identity"] }],
    ["model.init", "initial weights", "choice", { choices: ["torch", "normal", "ones"] }],
    ["seed", "seed", "whole", { least: 0, most: 2 ** 32 - 101 }],
    ["streams", "generators", "choice", { choices: ["spawned", "libraries", "legacy"] }],
    [
      "trainer.precision",
      "precision",
      "choice",
      { choices: ["32-true", "64-true"], hint: "here of rows and initial weights" },
    ],
  ]),
  ...fields("descent", [
    ["loss", "loss", "choice", { choices: ["mse", "sse", "half_mse"] }],
    ["optimizer", "optimiser", "choice"],
    ["optimizer.lr", "learning rate", "number", { above: 0 }],
    [
      ...(["optimizer.momentum", "momentum", "number"] as const),
      { least: 0, most: 0.9999, shown: (settings) => "optimizer.momentum" in settings },
    ],
    ["trainer.max_steps", "steps", "whole", { least: 1, most: MOST_STEPS }],
    ["data.order", "order of rows", "choice", { choices: ORDERS }],
    ["data.batch_size", "batch", "whole", { ...rowCount, optional: true, hint: "empty: all rows" }],
    [
      ...(["data.start_below", "starts below", "whole"] as const),
      { ...rowCount, optional: true, shown: startsAnywhere },
    ],
    [
      ...(["data.macro_batch", "macro batch", "whole"] as const),
      { ...rowCount, optional: true, shown: (settings) => settings["data.order"] === "blocks" },
    ],
  ]),
];

export const fieldOf = (key: string): Field | undefined =>
  FIELDS.find((field) => field.key === key);

/** A value as it is typed or stands in a link. Throws RangeError: what was given and what is allowed. */
export function read(field: Field, text: string, choices = field.choices ?? []): Value {
  const given = `${field.key}=${text}`;
  if (field.kind === "choice") {
    if (!choices.includes(text))
      throw new RangeError(`${given}: allowed are ${choices.join(", ")}`);
    return text;
  }
  if (field.kind === "flag") {
    if (text !== "true" && text !== "false")
      throw new RangeError(`${given}: allowed are true and false`);
    return text === "true";
  }
  if (field.key === "model.hidden") return hidden(text);
  if (field.kind === "text") return text.trim();
  if (field.optional && (text.trim() === "" || text === "null")) return null;
  const value = text.trim() === "" ? NaN : Number(text);
  const { least = -1e9, most = 1e9, above = -Infinity } = field;
  const whole = field.kind === "number" || Number.isInteger(value);
  if (!(whole && value >= least && value <= most && value > above)) {
    const range = field.above === undefined ? `from ${least} to ${most}` : `above ${above}`;
    throw new RangeError(
      `${given}: must be a ${field.kind === "whole" ? "whole number" : "number"} ${range}`,
    );
  }
  return value;
}

function hidden(text: string): string {
  const widths = text.trim().split("-");
  const allowed =
    widths.length <= 3 && widths.every((w) => /^[1-9]\d{0,2}$/.test(w) && Number(w) <= 100);
  if (text.trim() !== "none" && !allowed) {
    const allowedWidths = "up to three widths of at most 100, such as 8 or 64-64, or none";
    throw new RangeError(`model.hidden=${text}: allowed are ${allowedWidths}`);
  }
  return text.trim();
}

/** The settings of an experiment as published. */
export function published(evidence: Evidence, experiment: string): Settings {
  const given = evidence.experiments[experiment].settings;
  const keys = ["target.float32", "model.gradient", ...FIELDS.map((field) => field.key)];
  const decides = (key: string): boolean => keys.includes(key) || key.startsWith("optimizer.");
  const kept = Object.fromEntries(Object.entries(given).filter(([key]) => decides(key)));
  const f = text(evidence, given.target as string, given);
  return { experiment, ...kept, "model.hidden": String(given["model.hidden"]), "target.f": f };
}

/** f(x) of a target, its fields filled in; those that an experiment changes come from there. */
export function text(evidence: Evidence, target: string, given: Settings = {}): string {
  const values = evidence.targets[target];
  const place = /\{(\w+)(?:\[(\d+)\])?\}/g;
  return evidence.texts[values.name as string].replace(place, (_, name: string, index?: string) => {
    const value = given[`target.${name}`] ?? values[name];
    return String(index === undefined ? value : (value as number[])[Number(index)]);
  });
}

/** The settings after one of them has been changed, with whatever has to follow. */
export function changed(
  evidence: Evidence,
  settings: Settings,
  key: string,
  value: Value,
): Settings {
  if (key === "experiment") return published(evidence, value as string);
  const next = { ...settings, [key]: value };
  if (key === "target") return { ...next, ...targetFields(evidence, value as string) };
  if (key === "target.f") return { ...next, target: "formula" };
  if (key === "optimizer") {
    delete next["optimizer.momentum"];
    for (const [name, setting] of Object.entries(evidence.optimizers[value as string])) {
      if (name !== "name" && name !== "lr") next[`optimizer.${name}`] = setting;
    }
  }
  if (key === "data.batch_size" && value === null) next["data.order"] = "full";
  else if (key === "data.batch_size" && !ordered(settings)) next["data.order"] = "shuffle";
  if (key === "data.order" || key === "data.batch_size") return follow(next);
  return next;
}

function targetFields(evidence: Evidence, target: string): Settings {
  const keys = FIELDS.map((field) => field.key).filter((key) => key.startsWith("target."));
  const values = evidence.targets[target];
  const own = [...keys, "target.float32"].map((key) => [key, values[key.slice("target.".length)]]);
  return { ...Object.fromEntries(own), target, "target.f": text(evidence, target) };
}

/** Batch size, its companions and the generators go with the order of the rows. */
function follow(settings: Settings): Settings {
  const order = settings["data.order"];
  const rows = rowsOf(settings);
  const batch = order === "full" ? null : (settings["data.batch_size"] ?? Math.min(10, rows));
  return {
    ...settings,
    "data.batch_size": batch,
    "data.start_below": startsAnywhere(settings) ? (settings["data.start_below"] ?? rows) : null,
    "data.macro_batch": order === "blocks" ? (settings["data.macro_batch"] ?? rows) : null,
    streams: order !== "full" && settings.streams === "libraries" ? "spawned" : settings.streams,
  };
}

const rowsOf = (settings: Settings): number =>
  (settings["target.observed"] ?? settings["target.points"]) as number;

/** What is wrong with the combination, in one line, or null. */
export function problemOf(settings: Settings): string | null {
  const [low, high] = [settings["target.low"] as number, settings["target.high"] as number];
  const [rows, points] = [rowsOf(settings), settings["target.points"] as number];
  const batch = settings["data.batch_size"] as number | null;
  const below = settings["data.start_below"] as number | null;
  if (settings["target.inputs"] !== "normal" && !(low < high)) {
    return `target.low=${low}: must be below target.high=${high}`;
  }
  if (rows > points) return `target.observed=${rows}: must be at most target.points=${points}`;
  if (settings["target.standardise"] && rows < 2)
    return "target.standardise=true: needs at least 2 rows";
  if ((batch === null) !== !ordered(settings)) {
    return `data.batch_size=${batch}: goes with a data.order other than full, and only with it`;
  }
  if ((below !== null) !== startsAnywhere(settings)) {
    return `data.start_below=${below}: goes with data.order=slices or consecutive, and only with them`;
  }
  if ((settings["data.macro_batch"] !== null) !== (settings["data.order"] === "blocks")) {
    return `data.macro_batch=${settings["data.macro_batch"]}: goes with data.order=blocks, and only with it`;
  }
  if (batch !== null && batch > rows)
    return `data.batch_size=${batch}: must be at most the ${rows} rows there are`;
  if (below !== null && batch !== null && !(batch < below && below <= rows)) {
    return `data.start_below=${below}: must be above the batch size and at most the ${rows} rows`;
  }
  if (settings.streams === "libraries" && ordered(settings)) {
    return "streams=libraries: needs data.order=full";
  }
  try {
    parse(settings["target.f"] as string);
  } catch (error) {
    if (error instanceof FormulaError) return error.message;
    throw error;
  }
  return null;
}

/** What training needs, in its own words. */
export function toProblem(settings: Settings): Problem {
  const of = <T>(key: string): T => settings[key] as T;
  const widths = of<string>("model.hidden");
  return {
    seed: of("seed"),
    streams: of("streams"),
    loss: of("loss"),
    target: {
      ...{ formula: of("target.f"), points: of("target.points"), inputs: of("target.inputs") },
      ...{ low: of("target.low"), high: of("target.high"), noise: of("target.noise") },
      ...{
        observed: of("target.observed"),
        standardise: of("target.standardise"),
        float32: of("target.float32"),
      },
    },
    hidden: widths === "none" ? [] : widths.split("-").map(Number),
    activation: of("model.activation"),
    init: of("model.init"),
    optimizer: {
      ...{
        name: of("optimizer"),
        lr: of("optimizer.lr"),
        momentum: of<number>("optimizer.momentum") ?? 0,
      },
      ...{ beta1: of("optimizer.beta1"), beta2: of("optimizer.beta2"), eps: of("optimizer.eps") },
    },
    batch: of("data.batch_size"),
    order: of("data.order"),
    startBelow: of("data.start_below"),
    macroBatch: of("data.macro_batch"),
    precision: of("trainer.precision"),
    steps: of("trainer.max_steps"),
  };
}
