"""A LightningDataModule of the synthetic rows of R replicas, in the order of training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from mlpfit.data import order as orders
from mlpfit.data import streams as generators
from mlpfit.data.fresh import FRESH_ROWS, fresh_rows
from mlpfit.data.split import Part, Split
from mlpfit.data.targets import Rows, Source
from mlpfit.errors import ConfigError, check_name
from mlpfit.lightning_import import pl

HELD_OUT: dict[generators.Use, str] = {"validation": "val_x", "test": "test_x"}  # field of Rows

Batch = dict[str, Any]


class ReplicaData(pl.LightningDataModule):
    """Rows and batches of the replicas with these seeds; each depends on its own seed only.

    target        the function and how its rows are sampled
    order, batch_size, macro_batch, start_below   rows of each batch: :mod:`mlpfit.data.order`
    streams       how generators are made from a seed: :mod:`mlpfit.data.streams`
    weights       function that draws the initial weights; called before the order is drawn, so
                  that ``legacy`` streams have the same state as in training
    validation, test   rows held out from training, a count or a share of the rows:
                  :class:`mlpfit.data.split.Split`; None: new rows of the same function with new
                  noise, from their own generators, and of a table, which has none, no rows
    fresh_rows    rows of validation and of test that are new

    x (R, n, d), y (R, n, o), of the rows for training; ``arrays``: the fields of
    :class:`mlpfit.data.targets.Rows` that are there, with the replica axis first. A batch is {"x":
    (R, b, d), "y": (R, b, o)}; where the replicas' batches have different lengths (``blocks``),
    shorter ones are filled up with their first row at weight 0: "weights" (R, b). An epoch is one
    batch of all rows (``full``), one pass over the rows (``shuffle``, ``sequential``, ``blocks``),
    whose last batch may be shorter, as that of torch's DataLoader, or as many draws (``slices``,
    ``consecutive``). Rows of validation and test are standardised like those of training;
    prediction uses every row there is.

    Batches are numbered from 0 at the start of training, across epochs, and are a function of the
    seed and that number. A Trainer takes next the number of batches that it has completed,
    ``fit_loop.epoch_loop.batch_progress.total.completed``: Lightning saves it in every checkpoint,
    increases it once a batch whatever accumulate_grad_batches, and counts on where an epoch is cut
    short (limit_train_batches, max_steps). So a resumed training has exactly the batches that it
    has not seen, in the middle of an epoch, too, and each training starts at batch 0. (With
    overfit_batches every epoch has the first batches.) Every process of a distributed training has
    the same batches, so its numbers are those of one process; to divide the rows among processes,
    give the Trainer a DataLoader of them, which gets a sampler.

    ``Trainer(max_steps=500).fit(module, ReplicaData(target))``
    """

    def __init__(
        self,
        target: Source,
        seeds: Sequence[int] = (0,),
        *,
        order: orders.Kind = "full",
        batch_size: int | None = None,
        macro_batch: int | None = None,
        start_below: int | None = None,
        streams: generators.Kind = "spawned",
        weights: Callable[[Any], Any] | None = None,
        validation: Part = None,
        test: Part = None,
        dtype: str = "float32",
        fresh_rows: int = FRESH_ROWS,
    ) -> None:
        super().__init__()
        check_name("dtype", dtype, ("float32", "float64"))
        if not (seeds := list(seeds)):
            raise ConfigError("seeds=[]: must name at least one seed, one per replica")
        if type(fresh_rows) is not int or fresh_rows < 1:
            raise ConfigError(f"fresh_rows={fresh_rows}: must be a whole number from 1 on")
        self.target, self.seeds, self.fresh_rows = target, seeds, fresh_rows
        self.streams, self.split = streams, Split(validation, test)
        self.dtype: torch.dtype = getattr(torch, dtype)
        of = partial(_begin, target, order=order, streams=streams, weights=weights)
        batching = _batching(
            target, self.split, order, batch_size, macro_batch, start_below, streams
        )

        def begin() -> list[tuple[Rows, Any, Any]]:
            return [of(seed, split=self.split) for seed in seeds]

        rows, rngs, drawn = zip(*begin(), strict=True)
        # What ``weights`` drew, of each replica; None where the order does not need it.
        self.initial: list[Any] | None = None if drawn[0] is None else list(drawn)
        names = [n for n in Rows.__dataclass_fields__ if getattr(rows[0], n) is not None]
        self.arrays = {name: np.stack([getattr(r, name) for r in rows]) for name in names}
        self.x, self.y = (self._tensor(self.arrays[name]) for name in ("x", "y"))
        self._draws = None
        if batching is not None:
            self._draws = orders.Draws(batching, rngs, lambda: [rng for _, rng, _ in begin()])
        self._other: dict[generators.Use, Batches] = {}

    def __repr__(self) -> str:
        replicas, rows, inputs = self.x.shape
        seeds = ", ".join(map(str, self.seeds[:3])) + (", ..." if replicas > 3 else "")
        batches = "1 batch of all rows"
        if self._draws is not None:
            kind, count = self._draws.batching.kind, self.batches_per_epoch
            shorter = ", some shorter" if self._draws.batching.varies else ""
            batches = f"{count} batches of {self.batch_size} rows{shorter}, order {kind}"
        others = []
        for use, name in HELD_OUT.items():
            is_new = self.target.is_endless and name not in self.arrays
            held = self.arrays[name].shape[1] if name in self.arrays else 0
            others.append(f"{use}: {f'{self.fresh_rows} fresh' if is_new else held} rows")
        return (
            f"ReplicaData({self.target.name}: {rows} rows of {inputs} inputs, {self.dtype}; "
            f"{replicas} replicas, seeds {seeds}; epochs of {batches}; {', '.join(others)})"
        )

    __str__ = __repr__

    @property
    def batches_per_epoch(self) -> int:
        return 1 if self._draws is None else len(self._draws.batching.epoch)

    @property
    def batch_size(self) -> int | None:
        """Rows of a batch; None: all. It may be set, as Lightning's BatchSizeFinder does: a number
        above what there is means the largest batch. Training then starts at batch 0 of the new
        size."""
        return None if self._draws is None else self._draws.batching.batch

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        if self._draws is None:
            raise ConfigError(f"batch_size={size}: needs another order than full, such as shuffle")
        batching = self._draws.batching
        most = batching.macro or (batching.below - 1 if batching.below else batching.rows)
        if type(size) is not int or size < 1:
            raise ConfigError(f"batch_size={size}: must be a whole number of rows from 1 on")
        self._draws.restart(replace(batching, batch=min(size, most, batching.rows)))

    def order_of(self, first: int, last: int) -> orders.Order | None:
        """Row numbers of batches first .. last - 1, counted from the start of training; None if
        every batch has all rows. Of earlier batches than those asked for last the order is drawn
        again from the start."""
        return None if self._draws is None else self._draws.between(first, last)

    def batch(self, number: int) -> Batch:
        """The batch of this number, counted from 0 at the start of training."""
        if (order := self.order_of(number, number + 1)) is None:
            return {"x": self.x, "y": self.y}
        offset = np.arange(order.lengths.max())
        inside = offset < order.lengths  # (R, b)
        rows = np.take_along_axis(order.rows, order.starts + offset * inside, axis=1)
        replica = np.arange(len(rows))[:, None]
        batch = {"x": self.x[replica, rows], "y": self.y[replica, rows]}
        return batch if inside.all() else batch | {"weights": self._tensor(inside)}

    def position(self) -> tuple[int, int] | None:
        """Number of the batch that the Trainer takes next, and batches left in its epoch; None if
        it is not training."""
        if self.trainer is None or not self.trainer.training:
            return None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        done = progress.current.completed
        overfits = getattr(self.trainer, "overfit_batches", 0)
        # Resumed at the end of an epoch, Lightning asks for one more batch of it: there is none.
        left = max(int(min(self.trainer.num_training_batches, 2**62)) - done, 0)
        return done if overfits else progress.total.completed, left

    def train_dataloader(self) -> "Epochs":
        return Epochs(self)

    def val_dataloader(self) -> "Batches":
        return self.other("validation")

    def test_dataloader(self) -> "Batches":
        return self.other("test")

    def predict_dataloader(self) -> "Batches":
        """All rows in one batch {"x": (R, m, d)}."""
        return Batches([{"x": self._tensor(self.arrays["pool_x"])}])

    def other(self, use: generators.Use) -> "Batches":
        """Rows of every replica that are not for training, in one batch {"x": (R, m, d), "y": (R,
        m, o)}; each replica's depend on its seed only. No batch if there are none."""
        if use in self._other:
            return self._other[use]
        name = HELD_OUT[use]
        if name in self.arrays:
            x, y = self.arrays[name], self.arrays[name.replace("_x", "_y")]
        elif not self.target.is_endless:
            return self._other.setdefault(use, Batches())
        else:
            x, y = fresh_rows(
                self.target,
                self.seeds,
                use,
                self.streams,
                self.arrays["center"],
                self.arrays["scale"],
                self.fresh_rows,
                np.float64 if self.dtype == torch.float64 else np.float32,
            )
        batch = {"x": self._tensor(x), "y": self._tensor(y)}
        return self._other.setdefault(use, Batches([batch]))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.dtype)


