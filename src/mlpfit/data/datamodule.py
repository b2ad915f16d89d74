"""A LightningDataModule of the synthetic rows of R replicas, in the order of training.

A batch of the Trainer is a chunk: ``chunk_steps`` optimiser steps, which
:class:`mlpfit.model.regression.Regression` takes in one training_step. With ``chunk_steps=None``
a batch is one step, for any LightningModule.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mlpfit.data import order as orders
from mlpfit.data import streams as generators
from mlpfit.data.targets import Rows, Target

FRESH_ROWS = 2_000  # of validation and of test: 3 % standard error of the noise's mean square

Batch = dict[str, Any]


class ReplicaData(pl.LightningDataModule):
    """Rows and batch order of the replicas with these seeds; each depends on its own seed only.

    target        the function and how its rows are sampled
    steps         optimiser steps of the training, which is one epoch of the Trainer
    order, batch_size, macro_batch, start_below   rows of each step: :mod:`mlpfit.data.order`
    streams       how generators are made from a seed: :mod:`mlpfit.data.streams`
    weights       function that draws the initial weights; called before the order is drawn, so
                  that ``legacy`` streams have the same state as in training
    chunk_steps   steps of a chunk at most; None: one step a batch, without the axis of steps
    stops         further steps at which a chunk ends

    x (R, n, d), y (R, n, 1); ``arrays``: the fields of :class:`mlpfit.data.targets.Rows` with the
    replica axis first. A chunk of K steps is {"x": (1, R, n, d), "y": (1, R, n, 1), "steps": K}. If
    steps see different rows, x and y hold them in the order of the steps, and "starts" and
    "lengths" (R, K) are the slice of each step: :func:`batches`. Validation and test use
    ``fresh_rows`` new rows of the same function with new noise, from their own generators,
    standardised like the replica's rows; prediction uses every row generated.

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
        self.dtype = getattr(torch, dtype)
        self.boundaries = sorted({*range(0, steps, chunk_steps or 1), steps, *stops})
        self.rows_of_a_step = "all rows" if batch_size is None else f"{order} of {batch_size}"
        draw_for = partial(
            draw,
            target,
            steps=steps,
            order=order,
            batch_size=batch_size,
            macro_batch=macro_batch,
            start_below=start_below,
            streams=streams,
            weights=weights,
        )
        rows, row_orders = zip(*map(draw_for, self.seeds), strict=True)
        names = Rows.__dataclass_fields__
        self.arrays = {name: np.stack([getattr(r, name) for r in rows]) for name in names}
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
        """All generated rows in one batch {"x": (R, m, d)}."""
        return Batches([{"x": self._tensor(self.arrays["pool_x"])}])

    def chunk(self, first: int, last: int) -> Batch:
        """The chunk of steps first .. last - 1, counted from 0."""
        if self.order is None:
            return {"x": self.x[None], "y": self.y[None], "steps": last - first}
        x, y = self._in_order
        starts, lengths = self.order.starts[:, first:last], self.order.lengths[:, first:last]
        return {
            "x": x[None],
            "y": y[None],
            "steps": last - first,
            "starts": torch.from_numpy(starts),
            "lengths": torch.from_numpy(lengths),
            "batch": self.order.longest,
            "filled_up": self.order.varies,
        }

    @cached_property
    def _in_order(self) -> tuple[Tensor, Tensor]:
        """x (R, L, d), y (R, L, 1) in the order of the steps, so that each batch is a slice."""
        assert self.order is not None
        rows, replica = torch.from_numpy(self.order.rows), torch.arange(len(self.x))[:, None]
        return self.x[replica, rows], self.y[replica, rows]

    def fresh(self, use: generators.Use) -> "Batches":
        """New rows of every replica in one batch {"x": (R, m, d), "y": (R, m, 1)}; each replica's
        depend on its seed only."""
        if use in self._fresh:
            return self._fresh[use]
        target = replace(self.target, points=self.fresh_rows, observed=None, standardise=False)
        drawn = [target.rows(generators.fresh(seed, use)) for seed in self.seeds]
        center, scale = self.arrays["center"][:, None], self.arrays["scale"][:, None]
        x = self._tensor(
            (np.stack([rows.x for rows in drawn]) - center[..., :-1]) / scale[..., :-1]
        )
        y = self._tensor(
            (np.stack([rows.y for rows in drawn]) - center[..., -1:]) / scale[..., -1:]
        )
        return self._fresh.setdefault(use, Batches([{"x": x, "y": y}]))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.dtype)


class Batches(list[Batch]):
    """Batches of one dataloader; the Trainer takes a plain list as several dataloaders."""


class Chunks:
    """The remaining chunks of a training, a dataloader for the Trainer. It has no position of its
    own: iteration starts at the Trainer's ``global_step``, so a resumed run gets exactly the
    batches that it has not seen."""

    def __init__(self, data: ReplicaData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.boundaries) - 1

    def __iter__(self) -> Iterator[Batch]:
        data = self.data
        done = data.trainer.global_step if data.trainer is not None else 0
        if getattr(data.trainer, "overfit_batches", 0):
            done = 0  # repeat the same batches in every epoch
        for first, last in zip(data.boundaries, data.boundaries[1:], strict=False):
            if last <= done:
                continue
            chunk = data.chunk(max(first, done), last)
            if data.chunk_steps is None:
                chunk = {k: v[0] for k, v in batches(chunk).items() if isinstance(v, Tensor)}
            yield chunk

    def state_dict(self) -> dict[str, Any]:
        """Empty; its presence tells Lightning that the dataloader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""


def batches(chunk: Batch) -> Batch:
    """A chunk with its slices written out: {"x": (K, R, b, d), "y": (K, R, b, 1), "weights": ...};
    if all steps see the same rows, the chunk unchanged.

    A batch shorter than others is padded with its first row at weight 0: weights (K, R, b), or None
    if no batch is padded.
    """
    if "starts" not in chunk:
        return chunk
    starts, lengths = (chunk[name].T[..., None] for name in ("starts", "lengths"))  # (K, R, 1)
    offset = torch.arange(chunk["batch"], device=starts.device)
    inside = offset < lengths
    positions = torch.where(inside, starts + offset, starts)
    replica = torch.arange(len(chunk["starts"]), device=positions.device)[:, None]
    x, y = (chunk[name][0][replica, positions] for name in ("x", "y"))
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
    """Rows and batch order (empty for ``full``) of the replica with this seed. The arguments are
    those of :class:`ReplicaData`."""
    rngs = generators.streams(seed, streams)
    rows = target.rows(rngs.data)
    if order == "full":
        return rows, ()
    if streams == "legacy" and weights is not None:  # the order follows them in the stream
        weights(rngs.order)
    assert batch_size is not None  # config.combinations checks it
    return rows, orders.draw(
        rngs.order,
        order,
        rows=len(rows.x),
        batch=batch_size,
        steps=steps,
        macro=macro_batch or 0,
        below=start_below or 0,
    )
