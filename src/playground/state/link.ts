// The state in the address and on the command line: an experiment and what differs from it.
import type { Evidence } from "./evidence";
import { changed, FIELDS, fieldOf, MOST_STEPS, problemOf, published } from "./settings";
import { read, type Settings, type Value } from "./settings";

/** What is looked at: the step trained to, one unit alone (counted from 1), whether a hundred seeds are shown. */
export interface View {
  step: number;
  unit: number | null;
  seeds: boolean;
}

export interface State {
  settings: Settings;
  view: View;
}

export const FIRST_VIEW: View = { step: 0, unit: null, seeds: false };
const VIEW = ["experiment", "step", "unit", "seeds"];
/** Choices come before the keys that they bring along. */
const GROUPS = ["target", "optimizer", "data.order"];

/** [key, value] of everything that differs from the experiment, choices first. On the command line an
 * order of rows brings no batch size along, so `full` says all that differs. */
export function overrides(evidence: Evidence, settings: Settings, full = false): [string, Value][] {
  let base = published(evidence, settings.experiment as string);
  const differences: [string, Value][] = [];
  for (const key of GROUPS) {
    const value = settings[key];
    if (value === base[key]) continue;
    differences.push([key, value]);
    const alone = full && key === "data.order";
    base = alone ? { ...base, [key]: value } : changed(evidence, base, key, value);
    if (key === "optimizer") base = { ...base, "optimizer.lr": NaN }; // the experiment's own: say it
  }
  for (const { key } of FIELDS) {
    if (GROUPS.includes(key) || !(key in settings) || settings[key] === base[key]) continue;
    if (key === "target.f" && settings.target !== "formula") continue; // follows from the target
    differences.push([key, settings[key]]);
  }
  return differences;
}

/** The address's fragment, without #. */
export function toFragment(evidence: Evidence, { settings, view }: State): string {
  const pairs: [string, Value][] = [
    ["experiment", settings.experiment],
    ...overrides(evidence, settings),
  ];
  if (view.step > 0) pairs.push(["step", view.step]);
  if (view.unit !== null) pairs.push(["unit", view.unit]);
  if (view.seeds) pairs.push(["seeds", 100]);
  const encoded = (value: Value): string =>
    encodeURIComponent(String(value)).replaceAll("%2F", "/");
  return pairs.map(([key, value]) => `${key}=${encoded(value)}`).join("&");
}

/** The state of a fragment; an empty one gives the first experiment. Throws RangeError in one line. */
export function fromFragment(evidence: Evidence, fragment: string, first: string): State {
  const pairs = fragment === "" ? [] : fragment.split("&").map(pair);
  const given = new Map(pairs);
  const experiment = given.get("experiment") ?? first;
  const names = Object.keys(evidence.experiments);
  if (!names.includes(experiment)) {
    throw new RangeError(`experiment=${short(experiment)}: there are ${names.join(", ")}`);
  }
  let settings = published(evidence, experiment);
  const view: View = {
    step: count(given, "step", MOST_STEPS) ?? 0,
    unit: count(given, "unit", 64),
    seeds: count(given, "seeds", 100) !== null,
  };
  const others = [...given.keys()].filter((key) => ![...VIEW, ...GROUPS].includes(key));
  for (const key of [...GROUPS.filter((name) => given.has(name)), ...others]) {
    const field = fieldOf(key);
    if (!field) throw new RangeError(`${short(key)}: no such setting`);
    const value = read(field, short(given.get(key) as string), choicesOf(evidence, key));
    if (GROUPS.includes(key)) settings = changed(evidence, settings, key, value);
    else
      settings = {
        ...settings,
        [key]: value,
        ...(key === "target.f" ? { target: "formula" } : {}),
      };
  }
  const most = settings["trainer.max_steps"] as number;
  if (view.step > most) {
    throw new RangeError(`step=${view.step}: must be at most trainer.max_steps=${most}`);
  }
  const wrong = problemOf(settings);
  if (wrong) throw new RangeError(wrong);
  return { settings, view };
}

function pair(text: string): [string, string] {
  const [key, ...rest] = text.split("=");
  if (rest.length === 0) throw new RangeError(`${short(text)}: must be key=value`);
  try {
    return [decodeURIComponent(key), decodeURIComponent(rest.join("="))];
  } catch {
    throw new RangeError(`${short(text)}: can't be read`);
  }
}

function count(given: Map<string, string>, key: string, most: number): number | null {
  const text = given.get(key);
  if (text === undefined) return null;
  if (!/^\d{1,7}$/.test(text) || Number(text) > most) {
    throw new RangeError(`${key}=${short(text)}: must be a whole number up to ${most}`);
  }
  return Number(text);
}

const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 60)}...` : text);

/** What a choice may be. */
export function choicesOf(evidence: Evidence, key: string): string[] {
  if (key === "target") return Object.keys(evidence.targets);
  if (key === "optimizer") return Object.keys(evidence.optimizers);
  return fieldOf(key)?.choices ?? [];
}

/** The command line that trains the same. */
export function command(evidence: Evidence, settings: Settings): string {
  const given = published(evidence, settings.experiment as string);
  const parts = overrides(evidence, settings, true).map(([key, value]) =>
    key === "target.f" ? `'${key}="${value}"'` : `${key}=${value}`,
  );
  if (settings.optimizer !== given.optimizer) {
    // What the experiment says of its own optimiser would meet another that has no such key.
    const own = Object.keys(given).filter(
      (key) => key.startsWith("optimizer.") && !(key in settings),
    );
    const standard = evidence.optimizers[given.optimizer as string];
    const set = own.filter((key) => given[key] !== standard[key.slice("optimizer.".length)]);
    parts.push(...set.map((key) => `~${key}`));
  }
  if (settings.target !== given.target) parts.push(...restored(evidence, settings, given));
  return ["mlpfit", `experiment=${settings.experiment}`, ...parts].join(" ");
}

/** Keys of another target that the experiment sets itself, set back. */
function restored(evidence: Evidence, settings: Settings, given: Settings): string[] {
  const standard = evidence.targets[given.target as string];
  const named = new Set(overrides(evidence, settings).map(([key]) => key));
  return FIELDS.map((field) => field.key)
    .filter((key) => key.startsWith("target.") && key !== "target.f" && !named.has(key))
    .filter((key) => given[key] !== standard[key.slice("target.".length)])
    .map((key) => `${key}=${settings[key]}`);
}

/** Whether the published run starts from the same rows and weights. */
export function startsAsPublished(evidence: Evidence, settings: Settings): boolean {
  const given = published(evidence, settings.experiment as string);
  const decides = /^(seed|streams|target.*|model\.(hidden|init)|trainer\.precision)$/;
  return Object.keys(given).every((key) => !decides.test(key) || given[key] === settings[key]);
}

/** Keys that differ from the published experiment, the seed apart. */
export function departures(evidence: Evidence, settings: Settings): string[] {
  return overrides(evidence, settings)
    .map(([key]) => key)
    .filter((key) => key !== "seed");
}
