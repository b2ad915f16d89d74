// What is trained: the settings of one run, by the keys of the YAML.

export type Activation = "relu" | "tanh" | "identity";
export type Loss = "mse" | "sse" | "half_mse";
export type Order = "full" | "shuffle" | "sequential" | "slices" | "consecutive" | "blocks";

/** f as text over x, and how rows are drawn from it (a target of the YAML). */
export interface Target {
  formula: string;
  points: number;
  inputs: "grid" | "uniform" | "normal";
  low: number;
  high: number;
  noise: number;
  observed: number | null;
  standardise: boolean;
  float32: boolean;
}

export interface Optimizer {
  name: "sgd" | "adam";
  lr: number;
  momentum: number;
  beta1: number;
  beta2: number;
  eps: number;
}

export interface Problem {
  seed: number;
  streams: "spawned" | "libraries" | "legacy";
  loss: Loss;
  target: Target;
  hidden: number[];
  activation: Activation;
  init: "torch" | "normal" | "ones";
  optimizer: Optimizer;
  batch: number | null;
  order: Order;
  startBelow: number | null;
  macroBatch: number | null;
  precision: "32-true" | "64-true";
  steps: number;
}

/** Widths from input to output. */
export const units = (problem: Problem): number[] => [1, ...problem.hidden, 1];
