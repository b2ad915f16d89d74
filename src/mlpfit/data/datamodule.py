"""The synthetic rows of R replicas and the order in which they are seen, as a LightningDataModule.

``chunk_steps`` optimiser steps come as one batch of the Trainer, a chunk, which
:class:`mlpfit.model.regression.Regression` takes in one training_step; with ``chunk_steps=None``
every batch is one step, for a module of any kind.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mlpfit.data import order as orders
from mlpfit.data import streams as generators
from mlpfit.data.targets import Rows, Target

FRESH_ROWS = 2_000  # for validation, as many for test: a noise's mean square is known to 3 %

Batch = dict[str, Any]


class ReplicaData(pl.LightningDataModule):
    """Rows and batch order of the replicas with these seeds, each drawn from its own seed alone.

    target        the function and how its rows are sampled
    steps         optimiser steps of a training; all of them are one epoch of the Trainer
    order, batch_size, macro_batch, start_below   which rows a step sees: :mod:`mlpfit.data.order`
    streams       how generators are made from a seed: :mod:`mlpfit.data.streams`
    weights       what draws the initial weights from the ``legacy`` stream, before the order
    chunk_steps   steps of a chunk at most; None: one step a batch, without the axis of steps
    stops         steps at which a chunk ends in any case

    x (R, n, d), y (R, n, 1); ``arrays``: the fields of :class:`mlpfit.data.targets.Rows` with the
    replica axis first. A chunk of K steps is {"x": (1, R, n, d), "y": (1, R, n, 1), "steps": K};
    where steps see different rows, they lie there in their order, and "starts" and "lengths" (R, K)
    say which slice is a step's: :func:`batches`. Validation and test see ``fresh_rows`` new rows of
    the same function with new noise, from generators of their own, in each replica's units;
    prediction is at every row generated.

    ``Trainer(max_steps=500).fit(module, ReplicaData(target, steps=500))``
    """

    def __init__(
        self,
        target: Target,
        seeds: Sequence[int] = (0,),
        *,
        steps: int,
        order: orders.Kind = "full",
        batch_size: int | None = None,
        macro_batch: int | None = None,
        start_below: int | None = None,
        streams: generators.Kind = "spawned",
        weights: Callable[[Any], Any] | None = None,
        dtype: str = "float32",
        chunk_steps: int | None = 200,
        stops: Sequence[int] = (),
        fresh_rows: int = FRESH_ROWS,
    ) -> None:
        super().__init__()
        self.target, self.seeds, self.steps = target, list(seeds), steps
        self.chunk_steps, self.fresh_rows = chunk_steps, fresh_rows
        self.boundaries = sorted({*range(0, steps, chunk_steps or 1), steps, *stops})
        self.rows_of_a_step = "all rows" if batch_size is None else f"{order} of {batch_size}"
        sampling: dict[str, Any] = {"steps": steps, "order": order, "batch_size": batch_size}
        sampling |= {"macro_batch": macro_batch, "start_below": start_below}
        sampling |= {"streams": streams, "weights": weights}
        drawn = [draw(target, seed, **sampling) for seed in self.seeds]
        rows, row_orders = zip(*drawn, strict=True)
        self.arrays = {
            name: np.stack([getattr(r, name) for r in rows]) for name in Rows.__dataclass_fields__
        }
        self.dtype = getattr(torch, dtype)
        self.x, self.y = (self._tensor(self.arrays[name]) for name in ("x", "y"))
        self.order = None if order == "full" else orders.stack(row_orders)
        self._fresh: dict[generators.Use, Batches] = {}

    def __repr__(self) -> str:
        replicas, rows, inputs = self.x.shape
        seeds = ", ".join(map(str, self.seeds[:3])) + (", ..." if replicas > 3 else "")
        unit = "batches" if self.chunk_steps is None else "chunks"
        return (
            f"ReplicaData({self.target.name}: {rows} rows of {inputs} inputs, {self.dtype}; "
            f"{replicas} replicas, seeds {seeds}; "
            f"{self.steps} steps on {self.rows_of_a_step} in {len(self.boundaries) - 1} {unit}; "
            f"{self.fresh_rows} fresh rows each for validation and test)"
        )

    def train_dataloader(self) -> "Chunks":
        return Chunks(self)

    def val_dataloader(self) -> "Batches":
        return self.fresh("validation")

    def test_dataloader(self) -> "Batches":
        return self.fresh("test")

    def predict_dataloader(self) -> "Batches":
        """Every row generated, in its order: {"x": (R, m, d)}."""
        return Batches([{"x": self._tensor(self.arrays["pool_x"])}])

    def chunk(self, first: int, last: int) -> Batch:
        """Steps first .. last - 1, as the class describes them."""
        if self.order is None:
            return {"x": self.x[None], "y": self.y[None], "steps": last - first}
        x, y = self._in_order
        starts, lengths = self.order.starts[:, first:last], self.order.lengths[:, first:last]
        chunk: Batch = {"x": x[None], "y": y[None], "steps": last - first}
        chunk |= {"starts": torch.from_numpy(starts), "lengths": torch.from_numpy(lengths)}
        return chunk | {"batch": self.order.longest, "filled_up": self.order.varies}

    @cached_property
    def _in_order(self) -> tuple[Tensor, Tensor]:
        """x (R, L, d), y (R, L, 1) one after another as steps see them: a batch is a slice."""
        assert self.order is not None
        rows, replica = torch.from_numpy(self.order.rows), torch.arange(len(self.x))[:, None]
        return self.x[replica, rows], self.y[replica, rows]

    def fresh(self, use: generators.Use) -> "Batches":
        """New rows of every replica in batches {"x": (R, b, d), "y": (R, b, 1)}. A replica's are
        those of its seed in any company."""
        if use in self._fresh:
            return self._fresh[use]
        target = replace(self.target, points=self.fresh_rows, observed=None, standardise=False)
        new = [target.rows(generators.fresh(seed, use)) for seed in self.seeds]
        center, scale = self.arrays["center"][:, None], self.arrays["scale"][:, None]
        x = self._tensor((np.stack([rows.x for rows in new]) - center[..., :-1]) / scale[..., :-1])
        y = self._tensor((np.stack([rows.y for rows in new]) - center[..., -1:]) / scale[..., -1:])
        return self._fresh.setdefault(use, Batches([{"x": x, "y": y}]))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.dtype)


class Batches(list[Batch]):
    """Batches one after another; a plain list would be as many dataloaders to the Trainer."""


class Chunks:
    """The chunks still to be trained, an iterable for the Trainer. It holds no position of its own:
    iteration starts at the Trainer's ``global_step``, so a resumed run meets exactly the batches it
    has not seen."""

    def __init__(self, data: ReplicaData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.boundaries) - 1

    def __iter__(self) -> Iterator[Batch]:
        data = self.data
        done = data.trainer.global_step if data.trainer is not None else 0
        if getattr(data.trainer, "overfit_batches", 0):
            done = 0  # the same batches in every epoch
        for first, last in zip(data.boundaries, data.boundaries[1:], strict=False):
            if last <= done:
                continue
            chunk = data.chunk(max(first, done), last)
            if data.chunk_steps is None:  # one step, without the axis of steps
                chunk = {k: v[0] for k, v in batches(chunk).items() if isinstance(v, Tensor)}
            yield chunk

    def state_dict(self) -> dict[str, Any]:
        """Tells Lightning that this iterable can be resumed (its position is the global step)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""


