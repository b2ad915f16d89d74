"""Order of the rows in training: which rows each step of each replica sees. It is a function of the
seed only, so a resumed run sees the same rows.

Kinds of order (``data.order``):

``full``     every step sees every row
``shuffle``  a new permutation of the rows each epoch, cut into batches; the last batch of an epoch
             may be shorter
``sequential``  the rows in their order, cut into the same batches every epoch; the last may be
             shorter
``slices``   one permutation; each step takes a slice of it that starts at a uniform position below
             ``data.start_below`` - batch_size (the restoration page draws from 1000 - batch
             although it has 1024 rows)
``consecutive``  as slices, but of the rows in their order: a batch holds neighbours
``blocks``   one permutation, cut once into macro batches of ``data.macro_batch`` rows and these
             into batches; every epoch takes the macro batches, and the batches of each, in a new
             random order (as PuzzleLib's ``Trainer``)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from mlpfit.data.streams import integers

Kind = Literal["full", "shuffle", "sequential", "slices", "consecutive", "blocks"]


@dataclass(frozen=True)
class Order:
    """Row numbers of R replicas, and the slice of them that each step sees.

    rows (R, L): row numbers; starts, lengths (R, steps): slices of them. L is the number of rows,
    for ``shuffle`` about steps * batch_size.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def numbers(self) -> np.ndarray:
        """Row numbers of every step: (steps, R, longest), padded with -1 in shorter batches."""
        offset, replica = np.arange(self.longest), np.arange(len(self.rows))[:, None, None]
        inside = offset < self.lengths[..., None]
        positions = np.where(inside, self.starts[..., None] + offset, 0)
        return np.where(inside, self.rows[replica, positions], -1).swapaxes(0, 1)

    @cached_property
    def longest(self) -> int:
        """Rows of the largest batch."""
        return int(self.lengths.max())

    @cached_property
    def varies(self) -> bool:
        """Whether some batches are shorter than others."""
        return bool((self.lengths < self.longest).any())


def draw(
    rng: Any, kind: Kind, rows: int, batch: int, steps: int, macro: int, below: int
) -> tuple[np.ndarray, ...]:
    """The order of one replica: row numbers (L,), starts (steps,), lengths (steps,)."""
    if kind in ("slices", "consecutive"):
        permutation = rng.permutation(rows)
        if kind == "consecutive":
            permutation = np.arange(rows)  # one was drawn first, so the starts are those of slices
        return permutation, integers(rng, below - batch, steps), np.full(steps, batch)
    if kind == "sequential":
        starts = np.arange(0, rows, batch)[np.arange(steps) % -(-rows // batch)]
        return np.arange(rows), starts, np.minimum(batch, rows - starts)
    if kind == "shuffle":
        starts = np.arange(0, rows, batch)
        epochs = -(-steps // len(starts))
        permutations = np.concatenate([rng.permutation(rows) for _ in range(epochs)])
        all_starts = (np.arange(epochs)[:, None] * rows + starts).ravel()[:steps]
        return permutations, all_starts, np.minimum(batch, rows - all_starts % rows)
    permutation = rng.permutation(rows)
    visited: list[np.ndarray] = []
    while sum(map(len, visited)) < steps:
        for block in rng.permutation(-(-rows // macro)):
            first, last = block * macro, min((block + 1) * macro, rows)
            visited.append(first + batch * rng.permutation(-(-(last - first) // batch)))
    starts = np.concatenate(visited)[:steps]
    ends = np.minimum((starts // macro + 1) * macro, rows)
    return permutation, starts, np.minimum(batch, ends - starts)


def stack(orders: list[tuple[np.ndarray, ...]]) -> Order:
    """The orders of several replicas, each as from :func:`draw`, as one Order."""
    rows, starts, lengths = (np.stack(parts) for parts in zip(*orders, strict=True))
    return Order(rows, starts, lengths)
