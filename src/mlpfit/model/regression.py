"""The LightningModule of R replicas of a multilayer perceptron, which takes several optimiser steps
in one training_step."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from mlpfit.data import streams as generators
from mlpfit.data.datamodule import batches
from mlpfit.model import losses, mlp
from mlpfit.model.compiled import CompiledSteps

Batch = dict[str, Any] | Sequence[Tensor]


class Regression(pl.LightningModule):
    """R replicas of one net. Hyper-parameters are plain numbers, strings and lists, so
    ``Regression.load_from_checkpoint(path)`` needs no further arguments.

    units         widths from input to output, e.g. [1, 32, 1]
    optimizer     {"name": "sgd", "lr": ..., "momentum": ...} or {"name": "adam", "lr": ...,
                  "beta1": ..., "beta2": ..., "eps": ...}; all but name and lr are optional
    seeds         one per replica, for its initial weights: the first numbers of its stream
    gradient      "autograd", or "by_hand": :meth:`mlpfit.model.mlp.MLP.backward_by_hand`
    log_replicas  also log the metrics of every replica, as train/loss/seed_3

    A batch is {"x", "y"}, optionally with "weights", or (x, y): one optimiser step. Its rows are
    x (R, n, d), y (R, n, 1), or x (n, d), y (n, 1) for all replicas. A chunk x (K, R, n, d),
    y (K, R, n, 1) is K steps in one training_step; if x and y have length 1, "steps" is K. In
    chunks of :class:`mlpfit.data.datamodule.ReplicaData` steps may see slices of all rows.

    Logs ``train/loss`` before the last update of a training_step, ``val/mse`` and ``test/mse``:
    the median over the replicas, diverged ones above all others. The Trainer counts a chunk as one
    batch (``val_check_interval``), but ``global_step`` and the loggers' steps count optimiser
    steps; with chunks use ``log_every_n_steps=1``.

    ``Trainer(max_steps=500).fit(Regression([1, 8, 1], {"name": "sgd", "lr": 0.02}), data)``
    """

    def __init__(
        self,
        units: Sequence[int],
        optimizer: dict[str, Any],
        seeds: Sequence[int] = (0,),
        streams: generators.Kind = "spawned",
        init: mlp.Init = "torch",
        activation: mlp.Activation = "relu",
        gradient: str = "autograd",
        loss: losses.Kind = "mse",
        dtype: str = "float32",
        log_replicas: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        # Automatic optimisation takes one step in a training_step, at ten times the cost of the
        # step itself for small nets. Here it takes many; _advance_global_step counts them.
        self.automatic_optimization = False
        self.loss, self.gradient = loss, gradient
        self.mlp = mlp.MLP(units, activation, len(seeds)).to(getattr(torch, dtype))
        rngs = (generators.streams(seed, streams).weights for seed in seeds)
        self.mlp.load([mlp.initial_parameters(units, init, rng) for rng in rngs])
        self.losses: list[Tensor] = []  # (steps, R) of each training_step
        self._squares: list[tuple[Tensor, int]] = []  # (sum (R,), rows) of each batch
        self.compile_steps = False  # changes no result, so not a hyper-parameter
        self.fused = False  # torch's fused optimiser: faster, rounded differently
        self.to_loggers = True  # False: metrics are for callbacks only

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> "Regression":
        """Lightning's, but with weights_only, so that a file from others never runs code."""
        return super().load_from_checkpoint(
            checkpoint_path, *args, **{"weights_only": True, **options}
        )

    @property
    def replicas(self) -> int:
        return len(self.hparams["seeds"])

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) or, for all, x (n, d) -> (R, n, 1); if R = 1, x (n, d) -> (n, 1)."""
        if x.ndim == 3:
            return self.mlp(x)
        outputs = self.mlp(self._per_replica(x))
        return outputs[0] if self.replicas == 1 else outputs

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind, options = self._optimizer()
        return kind(self.parameters(), **options | {"fused": self.fused or None})

    def _optimizer(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        options = dict(self.hparams["optimizer"])
        if options.pop("name") == "sgd":
            return torch.optim.SGD, options
        betas = options.pop("beta1", 0.9), options.pop("beta2", 0.999)
        return torch.optim.Adam, {"betas": betas, **options}

    def on_train_start(self) -> None:
        """A training resumed from a checkpoint uses its own learning rate, not the checkpoint's."""
        for optimizer in self.trainer.optimizers:
            if not self.trainer.lr_scheduler_configs:
                optimizer.param_groups[0].update(self._optimizer()[1])

    def training_step(self, batch: Batch, index: int) -> None:
        """Take the optimiser steps of a chunk and record the loss before each update."""
        (optimizer,) = self.trainer.optimizers
        x, y, weights, order = self._chunk(batch)
        if self.compile_steps:
            trace = CompiledSteps(self.mlp, self.loss, optimizer)(x, y, weights, order)
        else:
            steps = zip(x, y, [None] * len(x) if weights is None else weights, strict=True)
            trace = torch.stack([self._step(optimizer, *rows) for rows in steps])
        self.losses.append(trace)
        self._advance_global_step(len(trace))
        self._log("train/loss", trace[-1], prog_bar=True)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._squares.append(self._squared_errors(batch))

    def on_validation_epoch_end(self, name: str = "val/mse") -> None:
        self._log(name, _mean(self._squares))
        self._squares = []

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end("test/mse")

    def predict_step(self, batch: Batch | Tensor, index: int) -> Tensor:
        """:meth:`forward` of x, or of the x of a batch."""
        return self(batch if isinstance(batch, Tensor) else _as_dict(batch)["x"])

    def mean_squared_error(self, batches: Iterable[Batch]) -> Tensor:
        """Mean squared error on all rows of the batches: (R,)."""
        return _mean([self._squared_errors(batch) for batch in batches])

    def _squared_errors(self, batch: Batch) -> tuple[Tensor, int]:
        """Sum of squared errors (R,) of a batch, and its number of rows."""
        rows = (_as_dict(batch)[name].to(self.device) for name in ("x", "y"))
        x, y = (self._per_replica(values) for values in rows)
        return self.sum_of_squares(x, y), x.shape[1]

    def sum_of_squares(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of squared errors on rows x (R, n, d), y (R, n, 1): (R,)."""
        pairs = zip(self._outputs(x), y.split(self._replicas_at_once), strict=True)
        return torch.cat([losses.loss("sse", outputs[-1], truth) for outputs, truth in pairs])

    def dead_units(self, x: Tensor) -> Tensor:
        """Number of hidden units that are zero on all rows x (R, n, d): (R,)."""
        counts = []
        for outputs in self._outputs(x):
            by_layer = [(hidden == 0).all(1).sum(1) for hidden in outputs[1:-1]]
            counts.append(sum(by_layer, torch.zeros(len(outputs[0]), device=x.device)))
        return torch.cat(counts)

    @property
    def _replicas_at_once(self) -> int:
        """Replicas evaluated at once: one on the CPU, whose outputs then stay in the cache."""
        return 1 if self.device.type == "cpu" else self.replicas

    @torch.no_grad()
    def _outputs(self, x: Tensor) -> Iterator[list[Tensor]]:
        """:func:`mlpfit.model.mlp.outputs` of one group of replicas after another."""
        for first in range(0, self.replicas, self._replicas_at_once):
            group = slice(first, first + self._replicas_at_once)
            layers = [(weight[group], bias[group]) for weight, bias in self.mlp.layers]
            yield mlp.outputs(layers, x[group], self.mlp.activation)

    def _per_replica(self, rows: Tensor) -> Tensor:
        """(n, d) or (R, n, d) -> (R, n, d)."""
        return rows if rows.ndim == 3 else rows.expand(self.replicas, *rows.shape)

    def _chunk(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any] | None]:
        """x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None, with K at most the remaining
        steps; and the chunk itself, if compiled steps see slices of these rows."""
        rows = _as_dict(batch) if self.compile_steps else batches(_as_dict(batch))
        x, y, weights = rows["x"], rows["y"], rows.get("weights")
        if x.ndim < 4:
            x, y = self._per_replica(x)[None], self._per_replica(y)[None]
            weights = None if weights is None else weights.expand(1, *x.shape[1:3])
        steps = rows.get("steps", len(x))
        if self.trainer.max_steps >= 0:  # -1: no limit
            steps = min(steps, self.trainer.max_steps - self.trainer.global_step)
        if len(x) == 1:
            x, y = x.expand(steps, *x.shape[1:]), y.expand(steps, *y.shape[1:])
            return x, y, weights, rows if "starts" in rows else None
        return x[:steps], y[:steps], None if weights is None else weights[:steps], None

    def _advance_global_step(self, steps: int) -> None:
        """Advance the Trainer's global_step, as LightningOptimizer.step does; its hooks of every
        callback at every step would take a fifth of the time. Also the loggers' step, to which
        Lightning adds one after each batch."""
        loop = self.trainer.fit_loop.epoch_loop
        loop.manual_optimization.optim_step_progress.total.ready += steps
        loop.manual_optimization.optim_step_progress.total.completed += steps
        loop._batches_that_stepped += steps - 1

    def _step(
        self, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, weights: Tensor | None
    ) -> Tensor:
        with torch.set_grad_enabled(self.gradient == "autograd"):
            outputs = self.mlp.outputs(x)
        with torch.no_grad():
            loss = losses.loss(self.loss, outputs[-1], y, weights)
            error = losses.derivative(self.loss, outputs[-1], y, weights)
        for parameter in self.mlp.parameters():
            parameter.grad = None
        # manual_backward adds nothing on one device in full precision, but a fifth of the time.
        self.backward(loss, outputs, error)
        optimizer.step()
        return loss

    def backward(self, loss: Tensor, outputs: list[Tensor], error: Tensor) -> None:
        """Lightning's hook of the backward pass; error = d loss / d prediction (R, n, 1)."""
        if self.gradient == "autograd":
            outputs[-1].backward(error)
        else:
            with torch.no_grad():
                self.mlp.backward_by_hand(outputs, error)

    def _log(self, name: str, values: Tensor, prog_bar: bool = False) -> None:
        """Log the median of values (R,), with log_replicas also each value."""
        metrics = {name: _median(values)}
        if self.hparams["log_replicas"]:
            by_seed = zip(self.hparams["seeds"], values, strict=True)
            metrics |= {f"{name}/seed_{seed}": value for seed, value in by_seed}
        logger = None if self.to_loggers else False  # None: all loggers
        for key, value in metrics.items():
            self.log(key, value, prog_bar=prog_bar and key == name, logger=logger, batch_size=1)

    def solve(self, x: Tensor, y: Tensor) -> None:
        """Set each linear unit to the least-squares fit of its rows x (R, n, d), y (R, n, 1)."""
        x, y = x.double(), y.double()
        design = torch.cat([x, torch.ones_like(y)], dim=2)
        solution = torch.linalg.lstsq(design, y, driver="gelsd").solution  # (R, d + 1, 1)
        with torch.no_grad():
            ((weight, bias),) = self.mlp.layers
            weight.copy_(solution[:, :-1])
            bias.copy_(solution[:, -1:])

    def history(self) -> Tensor:
        """Loss of every step so far, before its update: (steps, R)."""
        empty = torch.empty(0, self.replicas, device=self.device)
        return torch.cat([empty, *(trace.to(self.device) for trace in self.losses)])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["losses"] = self.history()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = [checkpoint["losses"]]


def _as_dict(batch: Batch) -> dict[str, Any]:
    """A batch as a dict: (x, y) becomes {"x", "y"}."""
    return batch if isinstance(batch, dict) else dict(zip(("x", "y"), batch, strict=True))


def _mean(squares: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Mean squared error (R,) of pairs (sum of squared errors (R,), number of rows)."""
    sums, rows = zip(*squares, strict=True)
    return torch.stack(sums).sum(0) / sum(rows)


def _median(values: Tensor) -> Tensor:
    """Median of values (R,), where those not finite rank above all others."""
    return values.nan_to_num(torch.inf, torch.inf, torch.inf).median()
