// What the page and its workers tell each other.
import type { Problem } from "../model/problem";
import type { Rows } from "../model/rows";

/** A published start takes the place of the drawn one. */
export interface Published {
  rows: Rows;
  parameters: Float64Array;
}

/** perSecond: optimiser steps; null: as many as there is time for. */
export type Request =
  | { kind: "begin"; id: number; problem: Problem; published: Published | null }
  | { kind: "run"; until: number; perSecond: number | null }
  | { kind: "pause" }
  | {
      kind: "seeds";
      id: number;
      problem: Problem;
      seeds: number[];
      x: Float64Array;
      steps: number[];
    };

export interface Snapshot {
  step: number;
  parameters: Float64Array;
}

/** Of one seed: fit at the given x, loss after the given steps, final loss and dead units on all rows. */
export interface Replica {
  seed: number;
  fit: Float64Array;
  losses: Float64Array;
  final: number;
  dead: number;
  diverged: boolean;
}

export type Reply =
  | { kind: "begun"; id: number; rows: Rows }
  | {
      kind: "progress";
      id: number;
      head: Snapshot;
      snapshots: Snapshot[];
      /** One snapshot every so many steps; older ones in between are dropped. */
      stride: number;
      /** Of the steps since the last message, each before its update. */
      losses: Float64Array;
      running: boolean;
      perSecond: number;
    }
  | { kind: "replica"; id: number; replica: Replica }
  | { kind: "failed"; id: number; message: string };
