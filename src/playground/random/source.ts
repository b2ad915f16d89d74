/** What the rows, the weights and the order of batches of one replica are drawn from. */
export interface Source {
  uniform(low: number, high: number): number;
  /** Standard normal. */
  normal(): number;
  /** Uniform on 0 .. high - 1. */
  integer(high: number): number;
  permutation(n: number): Int32Array;
  /** size of 0 .. n - 1 without replacement, in random order. */
  choice(n: number, size: number): Int32Array;
}
