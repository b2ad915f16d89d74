// A hundred seeds, trained in a worker of their own, and the words about them and about the published ones.
import type { Problem } from "../model/problem";
import { type Edges, bandsOf, quantile, wilson } from "../state/bands";
import type { Experiment } from "../state/evidence";
import type { Reply, Replica, Request } from "../worker/messages";
import { byId, digits, grouped, percent } from "./dom";
import { newWorker } from "../worker/trainer";

const COUNT = 100;
const STEPS = 60;

export class Hundred {
  bands: Record<"fit" | "loss", Edges> | null = null;
  replicas: Replica[] = [];
  private worker: Worker | null = null;
  private problem: Problem | null = null;
  private x: Float64Array = new Float64Array(0);
  private steps: number[] = [];
  private readonly bar = byId<HTMLProgressElement>("hundred-done");
  private readonly button = byId<HTMLButtonElement>("hundred");

  constructor(private readonly onNews: () => void) {}

  get training(): boolean {
    return this.worker !== null;
  }

  train(problem: Problem, x: Float64Array): void {
    this.stop();
    this.replicas = [];
    [this.problem, this.x, this.steps] = [problem, x, spread(problem.steps)];
    this.worker = newWorker();
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.take(data);
    const seeds = Array.from({ length: COUNT }, (_, k) => problem.seed + k);
    const request: Request = { kind: "seeds", id: 1, problem, seeds, x, steps: this.steps };
    this.worker.postMessage(request);
    this.show();
  }

  /** Ends training; what was trained stays. */
  stop(): void {
    this.worker?.terminate();
    this.worker = null;
    this.show();
  }

  clear(): void {
    this.stop();
    this.replicas = [];
    this.bands = null;
    byId("hundred-words").textContent = "";
  }

  private take(reply: Reply): void {
    if (reply.kind === "failed") {
      this.stop();
      byId("hundred-words").textContent = reply.message;
    }
    if (reply.kind !== "replica") return;
    this.replicas.push(reply.replica);
    const complete = this.replicas.length === COUNT;
    if (complete || this.replicas.length % 5 === 0) {
      this.bands = bandsOf(this.replicas, this.x, this.steps);
      this.onNews();
    }
    if (complete) this.stop();
    this.show();
  }

  private show(): void {
    this.bar.hidden = this.worker === null;
    this.bar.value = this.replicas.length;
    this.button.textContent = this.worker ? "Stop" : `Train ${COUNT} seeds`;
    if (this.worker === null && this.replicas.length && this.problem) {
      byId("hundred-words").textContent = words(this.problem, this.replicas);
    }
  }
}

/** Steps done at which losses are kept. */
function spread(steps: number): number[] {
  const even = Array.from({ length: STEPS }, (_, i) => Math.round((i / (STEPS - 1)) * (steps - 1)));
  const early = Array.from({ length: 20 }, (_, i) => Math.round(steps ** (i / 19)) - 1);
  return [...new Set([...early, ...even])].sort((a, b) => a - b);
}

function words(problem: Problem, replicas: Replica[]): string {
  const n = replicas.length;
  const diverged = replicas.filter((r) => r.diverged).length;
  const units = problem.hidden.reduce((a, b) => a + b, 0);
  const last = problem.seed + n - 1;
  const finals = Float64Array.from(replicas, (r) => r.final).sort();
  const [low, middle, high] = [0.05, 0.5, 0.95].map((share) => digits(quantile(finals, share)));
  const alive = replicas.filter((r) => !r.diverged && r.dead === 0).length;
  const sentences = [
    `${n} seeds (${problem.seed} to ${last}), ${problem.steps} steps each.`,
    `Diverged: ${share(diverged, n)}.`,
    units ? `No dead unit among ${units}: ${share(alive, n)}.` : "",
    `Final loss on all rows: median ${middle}, 5 to 95 % ${low} to ${high}.`,
  ];
  return sentences.join(" ");
}

/** The same of the published experiment's ensemble, if there is one. */
export function publishedWords(name: string, { band, settings }: Experiment): string {
  if (!band) return "";
  const { replicas, seeds, diverged, dead } = band;
  const units = String(settings["model.hidden"])
    .split("-")
    .reduce((sum, w) => sum + (Number(w) || 0), 0);
  const whose = `The ${grouped.format(replicas)} published seeds (${seeds[0]} to ${seeds[1]}) of ${name}`;
  const alive = units ? ` No dead unit among ${units}: ${share(dead[0] ?? 0, replicas)}.` : "";
  return `${whose}: diverged ${share(diverged, replicas)}.${alive}`;
}

function share(count: number, n: number): string {
  const [low, high] = wilson(count, n);
  return `${percent(count / n)} (95 % interval ${percent(low)} to ${percent(high)})`;
}