class Batches(list[Batch]):
    """Batches of one dataloader; the Trainer takes a plain list as several dataloaders."""


class Epochs:
    """The dataloader of the training: each iteration is one epoch, from the Trainer's next batch
    on. Given to a Trainer without the datamodule it counts the batches itself, and Lightning
    restores the count when it resumes within an epoch or with max_steps, but not at the end of an
    epoch with max_epochs alone: give ``fit`` the datamodule."""

    def __init__(self, data: ReplicaData) -> None:
        self.data, self._next = data, 0
        self.dataset = data.y[0]  # whose length limits Lightning's BatchSizeFinder

    def __len__(self) -> int:
        return self.data.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        position = self.data.position()  # when the first batch is taken: progress is loaded
        self._next, left = position or (self._next, len(self))
        for _ in range(left):
            self._next += 1
            yield self.data.batch(self._next - 1)

    def state_dict(self) -> dict[str, Any]:
        """Its presence tells Lightning that the dataloader can be resumed."""
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
        self._next = state.get("next", 0)  # another loader's, such as the engine's, has none


def _batching(
    target: Source,
    split: Split,
    order: orders.Kind,
    batch_size: int | None,
    macro_batch: int | None,
    start_below: int | None,
    streams: generators.Kind,
) -> orders.Batching | None:
    """None for ``full``. Raises ConfigError for settings that do not fit."""
    check_name("order", order, get_args(orders.Kind))
    check_name("streams", streams, get_args(generators.Kind))
    if problem := target.problem() or split.problem(target.rows_observed):
        raise ConfigError(problem)
    rows = split.training(target.rows_observed)
    given = (order, rows, batch_size, macro_batch, start_below, streams)
    if problem := next(orders.problems(*given), None):
        raise ConfigError(problem)
    if batch_size is None:
        return None
    return orders.Batching(order, rows, batch_size, macro_batch, start_below)


