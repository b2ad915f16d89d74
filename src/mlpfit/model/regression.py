"""The LightningModule: R replicas of a multilayer perceptron, trained several optimiser steps at a
time."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from mlpfit.data import streams
from mlpfit.model import losses, mlp
from mlpfit.model.compiled import CompiledSteps


class Regression(pl.LightningModule):
    """Hyper-parameters are plain numbers, strings and lists:
    ``Regression.load_from_checkpoint(path)`` works as is.

    units      widths from input to output, e.g. [1, 32, 1]
    seeds      one per replica; each decides its replica's initial weights
    optimizer  {"name": "sgd", "lr": ..., "momentum": ...} or {"name": "adam", "lr", "beta1",
               "beta2", "eps"}
    gradient   "autograd", or "by_hand": the chain rule of :meth:`mlpfit.mlp.MLP.backward_by_hand`
    """

    def __init__(
        self,
        units: Sequence[int],
        optimizer: dict[str, Any],
        seeds: Sequence[int] = (0,),
        streams: streams.Kind = "spawned",
        init: mlp.Init = "torch",
        activation: mlp.Activation = "relu",
        gradient: str = "autograd",
        loss: losses.Kind = "mse",
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        # Lightning runs one optimiser step a training_step by itself; with nets this small that
        # costs ten times the step. Driving the optimiser ourselves, many steps at a time, costs
        # nothing; global_step is kept by _count.
        self.automatic_optimization = False
        self.loss, self.gradient = loss, gradient
        self.mlp = mlp.MLP(units, activation, len(seeds)).to(getattr(torch, dtype))
        self.mlp.load([mlp.initial(units, init, _weights_stream(seed, streams)) for seed in seeds])
        self.losses: list[Tensor] = []  # one (steps, R) tensor a block
        self.compile_steps = False  # how to compute, not what: no hyper-parameter
        self._compiled: CompiledSteps | None = None

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> "Regression":
        """Lightning's, but a file from others never runs code, whatever the environment says."""
        return super().load_from_checkpoint(
            checkpoint_path, *args, **{"weights_only": True, **options}
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) -> (R, n, 1)."""
        return self.mlp(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = dict(self.hparams["optimizer"])
        name = options.pop("name")
        if name == "sgd":
            return torch.optim.SGD(self.parameters(), **options)
        return torch.optim.Adam(
            self.parameters(),
            lr=options["lr"],
            betas=(options["beta1"], options["beta2"]),
            eps=options["eps"],
        )

    def training_step(self, block: dict[str, Tensor], index: int) -> None:
        """One optimiser step per leading index of the block; the loss is taken before each
        update."""
        (optimizer,) = self.trainer.optimizers
        if self.compile_steps:
            self._compiled = self._compiled or CompiledSteps(self.mlp, self.loss, optimizer)
            trace = self._compiled(block["x"], block["y"], block["weights"])
        else:
            weights = block["weights"] if block["weights"] is not None else [None] * len(block["x"])
            rows = zip(block["x"].unbind(), block["y"].unbind(), weights, strict=True)
            trace = torch.stack([self._step(optimizer, x, y, w) for x, y, w in rows])
        self.losses.append(trace)
        self._count(len(trace))

    def _count(self, steps: int) -> None:
        """Advance the Trainer's global_step, as LightningOptimizer.step would one by one; its
        hooks, called for every callback in every step, would take a fifth of the time."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.total.ready += steps
        progress.total.completed += steps

    def _step(
        self, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, weights: Tensor | None
    ) -> Tensor:
        with torch.set_grad_enabled(self.gradient == "autograd"):
            outputs = self.mlp.outputs(x)
        with torch.no_grad():
            loss = losses.loss(self.loss, outputs[-1], y, weights)
            error = losses.derivative(self.loss, outputs[-1], y, weights)
        optimizer.zero_grad()
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

    def history(self) -> Tensor:
        """Loss of every step so far, before its update: (steps, R)."""
        return torch.cat(self.losses) if self.losses else torch.empty(0, len(self.hparams["seeds"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["losses"] = self.history()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = [checkpoint["losses"]]


def _weights_stream(seed: int, kind: streams.Kind) -> Any:
    return streams.streams(seed, kind).weights
