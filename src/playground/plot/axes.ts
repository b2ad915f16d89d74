// From data to pixels: ranges, ticks and their labels.

export interface Axis {
  low: number;
  high: number;
  log?: boolean;
}

/** A range around finite values with some room. */
export function around(values: Iterable<number>, room = 0.08): Axis {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return { low: 0, high: 1 };
  const width = high - low || Math.abs(high) || 1;
  return { low: low - room * width, high: high + room * width };
}

/** Symmetric about 0, its end the next 1, 2 or 5 times a power of ten: changes seldom while the values move. */
export function symmetric(values: Iterable<number>): Axis {
  let most = 0;
  for (const value of values) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  const end = most > 0 ? roundUp(most) : 1;
  return { low: -end, high: end };
}

function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((digit) => digit * power >= value * (1 - 1e-12)) ?? 10) * power;
}

/** Whole decades around positive values; those above `most` are left outside. */
export function decades(values: Iterable<number>, most = 1e300): Axis {
  let [low, high] = [Infinity, 0];
  for (const value of values) {
    if (!(value > 0 && value <= most)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (high === 0) return { low: 0.1, high: 10, log: true };
  low = Math.max(low, high * 1e-12);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  return { low: 10 ** first, high: 10 ** Math.max(last, first + 1), log: true };
}

/** Share of the way from low to high. */
export function position({ low, high, log }: Axis, value: number): number {
  if (log) return (Math.log10(Math.max(value, 1e-300)) - Math.log10(low)) / Math.log10(high / low);
  return (value - low) / (high - low);
}

/** Round values inside the range, about as many as asked for. */
export function ticks({ low, high, log }: Axis, count: number): number[] {
  if (log) {
    const [first, last] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
    const every = Math.ceil((last - first) / count);
    return Array.from(
      { length: Math.floor((last - first) / every) + 1 },
      (_, i) => 10 ** (first + i * every),
    );
  }
  const step = roundUp((high - low) / count);
  const first = Math.ceil(low / step);
  const length = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

export function label(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential().replace("e+", "e");
  return String(value);
}
