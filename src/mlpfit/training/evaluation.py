"""Errors of a module's replicas on the rows of a ReplicaData, by the engine's arithmetic where it
has the activation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlpfit.config.combinations import loss_name
from mlpfit.data.datamodule import ReplicaData
from mlpfit.engine import compiler, evaluation, metrics
from mlpfit.model import mlp
from mlpfit.model.nets import Nets


class Evaluation:
    """Mean squared errors over rows and outputs; of a net whose outputs are logits, those of the
    probabilities of the classes (:mod:`mlpfit.engine.metrics`). cache: folder of compiled
    kernels."""

    def __init__(self, data: ReplicaData, cache: Path) -> None:
        self.data, self.cache = data, cache
        try:
            evaluation.compiled(data.x.dtype == torch.float64, cache)
            self.compiled = True
        except compiler.NoCompiler:  # numpy computes the same, more slowly
            self.compiled = False

    def training(self, module: Any) -> np.ndarray:
        """Mean squared error on the training rows: (R,) float64."""
        return self._mean_errors(module, self.data.x, self.data.y)[0]

    def validation(self, module: Any) -> np.ndarray:
        """Mean squared error on the rows of validation: (R,) float64; NaN if there are none."""
        for batch in self.data.val_dataloader():
            return self._mean_errors(module, batch["x"], batch["y"])[0]
        return np.full(len(self.data.x), np.nan)

    def truth(self, module: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean squared distance to the noise-free function, and the number of hidden units that are
        zero, on all rows generated: (R,) each."""
        x, truth = (
            torch.from_numpy(self.data.arrays[name]).to(self.data.dtype)
            for name in ("pool_x", "pool_truth")
        )
        return self._mean_errors(module, x, truth)

    def _mean_errors(self, module: Any, x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Mean squared error, and the number of hidden units that are zero on all rows."""
        if isinstance(module.mlp, Nets):
            outputs, truth = outputs_of_nets(module.mlp, x), y.numpy()
            mean = metrics.metric("mse", loss_name(module.loss), outputs, truth, True)
            return mean, np.zeros(len(x), int)
        loss = loss_name(module.loss)
        if loss in metrics.OF_LOGITS or module.mlp.output != "identity":
            return self._by_replica(module, loss, x, y)
        errors = self._errors(module, x, y)
        return errors.squares / (y.shape[1] * y.shape[2]), errors.dead_units

    def _by_replica(
        self, module: Any, loss: str, x: Tensor, y: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """One replica after another, whose outputs then stay in the cache."""
        mean, dead = [], []
        for r, rows in enumerate(zip(x, y, strict=True)):
            own, truth = (values[None] for values in rows)
            layers = [(weight[r : r + 1], bias[r : r + 1]) for weight, bias in module.mlp.layers]
            *hidden, outputs = outputs_of(layers, own, module.mlp.activation, module.mlp.output)
            mean.append(metrics.metric("mse", loss, outputs, truth.numpy(), True)[0])
            dead.append(sum(int((values == 0).all(1).sum()) for values in hidden))
        return np.array(mean), np.array(dead)

    def _errors(self, module: Any, x: Tensor, y: Tensor) -> evaluation.Errors:
        layers = [
            (weight.detach().cpu().to(x.dtype), bias.detach().cpu().to(x.dtype))
            for weight, bias in module.mlp.layers
        ]
        activation = module.mlp.activation
        if evaluation.known_activation(activation) is None:
            return _by_torch(layers, x, y, activation)
        arrays = [(weight.numpy(), bias.numpy()) for weight, bias in layers]
        cache = self.cache if self.compiled else None
        return evaluation.errors(arrays, x.numpy(), y.numpy(), activation, cache)


@torch.no_grad()
def outputs_of_nets(nets: Nets, x: Tensor) -> np.ndarray:
    """Outputs (R, n, o) of nets of the user's own on x (R, n, d), without what training drops."""
    training = nets.training
    outputs = nets.eval()(x)
    nets.train(training)
    return outputs.cpu().numpy()


@torch.no_grad()
def outputs_of(layers: Any, x: Tensor, activation: Any, output: Any) -> list[np.ndarray]:
    """Outputs of the layers (R, n, h) on x (R, n, d), by the portable arithmetic where it has the
    activations; output: that of the last layer."""
    own = [(w.detach().cpu().to(x.dtype), b.detach().cpu().to(x.dtype)) for w, b in layers]
    if any(evaluation.known_activation(given) is None for given in (activation, output)):
        values = mlp.outputs(own, x, activation, output=output)[1:]
        return [value.numpy() for value in values]
    arrays = [(w.numpy(), b.numpy()) for w, b in own]
    return evaluation.outputs(arrays, x.numpy(), activation, output)[1:]


@torch.no_grad()
def _by_torch(layers: list[mlp.Layer], x: Tensor, y: Tensor, activation: Any) -> evaluation.Errors:
    """One replica after another, whose outputs then stay in the cache."""
    squares, dead = [], []
    for r in range(len(layers[0][0])):
        own = [(weight[r : r + 1], bias[r : r + 1]) for weight, bias in layers]
        *hidden, prediction = mlp.outputs(own, x[r : r + 1], activation)
        squares.append(float((prediction - y[r : r + 1]).double().square().sum()))
        dead.append(sum(int((values == 0).all(1).sum()) for values in hidden[1:]))
    return evaluation.Errors(np.array(squares), np.array(dead))
