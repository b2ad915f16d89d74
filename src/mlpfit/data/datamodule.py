"""The synthetic rows of R replicas, handed to the Trainer in blocks of optimiser steps."""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mlpfit.config.schema import Config
from mlpfit.data import order
from mlpfit.data.streams import streams
from mlpfit.data.targets import Rows
from mlpfit.model import mlp


class ReplicaData(pl.LightningDataModule):
    """Rows and batch order of the replicas with these seeds, each drawn from its own seed alone.

    x (R, n, d), y (R, n, 1); pool_* as in :class:`mlpfit.targets.Rows` with the replica axis first.
    ``boundaries`` are the steps at which one block ends and the next begins, from 0 to the last
    step.
    """

    def __init__(self, config: Config, seeds: Sequence[int], boundaries: Sequence[int]) -> None:
        super().__init__()
        self.config, self.seeds, self.boundaries = config, seeds, boundaries
        drawn = [draw(config, seed) for seed in seeds]
        rows, orders = zip(*drawn, strict=True)
        self.arrays = {
            name: np.stack([getattr(r, name) for r in rows]) for name in Rows.__dataclass_fields__
        }
        dtype = torch.float64 if config.trainer.precision == "64-true" else torch.float32
        self.x, self.y = (torch.from_numpy(self.arrays[name]).to(dtype) for name in ("x", "y"))
        self.order = None if config.data.order == "full" else order.stack(orders)

    def train_dataloader(self) -> "Blocks":
        return Blocks(self)

    def block(self, first: int, last: int) -> dict[str, Tensor | None]:
        """Steps first .. last - 1: x (steps, R, b, d), y (steps, R, b, 1), weights (steps, R, b) or
        None."""
        if self.order is None:
            steps = last - first
            return {
                "x": self.x.expand(steps, *self.x.shape),
                "y": self.y.expand(steps, *self.y.shape),
                "weights": None,
            }
        batches, weights = self.order.batches(first, last)
        rows = torch.from_numpy(batches)
        replica = torch.arange(len(self.x))[:, None]
        return {
            "x": self.x[replica, rows],
            "y": self.y[replica, rows],
            "weights": None if weights is None else torch.from_numpy(weights).to(self.x),
        }


class Blocks:
    """The blocks still to be trained, an iterable for the Trainer. It holds no position of its own:
    iteration starts at the Trainer's ``global_step``, so a resumed run meets exactly the batches it
    has not seen."""

    def __init__(self, data: ReplicaData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.boundaries) - 1

    def __iter__(self) -> Iterator[dict[str, Tensor | None]]:
        done = self.data.trainer.global_step if self.data.trainer is not None else 0
        for first, last in zip(self.data.boundaries, self.data.boundaries[1:], strict=False):
            if first >= done:
                yield self.data.block(first, last)

    def state_dict(self) -> dict[str, Any]:
        """Tells Lightning that this iterable can be resumed (its position is the global step)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""


def draw(config: Config, seed: int) -> tuple[Rows, tuple[np.ndarray, ...]]:
    """Rows and batch order of the replica with this seed."""
    generators = streams(seed, config.streams)
    rows = config.target.rows(generators.data)
    data = config.data
    if data.order == "full":
        return rows, ()
    if config.streams == "legacy":  # one stream: the weights are drawn before the order
        generators.order.normal(size=mlp.normals_drawn(config.units, config.model.init))
    assert data.batch_size is not None  # checked with the config
    return rows, order.draw(
        generators.order,
        data.order,
        rows=config.rows,
        batch=data.batch_size,
        steps=config.trainer.max_steps,
        macro=data.macro_batch or 0,
        below=data.start_below or 0,
    )
