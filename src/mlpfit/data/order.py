"""Order of the rows in training: which rows each batch of each replica has. It is a function of the
seed and of the number of the batch, counted from the start of training, so a resumed run has the
same batches.

Kinds of order (``data.order``):

``full``     every batch has every row
``shuffle``  a new permutation of the rows each epoch, cut into batches; the last batch of an epoch
             may be shorter
``sequential``  the rows in their order, cut into the same batches every epoch; the last may be
             shorter
``slices``   one permutation; each batch is a slice of it that starts at a uniform position below
             ``data.start_below`` - batch_size (the restoration page draws from 1000 - batch
             although it has 1024 rows); an epoch draws as many batches as ``shuffle`` has
``consecutive``  as slices, but of the rows in their order: a batch holds neighbours
``blocks``   one permutation, cut once into macro batches of ``data.macro_batch`` rows and these
             into batches; every epoch takes the macro batches, and the batches of each, in a new
             random order (as PuzzleLib's ``Trainer``)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from mlpfit.data.streams import integers

Kind = Literal["full", "shuffle", "sequential", "slices", "consecutive", "blocks"]


@dataclass(frozen=True)
class Order:
    """Row numbers of R replicas, and the slice of them that each of some batches is.

    rows (R, L): row numbers; starts, lengths (R, batches): slices of them. longest: rows of the
    largest batch of this kind of order; varies: whether it has shorter ones, perhaps elsewhere.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    longest: int
    varies: bool

    def numbers(self) -> np.ndarray:
        """Row numbers of every batch: (batches, R, longest), padded with -1 in shorter ones."""
        offset, replica = np.arange(self.longest), np.arange(len(self.rows))[:, None, None]
        inside = offset < self.lengths[..., None]
        positions = np.where(inside, self.starts[..., None] + offset, 0)
        return np.where(inside, self.rows[replica, positions], -1).swapaxes(0, 1)


