// The worker that trains the run which is shown, and what it has trained so far.
import type { Problem } from "../model/problem";
import type { Rows } from "../model/rows";
import { Timeline } from "../state/timeline";
import type { Published, Reply, Request } from "./messages";

/** A worker from the code that lies in the page: no other file is needed. */
export function newWorker(): Worker {
  const code = document.getElementById("worker")?.textContent ?? "";
  const place = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(place);
  URL.revokeObjectURL(place);
  return worker;
}

export class Trainer {
  timeline = new Timeline();
  rows: Rows | null = null;
  problem: Problem | null = null;
  running = false;
  perSecond = 0;
  private id = 0;
  private readonly worker = newWorker();

  /** onNews: something was trained; onFailure: the settings can't be trained. */
  constructor(
    private readonly onNews: () => void,
    private readonly onFailure: (message: string) => void,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.take(data);
  }

  begin(problem: Problem, published: Published | null): void {
    this.problem = problem;
    this.rows = null;
    this.timeline = new Timeline();
    this.running = false;
    this.perSecond = 0;
    this.send({ kind: "begin", id: ++this.id, problem, published });
  }

  /** perSecond: optimiser steps; null: as many as there is time for. */
  run(until: number, perSecond: number | null): void {
    if (until <= this.timeline.steps) return;
    this.running = true;
    this.send({ kind: "run", until, perSecond });
  }

  pause(): void {
    this.running = false;
    this.send({ kind: "pause" });
  }

  get diverged(): boolean {
    const { losses, steps } = this.timeline;
    return steps > 0 && !Number.isFinite(losses[steps - 1]);
  }

  private take(reply: Reply): void {
    if (reply.id !== this.id) return;
    if (reply.kind === "failed") this.onFailure(reply.message);
    if (reply.kind === "begun") this.rows = reply.rows;
    if (reply.kind !== "progress") return;
    this.timeline.add(reply);
    this.running = reply.running;
    if (reply.losses.length > 1) this.perSecond = reply.perSecond;
    this.onNews();
  }

  private send(request: Request): void {
    this.worker.postMessage(request);
  }
}