def _begin(
    target: Source,
    seed: int,
    *,
    order: orders.Kind,
    streams: generators.Kind,
    weights: Callable[[Any], Any] | None,
    split: Split,
) -> tuple[Rows, Any, Any]:
    """Rows of the replica with this seed, the generator of its order, and what ``weights`` drew
    from it before."""
    rngs, parts = generators.streams(seed, streams), None
    if split:
        parts = split.draw(generators.fresh(seed, "split"), target.rows_observed)
    rows = target.rows(rngs.data, parts)
    drawn = None
    if streams == "legacy" and weights is not None:
        drawn = weights(rngs.order)  # the order follows them in the stream
    return rows, rngs.order, drawn


def draw(
    target: Source,
    seed: int,
    *,
    steps: int,
    order: orders.Kind = "full",
    batch_size: int | None = None,
    macro_batch: int | None = None,
    start_below: int | None = None,
    streams: generators.Kind = "spawned",
    weights: Callable[[Any], Any] | None = None,
    validation: Part = None,
    test: Part = None,
) -> tuple[Rows, orders.Order | None]:
    """Rows of the replica with this seed and the order of its first batches (None for ``full``).
    The arguments are those of :class:`ReplicaData`."""
    split = Split(validation, test)
    batching = _batching(target, split, order, batch_size, macro_batch, start_below, streams)
    rows, rng, _ = _begin(target, seed, order=order, streams=streams, weights=weights, split=split)
    return rows, None if batching is None else orders.Draws(batching, [rng]).between(0, steps)
