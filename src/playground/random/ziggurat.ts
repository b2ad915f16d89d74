// Normal numbers by the ziggurat method (Marsaglia and Tsang 2000, in 256 strips), the way numpy reads it from 64 bits.
const STRIPS = 256;
const TAIL = 3.6541528853610088; // where the last strip ends
const AREA = 0.00492867323397465493; // of each strip, tail included

const density = (x: number): number => Math.exp(-0.5 * x * x);
const { width, inside, height } = tables();

/** width: of one unit of 52 bits in a strip; inside: below it no comparison is needed; height: density at its edge. */
function tables(): { width: Float64Array; inside: Float64Array; height: Float64Array } {
  const edges = new Float64Array(STRIPS + 1);
  const tail = AREA / density(TAIL);
  edges[STRIPS - 1] = TAIL;
  for (let i = STRIPS - 2; i > 0; i--) {
    edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i + 1] + density(edges[i + 1])));
  }
  const scale = 2 ** 52;
  const own = (i: number): number => (i === 0 ? tail : edges[i]);
  const below = (i: number): number => (i === 0 ? TAIL : i === 1 ? 0 : edges[i - 1]);
  return {
    width: Float64Array.from({ length: STRIPS }, (_, i) => own(i) / scale),
    inside: Float64Array.from({ length: STRIPS }, (_, i) =>
      Math.floor((below(i) / own(i)) * scale),
    ),
    height: Float64Array.from({ length: STRIPS }, (_, i) => (i === 0 ? 1 : density(edges[i]))),
  };
}

/** One standard normal number from sources of 64 bits and of uniform doubles. */
export function normal(long: () => bigint, double: () => number): number {
  for (;;) {
    const bits = long();
    const strip = Number(bits & 0xffn);
    const distance = Number((bits >> 9n) & 0xfffffffffffffn);
    const x = (bits >> 8n) & 1n ? -distance * width[strip] : distance * width[strip];
    if (distance < inside[strip]) return x;
    if (strip === 0) return beyond(double, (distance / 256) & 1);
    const y = (height[strip - 1] - height[strip]) * double() + height[strip];
    if (y < density(x)) return x;
  }
}

/** From the tail: exponential proposals (Marsaglia 1964). */
function beyond(double: () => number, negative: number): number {
  for (;;) {
    const x = -Math.log1p(-double()) / TAIL;
    const y = -Math.log1p(-double());
    if (y + y > x * x) return negative ? -(TAIL + x) : TAIL + x;
  }
}
