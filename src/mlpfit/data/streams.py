"""Random generators of one replica for its data, weights and order, made from its seed.

Three kinds, so that seeded tutorials can be reproduced bit for bit:

``spawned``   three independent PCG64 generators. Drawing more numbers from one does not change the
              others, so experiments with the same target and seed have the same rows.
``libraries`` numpy's legacy generator for the data and torch's for the weights, both with the same
              seed, as in a script that calls ``numpy.random.seed(s)`` and ``torch.manual_seed(s)``.
``legacy``    one legacy numpy generator for all, in the order data, weights, order, as in a script
              that calls only ``numpy.random.seed(s)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["spawned", "libraries", "legacy"]


class TorchUniform:
    """torch's CPU generator with numpy's ``uniform`` and ``normal``; draws float32, as
    ``torch.nn.init`` does for float32 layers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator: Any = None

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        return self._fill("uniform_", low, high, size)

    def normal(self, mean: float, sd: float, size: tuple[int, ...]) -> np.ndarray:
        return self._fill("normal_", mean, sd, size)

    def _fill(self, method: str, a: float, b: float, size: tuple[int, ...]) -> np.ndarray:
        import torch  # here, since drawing rows needs no torch

        self.generator = self.generator or torch.Generator().manual_seed(self.seed)
        return getattr(torch.empty(size), method)(a, b, generator=self.generator).numpy()


@dataclass(frozen=True)
class Streams:
    """The generators of one replica. All have ``uniform`` and ``normal``; data also has ``choice``,
    order has ``permutation`` and works with :func:`integers`."""

    data: Any
    weights: Any
    order: Any


def streams(seed: int, kind: Kind) -> Streams:
    """The generators of the replica with this seed."""
    if kind == "spawned":
        return Streams(*map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3)))
    if kind == "libraries":
        numpy_stream = np.random.RandomState(seed)
        return Streams(numpy_stream, TorchUniform(seed), numpy_stream)
    shared = np.random.RandomState(seed)
    return Streams(shared, shared, shared)


Use = Literal["validation", "test"]


def fresh(seed: int, use: Use) -> np.random.Generator:
    """The generator of a replica's validation or test rows, for every kind of streams: another
    child of the seed, independent of the generators of training."""
    child = {"validation": 3, "test": 4}[use]  # 0, 1, 2: data, weights, order
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(child,)))


def integers(rng: Any, high: int, size: int) -> np.ndarray:
    """``size`` integers uniform on 0 .. high - 1, from a new or a legacy numpy generator."""
    if isinstance(rng, np.random.RandomState):
        return rng.randint(0, high, size)
    return rng.integers(0, high, size)


def replica_seeds(seed: int, replicas: int, seeds: Sequence[int] | None) -> list[int]:
    """The seed of every replica: the seeds listed, or consecutive ones starting at ``seed``."""
    return list(seeds) if seeds is not None else list(range(seed, seed + replicas))
