// MT19937 (Matsumoto and Nishimura 1998), and what numpy's RandomState and torch's CPU generator draw from it.
import type { Source } from "./source";

const N = 624;
const M = 397;

/** The raw generator: 32-bit words. Both libraries seed it alike from one integer below 2^32. */
export class Mersenne {
  private readonly state = new Uint32Array(N);
  private position = N;

  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < N; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, previous) + i;
    }
  }

  word(): number {
    if (this.position === N) this.refill();
    let y = this.state[this.position++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private refill(): void {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % N] & 0x7fffffff);
      s[i] = s[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }
}

/** numpy.random.RandomState(seed). */
export class RandomState implements Source {
  private readonly bits: Mersenne;
  private spare: number | null = null;

  constructor(seed: number) {
    this.bits = new Mersenne(seed);
  }

  private double(): number {
    const high = this.bits.word() >>> 5;
    return (high * 67108864 + (this.bits.word() >>> 6)) / 9007199254740992;
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.double();
  }

  /** The polar method (Marsaglia 1964); its second number is kept for the next call. */
  normal(): number {
    if (this.spare !== null) {
      const kept = this.spare;
      this.spare = null;
      return kept;
    }
    let x1: number, x2: number, r2: number;
    do {
      x1 = 2 * this.double() - 1;
      x2 = 2 * this.double() - 1;
      r2 = x1 * x1 + x2 * x2;
    } while (r2 >= 1 || r2 === 0);
    const f = Math.sqrt((-2 * Math.log(r2)) / r2);
    this.spare = f * x1;
    return f * x2;
  }

  /** Uniform on 0 .. high - 1, by masked rejection. */
  integer(high: number): number {
    if (high <= 1) return 0;
    const mask = 2 ** Math.ceil(Math.log2(high)) - 1;
    let value: number;
    do value = (this.bits.word() & mask) >>> 0;
    while (value >= high);
    return value;
  }

  permutation(n: number): Int32Array {
    const items = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  choice(n: number, size: number): Int32Array {
    return this.permutation(n).slice(0, size);
  }
}

/** torch.Generator().manual_seed(seed), filling float32 tensors. */
export class TorchGenerator {
  private readonly bits: Mersenne;
  private spare: number | null = null;

  constructor(seed: number) {
    this.bits = new Mersenne(seed);
  }

  uniforms(low: number, high: number, size: number): Float64Array {
    const [from, to] = [Math.fround(low), Math.fround(high)];
    const width = Math.fround(to - from);
    return Float64Array.from({ length: size }, () => {
      const unit = (this.bits.word() & 0xffffff) / 16777216;
      return Math.fround(unit * width + from); // one fused operation in torch
    });
  }

  /** As Tensor.normal_: one by one below 16 numbers, else Box-Muller in lanes of eight. */
  normals(size: number): Float64Array {
    if (size < 16) return Float64Array.from({ length: size }, () => Math.fround(this.single()));
    const values = this.uniforms(0, 1, size);
    for (let i = 0; i + 16 <= size; i += 16) boxMuller(values.subarray(i, i + 16));
    if (size % 16) {
      const last = values.subarray(size - 16);
      last.set(this.uniforms(0, 1, 16));
      boxMuller(last);
    }
    return values;
  }

  private double(): number {
    const high = this.bits.word(); // random64 puts the first word on top; 53 bits are used
    return ((high & 0x1fffff) * 4294967296 + this.bits.word()) / 9007199254740992;
  }

  private single(): number {
    if (this.spare !== null) {
      const kept = this.spare;
      this.spare = null;
      return kept;
    }
    const theta = 2 * Math.PI * this.double();
    const radius = Math.sqrt(-2 * Math.log1p(-this.double()));
    this.spare = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  }
}

function boxMuller(lanes: Float64Array): void {
  for (let j = 0; j < 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - lanes[j]));
    const theta = 2 * Math.PI * lanes[j + 8];
    lanes[j] = Math.fround(radius * Math.cos(theta));
    lanes[j + 8] = Math.fround(radius * Math.sin(theta));
  }
}
