// Which rows each step sees; the kinds of order are those of mlpfit's data.order.
import type { Source } from "../random/source";
import type { Problem } from "./problem";

/** Row numbers of one step, read from `rows` between `start` and `start + length`. */
export interface Batch {
  rows: Int32Array;
  start: number;
  length: number;
}

/** The batches of a run one after the other; null: every step sees every row. */
export function batches(problem: Problem, rows: number, source: Source): Iterator<Batch> | null {
  const batch = problem.batch;
  if (problem.order === "full" || batch === null) return null;
  if (problem.order === "slices" || problem.order === "consecutive") {
    const inOrder = problem.order === "consecutive";
    return slices(rows, batch, problem.startBelow ?? rows, source, inOrder);
  }
  if (problem.order === "shuffle") return epochs(rows, batch, () => source.permutation(rows));
  if (problem.order === "sequential") {
    const asTheyLie = Int32Array.from({ length: rows }, (_, i) => i);
    return epochs(rows, batch, () => asTheyLie);
  }
  return blocks(rows, batch, problem.macroBatch ?? rows, source);
}

/** Slices of one permutation, or of the rows as they are, starting at a uniform position below `below` - batch. */
function* slices(
  ...[rows, batch, below, source, inOrder]: [number, number, number, Source, boolean]
): Generator<Batch> {
  const permutation = source.permutation(rows); // drawn either way: the starts are the same
  const places = inOrder ? permutation.map((_, i) => i) : permutation;
  for (;;) yield { rows: places, start: source.integer(below - batch), length: batch };
}

/** All rows each epoch, in the order drawn for it, cut into batches. */
function* epochs(rows: number, batch: number, draw: () => Int32Array): Generator<Batch> {
  for (;;) {
    const permutation = draw();
    for (let start = 0; start < rows; start += batch) {
      yield { rows: permutation, start, length: Math.min(batch, rows - start) };
    }
  }
}

/** One permutation in macro batches and these in batches, both visited in a new order each epoch. */
function* blocks(rows: number, batch: number, macro: number, source: Source): Generator<Batch> {
  const permutation = source.permutation(rows);
  for (;;) {
    for (const block of source.permutation(Math.ceil(rows / macro))) {
      const [first, last] = [block * macro, Math.min((block + 1) * macro, rows)];
      for (const place of source.permutation(Math.ceil((last - first) / batch))) {
        const start = first + batch * place;
        yield { rows: permutation, start, length: Math.min(batch, last - start) };
      }
    }
  }
}
