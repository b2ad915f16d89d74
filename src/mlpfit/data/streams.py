"""Random generators of one replica for its data, weights and order, made from its seed.

Three kinds, so that seeded tutorials can be reproduced bit for bit:

``spawned``   three independent PCG64 generators. Drawing more numbers from one does not change the
              others, so experiments with the same target and seed have the same rows.
``libraries`` numpy's legacy generator for the data and torch's for the weights, both with the same
              seed, as in a script that calls ``numpy.random.seed(s)`` and ``torch.manual_seed(s)``.
``legacy``    one legacy numpy generator for all, in the order data, weights, order, as in a script
              that calls only ``numpy.random.seed(s)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from mlpfit.data import elementary

Kind = Literal["spawned", "libraries", "legacy"]


class Generator(np.random.Generator):
    """numpy's Generator; ``uniform`` and ``normal`` have the same bits on every processor.

    Compiled for Arm, numpy may fuse the product and the sum of ``uniform``. A normal number beyond
    TAIL (one in 3,800) is computed with the C library's logarithm; here with ours, from the same
    words. Elsewhere the C library decides comparisons alone, which would need two numbers that
    agree to 16 digits.
    """

    TAIL = 3.6541528853610087963519472518  # where numpy's ziggurat ends

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return low + (high - low) * self.random(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return loc + scale * self._standard_normal(size)

    def _standard_normal(self, size: Any) -> Any:
        before = self.bit_generator.state
        values = self.standard_normal(size)
        if not (beyond := np.flatnonzero(np.abs(values) > self.TAIL)).size:
            return values
        after, flat, done = self.bit_generator.state, np.atleast_1d(values).ravel(), 0
        self.bit_generator.state = before
        for i in beyond.tolist():
            self.standard_normal(i - done)
            flat[i] = np.copysign(self._beyond_tail(abs(flat[i])), flat[i])
            done = i + 1
        self.bit_generator.state = after
        return flat.reshape(np.shape(values))[()]

    def _beyond_tail(self, size: float) -> float:
        """Size of the next normal number, which the C library makes this: TAIL - log1p(-u) / TAIL
        (Marsaglia 1964). The first word chose the tail; pairs of words follow, each u and one that
        decides whether u is taken."""
        self.bit_generator.random_raw()
        while True:
            u = (self.bit_generator.random_raw(2)[0] >> 11) * 2.0**-53
            exact = self.TAIL - elementary.log1p_of_number(-u) * 0.27366123732975827203338247596
            if abs(exact - size) < 1e-9:
                return exact


class RandomState(np.random.RandomState):
    """numpy's legacy generator; ``uniform`` and ``normal`` have the same bits on every
    processor, for the reasons given in :class:`Generator`."""

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return low + (high - low) * self.random_sample(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """The polar method (Marsaglia 1964); the second number of a pair is kept for the next
        call."""
        shape = (1,) if size is None else (size,) if isinstance(size, int) else tuple(size)
        count = math.prod(shape)
        kept = self._kept[:count]
        self._kept = self._kept[count:]
        accepted, missing = [np.empty((0, 2))], (count - len(kept) + 1) // 2
        while missing > 0:
            pairs = 2.0 * self.random_sample((missing, 2)) - 1.0
            squares = pairs[:, 0] * pairs[:, 0] + pairs[:, 1] * pairs[:, 1]
            accepted.append(pairs[(squares < 1.0) & (squares != 0.0)])
            missing -= len(accepted[-1])
        pairs = np.concatenate(accepted)
        squares = pairs[:, 0] * pairs[:, 0] + pairs[:, 1] * pairs[:, 1]
        factor = np.sqrt(-2.0 * elementary.log_of_normal(squares) / squares)
        drawn = np.concatenate([kept, (factor[:, None] * pairs[:, ::-1]).ravel()])
        self._kept = drawn[count:] if count and len(drawn) > count else self._kept
        values = loc + scale * drawn[:count].reshape(shape)
        return values if size is not None else float(values[0])

    _kept: np.ndarray = np.empty(0)  # at most one number


class TorchUniform:
    """torch's CPU generator with numpy's ``uniform`` and ``normal``, without torch; draws float32,
    as ``torch.nn.init`` does for float32 layers.

    torch and numpy's legacy generator make the same 32-bit words from a seed (MT19937). Where torch
    depends on the processor, in whether it fuses and in its logarithm, sine and cosine, this is
    what the formula gives when rounded once.
    """

    def __init__(self, seed: int) -> None:
        self.bits: Any = mersenne(seed)
        self.spare: list[float] = []

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        """torch's ``uniform_`` where it fuses (AVX2 and better): u (high - low) + low with 24
        random bits u, everything float32, rounded once at the end.

        Here in float64, where the product of two numbers of 24 bits is exact, as is the sum with
        its error (Knuth's two-sum). An inexact sum is rounded to odd: of the two float64 around the
        exact sum the one whose last bit is 1. It has 29 bits more than float32, so it lies on the
        same side of every boundary between two float32 as the exact sum, and rounding it again
        gives what rounding once gives (Boldo and Melquiond 2008, IEEE Trans. Comput. 57).
        """
        first, last = np.float32(low), np.float32(high)
        units = (self._words(int(np.prod(size))) & 0xFFFFFF) * 2.0**-24
        product, start = units * np.float64(last - first), np.float64(first)
        total = product + start
        added = total - product
        error = (product - (total - added)) + (start - added)
        even = total.view(np.int64) & 1 == 0
        odd = np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
        return odd.astype(np.float32).reshape(size)

    def normal(self, mean: float, sd: float, size: tuple[int, ...]) -> np.ndarray:
        """torch's ``normal_``, by the method of Box and Muller (1958): one by one below 16 numbers,
        else in blocks of 16, the last of which takes new uniform numbers if it is not full."""
        count = int(np.prod(size))
        if count < 16:
            values = np.array([self._single() for _ in range(count)])
        else:
            values = (self._words(count) & 0xFFFFFF) * 2.0**-24
            whole = count - count % 16
            values[:whole] = _box_muller(values[:whole].reshape(-1, 2, 8)).ravel()
            if whole < count:
                again = (self._words(16) & 0xFFFFFF) * 2.0**-24
                values[-16:] = _box_muller(again.reshape(1, 2, 8)).ravel()
        return (values * sd + mean).astype(np.float32).reshape(size)

    def _words(self, count: int) -> np.ndarray:
        return self.bits.random_raw(count).astype(np.int64)

    def _single(self) -> float:
        """A standard normal number; the second of the two that are computed is kept."""
        if self.spare:
            return self.spare.pop()
        words = self._words(4)
        turn, u = (((words[::2] << 32 | words[1::2]) & (2**53 - 1)) * 2.0**-53).tolist()
        radius = np.sqrt(-2.0 * elementary.log1p(-u))
        self.spare.append(float(radius * elementary.sin(2.0 * np.pi * turn)))
        return float(radius * elementary.cos(2.0 * np.pi * turn))


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """uniform (blocks, 2, 8) -> standard normal, of this shape."""
    radius = np.sqrt(-2.0 * elementary.log(1.0 - uniform[:, 0]))
    angle = 2.0 * np.pi * uniform[:, 1]
    return np.stack([radius * elementary.cos(angle), radius * elementary.sin(angle)], axis=1)


@dataclass(frozen=True)
class Streams:
    """The generators of one replica, made when they are first used. All have ``uniform`` and
    ``normal``; data also has ``choice``, order has ``permutation`` and works with
    :func:`integers`."""

    seed: int
    kind: Kind

    @cached_property
    def data(self) -> Any:
        return spawned(self.seed, 0) if self.kind == "spawned" else RandomState(mersenne(self.seed))

    @cached_property
    def weights(self) -> Any:
        if self.kind == "libraries":
            return TorchUniform(self.seed)
        return spawned(self.seed, 1) if self.kind == "spawned" else self.data

    @cached_property
    def order(self) -> Any:
        return spawned(self.seed, 2) if self.kind == "spawned" else self.data


def streams(seed: int, kind: Kind) -> Streams:
    """The generators of the replica with this seed."""
    return Streams(seed, kind)


def spawned(seed: int, child: int) -> Generator:
    """The generator of a child of the seed, as ``numpy.random.SeedSequence(seed).spawn`` makes
    it."""
    if not 0 <= seed < 2**32:
        return Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(child,))))
    block, place = divmod(seed, BLOCK)
    words: Any = _Words(_spawned_words(block, child)[place])
    return Generator(np.random.PCG64(words))


def mersenne(seed: int) -> Any:
    """The bit generator of ``numpy.random.RandomState(seed)``."""
    words: Any = _Words(NO_WORDS)
    bits: Any = np.random.MT19937(words)
    bits._legacy_seeding(seed)
    return bits


class _Words(ISeedSequence):
    """Gives a new bit generator these words. numpy makes them of a SeedSequence one by one, which
    takes longer than all the numbers that a replica draws."""

    def __init__(self, words: Any) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return self.words


BLOCK = 256  # seeds whose words are computed together
NO_WORDS = [0] * 624  # of a Mersenne Twister that is seeded afterwards


@lru_cache(maxsize=64)
def _spawned_words(block: int, child: int) -> np.ndarray:
    """The four 64-bit words (BLOCK, 4) of ``SeedSequence(seed, spawn_key=(child,))``, of the seeds
    of a block: O'Neill's seed_seq_fe, as in numpy/random/bit_generator.pyx."""
    seeds = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.uint32)
    entropy = [seeds, *(np.full_like(seeds, value) for value in (0, 0, 0, child))]
    constant = 0x43B0D7E5

    def hashed(value: np.ndarray, factor: int = 0x931E8875) -> np.ndarray:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * factor & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return value ^ value >> np.uint32(16)

    def mixed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.uint32(0xCA01F9DD) * x - np.uint32(0x4973F715) * y
        return value ^ value >> np.uint32(16)

    pool = [hashed(value) for value in entropy[:4]]
    for source in range(4):
        for to in range(4):
            if to != source:
                pool[to] = mixed(pool[to], hashed(pool[source]))
    pool = [mixed(value, hashed(entropy[4])) for value in pool]
    constant = 0x8B51F9DD
    halves = [hashed(pool[i % 4], 0x58F38DED).astype(np.uint64) for i in range(8)]
    return np.stack([halves[i] | halves[i + 1] << np.uint64(32) for i in (0, 2, 4, 6)], axis=1)


Use = Literal["validation", "test"]


def fresh(seed: int, use: Use | Literal["split"]) -> Generator:
    """The generator of a replica's validation or test rows, or of their split from the others, for
    every kind of streams: another child of the seed, independent of the generators of training."""
    # 0, 1, 2: data, weights, order
    return spawned(seed, {"validation": 3, "test": 4, "split": 5}[use])


def integers(rng: Any, high: int, size: int) -> np.ndarray:
    """``size`` integers uniform on 0 .. high - 1, from a new or a legacy numpy generator."""
    if isinstance(rng, np.random.RandomState):
        return rng.randint(0, high, size)
    return rng.integers(0, high, size)


def replica_seeds(seed: int, replicas: int, seeds: Sequence[int] | None) -> list[int]:
    """The seed of every replica: the seeds listed, or consecutive ones starting at ``seed``."""
    return list(seeds) if seeds is not None else list(range(seed, seed + replicas))
