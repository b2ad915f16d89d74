// numpy.random.default_rng: SeedSequence and PCG64 (O'Neill 2014), 128-bit state, output XSL-RR.
import type { Source } from "./source";
import { normal } from "./ziggurat";

const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = (2549297995355413924n << 64n) | 4865540595714422341n;

/** The eight words of numpy.random.SeedSequence(seed).spawn(...)[child].generate_state(8). */
export function spawnedState(seed: number, child: number): Uint32Array {
  let constant = 0x43b0d7e5;
  const hash = (value: number): number => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mix = (x: number, y: number): number => {
    const mixed = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0;
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const pool = [seed, 0, 0, 0].map(hash);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  }
  for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(child));
  let out = 0x8b51f9dd;
  return Uint32Array.from({ length: 8 }, (_, i) => {
    let value = pool[i % 4] ^ out;
    out = Math.imul(out, 0x58f38ded);
    value = Math.imul(value, out);
    return value ^ (value >>> 16);
  });
}

/** numpy.random.default_rng of the seed's spawned child. */
export class Generator implements Source {
  private state = 0n;
  private readonly increment: bigint;
  private half: number | null = null; // the upper half of a number whose lower half was used

  constructor(seed: number, child: number) {
    const words = spawnedState(seed, child);
    const pair = (i: number): bigint => (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i]);
    const start = (pair(0) << 64n) | pair(1);
    this.increment = ((((pair(2) << 64n) | pair(3)) << 1n) | 1n) & MASK128;
    this.advance();
    this.state = (this.state + start) & MASK128;
    this.advance();
  }

  private advance(): void {
    this.state = (this.state * MULTIPLIER + this.increment) & MASK128;
  }

  /** 64 random bits. */
  long = (): bigint => {
    this.advance();
    const folded = (this.state >> 64n) ^ (this.state & MASK64);
    const turn = this.state >> 122n;
    return ((folded >> turn) | (folded << ((64n - turn) & 63n))) & MASK64;
  };

  private word(): number {
    if (this.half !== null) {
      const kept = this.half;
      this.half = null;
      return kept;
    }
    const bits = this.long();
    this.half = Number(bits >> 32n);
    return Number(bits & 0xffffffffn);
  }

  double = (): number => Number(this.long() >> 11n) / 9007199254740992;

  uniform(low: number, high: number): number {
    return low + (high - low) * this.double();
  }

  normal(): number {
    return normal(this.long, this.double);
  }

  /** By Lemire's multiplication (2019), as numpy's bounded 32-bit integers. */
  integer(high: number): number {
    if (high <= 1) return 0;
    const threshold = (2 ** 32 - high) % high;
    for (;;) {
      const product = BigInt(this.word()) * BigInt(high);
      if (Number(product & 0xffffffffn) >= threshold) return Number(product >> 32n);
    }
  }

  /** By masked rejection, as numpy shuffles arrays; its choice shuffles by {@link integer}. */
  permutation(n: number): Int32Array {
    return this.shuffle(
      Int32Array.from({ length: n }, (_, i) => i),
      (high) => this.masked(high),
    );
  }

  private masked(high: number): number {
    const mask = 2 ** Math.ceil(Math.log2(high)) - 1;
    let value: number;
    do value = (this.word() & mask) >>> 0;
    while (value >= high);
    return value;
  }

  /** Floyd's sampling (Bentley and Floyd 1987), then shuffled. */
  choice(n: number, size: number): Int32Array {
    const chosen = new Set<number>();
    for (let j = n - size; j < n; j++) {
      const value = this.integer(j + 1);
      chosen.add(chosen.has(value) ? j : value);
    }
    return this.shuffle(Int32Array.from(chosen), (high) => this.integer(high));
  }

  private shuffle(items: Int32Array, below: (high: number) => number): Int32Array {
    for (let i = items.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}
