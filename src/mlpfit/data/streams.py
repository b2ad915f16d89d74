"""Where the randomness of one replica comes from: one generator per use, made from its seed.

Three kinds, so that seeded tutorials can be followed to the bit:

``spawned``   three independent PCG64 generators (data, weights, order). Whatever draws more numbers
              in one use leaves the other two untouched, so experiments that share a target share
              its rows.
``libraries`` numpy's legacy generator for the data and torch's for the weights, each seeded with
              the seed itself: what a script does that calls ``numpy.random.seed(s)`` and
              ``torch.manual_seed(s)``.
``legacy``    one numpy legacy generator for everything, drawn in the order data, weights, order:
              what a script does that only calls ``numpy.random.seed(s)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["spawned", "libraries", "legacy"]


class TorchUniform:
    """torch's CPU generator with numpy's ``uniform``; float32, as ``torch.nn.init`` draws into
    float32 layers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator: Any = None

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        return self._fill("uniform_", low, high, size)

    def normal(self, mean: float, sd: float, size: tuple[int, ...]) -> np.ndarray:
        return self._fill("normal_", mean, sd, size)

    def _fill(self, method: str, a: float, b: float, size: tuple[int, ...]) -> np.ndarray:
        import torch  # late: rows are drawn without

        self.generator = self.generator or torch.Generator().manual_seed(self.seed)
        return getattr(torch.empty(size), method)(a, b, generator=self.generator).numpy()


@dataclass(frozen=True)
class Streams:
    """The generators of one replica. Each offers ``uniform`` and ``normal``; data also ``choice``,
    order ``permutation``, and integers through :func:`integers`."""

    data: Any
    weights: Any
    order: Any


def streams(seed: int, kind: Kind) -> Streams:
    """The generators of the replica with this seed (0 is a seed like any other)."""
    if kind == "spawned":
        return Streams(*map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3)))
    if kind == "libraries":
        numpy_stream = np.random.RandomState(seed)
        return Streams(numpy_stream, TorchUniform(seed), numpy_stream)
    one = np.random.RandomState(seed)
    return Streams(one, one, one)


Use = Literal["validation", "test"]


def fresh(seed: int, use: Use) -> np.random.Generator:
    """The generator of the rows that the replica with this seed is validated or tested on, whatever
    its kind of streams: a further child of the seed, independent of those that training draws from.
    """
    child = {"validation": 3, "test": 4}[use]  # data, weights and order are 0, 1 and 2
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(child,)))


def integers(rng: Any, high: int, size: int) -> np.ndarray:
    """``size`` integers uniform on 0 .. high - 1, from either of numpy's generators."""
    if isinstance(rng, np.random.RandomState):
        return rng.randint(0, high, size)
    return rng.integers(0, high, size)


def named_seeds(seed: int, replicas: int, seeds: Sequence[int] | None) -> list[int]:
    """The seed of every replica: those listed, or consecutive ones from the first."""
    return list(seeds) if seeds is not None else list(range(seed, seed + replicas))