@dataclass(frozen=True)
class Batching:
    """How the rows of a replica are cut into batches, for every kind of order but ``full``."""

    kind: Kind
    rows: int
    batch: int
    macro: int | None = None  # of blocks
    below: int | None = None  # of slices and consecutive

    @cached_property
    def epoch(self) -> np.ndarray:
        """Lengths of the batches of an epoch, in one of their orders."""
        if self.kind in ("slices", "consecutive"):
            return np.full(-(-self.rows // self.batch), self.batch)
        starts = np.concatenate([first + np.arange(0, n, self.batch) for first, n in self._blocks])
        return self.lengths(starts)

    @property
    def longest(self) -> int:
        """Rows of the largest batch."""
        return int(self.epoch.max())

    @property
    def varies(self) -> bool:
        """Whether some batches are shorter than others."""
        return bool((self.epoch < self.longest).any())

    @property
    def _blocks(self) -> list[tuple[int, int]]:
        """First row and number of rows of each macro batch; of other kinds, of all rows."""
        size = self.macro or self.rows
        return [(first, min(size, self.rows - first)) for first in range(0, self.rows, size)]

    def lengths(self, starts: np.ndarray) -> np.ndarray:
        """Lengths of the batches at these starts."""
        if self.kind in ("slices", "consecutive"):
            return np.full_like(starts, self.batch)
        first = starts // self.rows * self.rows  # of the epoch
        ends = first + self.rows
        if self.macro is not None:
            ends = np.minimum(ends, (starts // self.macro + 1) * self.macro)
        return np.minimum(self.batch, ends - starts)

    def fixed_rows(self, rng: Any) -> np.ndarray:
        """Draw what all epochs share: row numbers (rows,); unused by ``shuffle``."""
        if self.kind in ("shuffle", "sequential"):
            return np.arange(self.rows)
        permutation = rng.permutation(self.rows)
        # Of consecutive one is drawn, too, so that its starts are those of slices.
        return np.arange(self.rows) if self.kind == "consecutive" else permutation

    def draw(self, rng: Any, epochs: int) -> np.ndarray:
        """Draw the next epochs: row numbers of each (epochs, rows) for ``shuffle``, else the starts
        of its batches (epochs, batches)."""
        batches = len(self.epoch)
        if self.kind == "shuffle":
            return np.stack([rng.permutation(self.rows) for _ in range(epochs)])
        if self.kind == "sequential":
            return np.tile(np.arange(0, self.rows, self.batch), (epochs, 1))
        if self.kind == "blocks":
            return self._in_random_order(rng, epochs)
        assert self.below is not None
        return integers(rng, self.below - self.batch, epochs * batches).reshape(epochs, batches)

    def _in_random_order(self, rng: Any, epochs: int) -> np.ndarray:
        blocks = [(first, -(-rows // self.batch)) for first, rows in self._blocks]
        permutation = rng.permutation
        numbers = [
            first + self.batch * permutation(batches)
            for _ in range(epochs)
            for first, batches in (blocks[i] for i in permutation(len(blocks)).tolist())
        ]
        return np.concatenate(numbers).reshape(epochs, -1)


class Draws:
    """The batches of R replicas, drawn from their generators when they are asked for. Only the
    epochs asked for last are in memory; those before are drawn again from the start.

    again  makes the generators once more, for that; to keep their first states would take longer
           than to draw. Without it batches can only be asked for in their order.
    """

    def __init__(
        self,
        batching: Batching,
        rngs: Sequence[Any],
        again: Callable[[], Sequence[Any]] | None = None,
    ) -> None:
        self._again = again
        self._start(batching, rngs)

    def restart(self, batching: Batching) -> None:
        """Start anew, with these batches."""
        assert self._again is not None
        self._start(batching, self._again())

    def _start(self, batching: Batching, rngs: Sequence[Any]) -> None:
        self.batching, self._rngs = batching, rngs
        self._fixed = np.stack([self.batching.fixed_rows(rng) for rng in self._rngs])
        self._first, self._drawn = 0, self._next_epochs(1)  # (R, epochs, ...), from epoch first on

    def _next_epochs(self, epochs: int) -> np.ndarray:
        return np.stack([self.batching.draw(rng, epochs) for rng in self._rngs])

    def between(self, first: int, last: int) -> Order:
        """Batches first .. last - 1, counted from 0 at the start of training."""
        batching, batches = self.batching, len(self.batching.epoch)
        begin = first // batches  # epochs
        end = max(begin + 1, -(-last // batches))
        if begin < self._first:
            self.restart(batching)
        while (drawn := self._first + self._drawn.shape[1]) < end:
            # Not much at once, since epochs before the first one asked for are dropped.
            more = self._next_epochs(min(end - drawn, end - begin + 1000 // batches + 1))
            kept = self._drawn[:, max(begin - self._first, 0) :]
            self._first = max(self._first, min(begin, drawn))
            self._drawn = np.concatenate([kept, more], axis=1)
        part = self._drawn[:, begin - self._first : end - self._first]
        rows, starts = self._fixed, part.reshape(len(part), -1)
        if batching.kind == "shuffle":
            of_epoch = np.arange(0, batching.rows, batching.batch)
            rows, starts = starts, np.arange(end - begin)[:, None] * batching.rows + of_epoch
            starts = np.tile(starts.ravel(), (len(rows), 1))
        starts = np.ascontiguousarray(starts[:, first - begin * batches : last - begin * batches])
        return Order(rows, starts, batching.lengths(starts), batching.longest, batching.varies)


def stack(orders: Sequence[Order]) -> Order:
    """The same batches of several replicas as one Order."""
    rows, starts, lengths = (
        np.concatenate([getattr(order, name) for order in orders])
        for name in ("rows", "starts", "lengths")
    )
    longest = max(order.longest for order in orders)
    return Order(rows, starts, lengths, longest, any(order.varies for order in orders))


def problems(
    order: Kind,
    rows: int,
    batch_size: int | None,
    macro_batch: int | None,
    start_below: int | None,
    streams: str,
    prefix: str = "",
) -> Iterator[str]:
    """A line for each setting that does not fit the others; prefix: before their names."""
    counts = {"batch_size": batch_size, "macro_batch": macro_batch, "start_below": start_below}
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            yield f"{prefix}{name}={count}: must be a whole number of rows from 1 on"
            return
    given = f"{prefix}batch_size={batch_size}"
    if batch_size is None and order != "full":
        yield f"{prefix}order={order}: needs {prefix}batch_size, the rows of a step"
    elif batch_size is not None and order == "full":
        yield f"{given}: needs another {prefix}order than full, such as shuffle"
    if batch_size is not None and batch_size > rows:
        yield f"{given}: must be at most the {rows} rows there are"
    uses_start, below = order in ("slices", "consecutive"), f"{prefix}start_below={start_below}"
    if uses_start and start_below is None:
        yield f"{prefix}order={order}: needs {prefix}start_below, a number of at most {rows} rows"
    elif start_below is not None and not uses_start:
        yield f"{below}: applies only with {prefix}order=slices or consecutive"
    elif start_below is not None and batch_size and not batch_size < start_below <= rows:
        yield f"{below}: must be above the batch size and at most the {rows} rows"
    if order == "blocks" and macro_batch is None:
        yield f"{prefix}order=blocks: needs {prefix}macro_batch, the rows of a macro batch"
    elif macro_batch is not None and order != "blocks":
        yield f"{prefix}macro_batch={macro_batch}: applies only with {prefix}order=blocks"
    elif macro_batch is not None and batch_size and batch_size > macro_batch:
        yield f"{given}: must be at most {prefix}macro_batch={macro_batch}"
    if streams == "libraries" and order != "full":
        yield f"streams=libraries: needs {prefix}order=full (its seeded order is not defined)"