def batches(chunk: Batch) -> Batch:
    """The rows that the steps of a chunk see: {"x": (K, R, b, d), "y": (K, R, b, 1), "weights":
    (K, R, b) or None}; the chunk as it is where all see the same.

    A batch shorter than its neighbours is filled up with its first row, at weight 0; weights are
    None if none is.
    """
    if "starts" not in chunk:
        return chunk
    starts, lengths = (chunk[name].T[..., None] for name in ("starts", "lengths"))  # (K, R, 1)
    place = torch.arange(chunk["batch"], device=starts.device)
    inside = place < lengths
    places = torch.where(inside, starts + place, starts)
    replica = torch.arange(len(chunk["starts"]), device=places.device)[:, None]
    x, y = (chunk[name][0][replica, places] for name in ("x", "y"))
    return {"x": x, "y": y, "weights": inside.to(x) if chunk["filled_up"] else None}


def draw(
    target: Target,
    seed: int,
    *,
    steps: int,
    order: orders.Kind = "full",
    batch_size: int | None = None,
    macro_batch: int | None = None,
    start_below: int | None = None,
    streams: generators.Kind = "spawned",
    weights: Callable[[Any], Any] | None = None,
) -> tuple[Rows, tuple[np.ndarray, ...]]:
    """Rows and batch order (empty: full) of the replica with this seed; arguments as of
    :class:`ReplicaData`."""
    rngs = generators.streams(seed, streams)
    rows = target.rows(rngs.data)
    if order == "full":
        return rows, ()
    if streams == "legacy" and weights is not None:  # one stream: they are drawn before the order
        weights(rngs.order)
    assert batch_size is not None  # an order other than full has one
    return rows, orders.draw(
        rngs.order,
        order,
        rows=len(rows.x),
        batch=batch_size,
        steps=steps,
        macro=macro_batch or 0,
        below=start_below or 0,
    )
