"""The LightningModule: R replicas of a multilayer perceptron, trained several optimiser steps at a
time."""

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
    """Hyper-parameters are plain numbers, strings and lists:
    ``Regression.load_from_checkpoint(path)`` works as is.

    units         widths from input to output, e.g. [1, 32, 1]
    optimizer     {"name": "sgd", "lr": ...} with "momentum" where wanted, or {"name": "adam", "lr":
                  ...} with "beta1", "beta2", "eps" where they are not torch's
    seeds         one per replica; each decides its replica's initial weights, which are the first
                  numbers of its stream
    gradient      "autograd", or "by_hand": the chain rule of
                  :meth:`mlpfit.model.mlp.MLP.backward_by_hand`
    log_replicas  log the metrics of every replica, too, as train/loss/seed_3

    A batch is {"x", "y"} and perhaps "weights", or (x, y), of rows for every replica, x (R, n, d),
    y (R, n, 1), or for all alike, x (n, d), y (n, 1): one optimiser step. A chunk, x (K, R, n, d),
    y (K, R, n, 1), is K of them in one training_step; "steps" says K where x and y have length 1.
    :class:`mlpfit.data.datamodule.ReplicaData` makes chunks whose steps see slices of all rows.

    Logged are ``train/loss``, before the last update of a training_step, ``val/mse`` and
    ``test/mse``: the median over the replicas, diverged ones above all others. To the Trainer a
    chunk is a batch (``val_check_interval`` counts chunks), but ``global_step`` and the loggers'
    steps count optimiser steps; with chunks, say ``log_every_n_steps=1``.

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
        # Lightning runs one optimiser step a training_step by itself; with nets this small that
        # costs ten times the step. Driving the optimiser ourselves, many steps at a time, costs
        # nothing; global_step is kept by _count.
        self.automatic_optimization = False
        self.loss, self.gradient = loss, gradient
        self.mlp = mlp.MLP(units, activation, len(seeds)).to(getattr(torch, dtype))
        rngs = (generators.streams(seed, streams).weights for seed in seeds)
        self.mlp.load([mlp.initial(units, init, rng) for rng in rngs])
        self.losses: list[Tensor] = []  # one (steps, R) tensor a training_step
        self._squares: list[tuple[Tensor, int]] = []  # sums (R,) over so many rows, of a batch each
        self.compile_steps = False  # how to compute, not what: no hyper-parameter
        self.fused = False  # the optimiser's update in one pass over the memory, rounded otherwise
        self.to_loggers = True  # False: train/loss and val/mse are for callbacks only

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> "Regression":
        """Lightning's, but a file from others never runs code, whatever the environment says."""
        return super().load_from_checkpoint(
            checkpoint_path, *args, **{"weights_only": True, **options}
        )

    @property
    def replicas(self) -> int:
        return len(self.hparams["seeds"])

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) -> (R, n, 1). Every replica sees the same x (n, d) -> (R, n, 1), or (n, 1) of
        the only replica there is."""
        if x.ndim == 3:
            return self.mlp(x)
        outputs = self.mlp(self._for_all(x))
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
        """A training that goes on from a checkpoint has its own learning rate, not that of then."""
        for optimizer in self.trainer.optimizers:
            if not self.trainer.lr_scheduler_configs:
                optimizer.param_groups[0].update(self._optimizer()[1])

    def training_step(self, batch: Batch, index: int) -> None:
        """One optimiser step per leading index of a chunk; the loss is taken before each update."""
        (optimizer,) = self.trainer.optimizers
        x, y, weights, order = self._chunk(batch)
        if self.compile_steps:
            trace = CompiledSteps(self.mlp, self.loss, optimizer)(x, y, weights, order)
        else:
            steps = zip(x, y, [None] * len(x) if weights is None else weights, strict=True)
            trace = torch.stack([self._step(optimizer, *rows) for rows in steps])
        self.losses.append(trace)
        self._count(len(trace))
        self._log("train/loss", trace[-1], prog_bar=True)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._squares.append(self._squares_of(batch))

    def on_validation_epoch_end(self, name: str = "val/mse") -> None:
        self._log(name, _mean(self._squares))
        self._squares = []

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end("test/mse")

    def predict_step(self, batch: Batch | Tensor, index: int) -> Tensor:
        """x alone, or a batch whose x is taken: see :meth:`forward`."""
        return self(batch if isinstance(batch, Tensor) else _named(batch)["x"])

    def error_on(self, batches: Iterable[Batch]) -> Tensor:
        """Mean squared error on all rows of the batches: (R,)."""
        return _mean([self._squares_of(batch) for batch in batches])

    def _squares_of(self, batch: Batch) -> tuple[Tensor, int]:
        """Sum of squares (R,) of a batch, and its rows."""
        rows = (_named(batch)[name].to(self.device) for name in ("x", "y"))
        x, y = (self._for_all(values) for values in rows)
        return self.sum_of_squares(x, y), x.shape[1]

    def sum_of_squares(self, x: Tensor, y: Tensor) -> Tensor:
        """Of the errors on rows x (R, n, d), y (R, n, 1): (R,)."""
        pairs = zip(self._outputs(x), y.split(self._together), strict=True)
        return torch.cat([losses.loss("sse", outputs[-1], truth) for outputs, truth in pairs])

    def dead_units(self, x: Tensor) -> Tensor:
        """How many hidden units are zero on all rows x (R, n, d): (R,)."""
        counts = []
        for outputs in self._outputs(x):
            zero = [(hidden == 0).all(1).sum(1) for hidden in outputs[1:-1]]
            counts.append(sum(zero, torch.zeros(len(outputs[0]), device=x.device)))
        return torch.cat(counts)

    @property
    def _together(self) -> int:
        """Replicas that are evaluated at once: on the processor one, whose layers' outputs stay in
        the cache."""
        return 1 if self.device.type == "cpu" else self.replicas

    @torch.no_grad()
    def _outputs(self, x: Tensor) -> Iterator[list[Tensor]]:
        """See :func:`mlpfit.model.mlp.outputs`; of some replicas after others."""
        for first in range(0, self.replicas, self._together):
            some = slice(first, first + self._together)
            layers = [(weight[some], bias[some]) for weight, bias in self.mlp.layers]
            yield mlp.outputs(layers, x[some], self.mlp.activation)

    def _for_all(self, rows: Tensor) -> Tensor:
        """(n, d) or (R, n, d) -> (R, n, d)."""
        return rows if rows.ndim == 3 else rows.expand(self.replicas, *rows.shape)

    def _chunk(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any] | None]:
        """x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None, of no more steps than the
        Trainer wants; and, where compiled steps see slices of these rows, which."""
        rows = _named(batch) if self.compile_steps else batches(_named(batch))
        x, y, weights = rows["x"], rows["y"], rows.get("weights")
        if x.ndim < 4:
            x, y = self._for_all(x)[None], self._for_all(y)[None]
            weights = None if weights is None else weights.expand(1, *x.shape[1:3])
        steps = rows.get("steps", len(x))
        if (most := self.trainer.max_steps) >= 0:
            steps = min(steps, most - self.trainer.global_step)
        if len(x) == 1:
            x, y = x.expand(steps, *x.shape[1:]), y.expand(steps, *y.shape[1:])
            return x, y, weights, rows if "starts" in rows else None
        return x[:steps], y[:steps], None if weights is None else weights[:steps], None

    def _count(self, steps: int) -> None:
        """Advance the Trainer's global_step, as LightningOptimizer.step would one by one; its
        hooks, called for every callback in every step, would take a fifth of the time. The loggers'
        step goes along; Lightning itself adds one to it after each batch."""
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
        # Not through manual_backward: on one device, in full precision, all it adds is a fifth of
        # the step's time.
        self.backward(loss, outputs, error)
        optimizer.step()
        return loss

    def backward(self, loss: Tensor, outputs: list[Tensor], error: Tensor) -> None:
        """Lightning's hook for the backward pass: from error = d loss / d prediction (R, n, 1) to
        the gradients."""
        if self.gradient == "autograd":
            outputs[-1].backward(error)
        else:
            with torch.no_grad():
                self.mlp.backward_by_hand(outputs, error)

    def _log(self, name: str, values: Tensor, prog_bar: bool = False) -> None:
        """Log the median of values (R,), and each where asked for."""
        metrics = {name: _median(values)}
        if self.hparams["log_replicas"]:
            by_seed = zip(self.hparams["seeds"], values, strict=True)
            metrics |= {f"{name}/seed_{seed}": value for seed, value in by_seed}
        logger = None if self.to_loggers else False  # None: those there are
        for key, value in metrics.items():
            self.log(key, value, prog_bar=prog_bar and key == name, logger=logger, batch_size=1)

    def solve(self, x: Tensor, y: Tensor) -> None:
        """Set each linear unit to the least-squares solution with intercept on its rows: x (R, n,
        d), y (R, n, 1)."""
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


def _named(batch: Batch) -> dict[str, Any]:
    """(x, y) as {"x", "y"}; a dict as it is."""
    return batch if isinstance(batch, dict) else dict(zip(("x", "y"), batch, strict=True))


def _mean(squares: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Sums (R,) over so many rows each, per row."""
    sums, rows = zip(*squares, strict=True)
    return torch.stack(sums).sum(0) / sum(rows)


def _median(values: Tensor) -> Tensor:
    """The median of (R,), what is not finite above all others."""
    return values.nan_to_num(torch.inf, torch.inf, torch.inf).median()
