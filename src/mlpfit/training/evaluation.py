"""Errors of a module's replicas on the rows of a ReplicaData, by the engine's arithmetic where it
has the activation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlpfit.data.datamodule import ReplicaData
from mlpfit.engine import compiler, evaluation
from mlpfit.model import mlp


class Evaluation:
    """cache: folder of compiled kernels."""

    def __init__(self, data: ReplicaData, cache: Path) -> None:
        self.data, self.cache = data, cache
        real = "double" if data.x.dtype == torch.float64 else "float"
        try:
            compiler.load(compiler.source(real), cache)
            self.compiled = True
        except compiler.NoCompiler:  # numpy computes the same, more slowly
            self.compiled = False

    def training(self, module: Any) -> np.ndarray:
        """Mean squared error on the training rows: (R,) float64."""
        return self._errors(module, self.data.x, self.data.y).squares / self.data.x.shape[1]

    def validation(self, module: Any) -> np.ndarray:
        """Mean squared error on the fresh rows of validation: (R,) float64."""
        (batch,) = self.data.val_dataloader()
        return self._errors(module, batch["x"], batch["y"]).squares / batch["x"].shape[1]

    def truth(self, module: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean squared distance to the noise-free function, and the number of hidden units that are
        zero, on all rows generated: (R,) each."""
        x, truth = (
            torch.from_numpy(self.data.arrays[name]).to(self.data.dtype)
            for name in ("pool_x", "pool_truth")
        )
        errors = self._errors(module, x, truth)
        return errors.squares / x.shape[1], errors.dead_units

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
def _by_torch(layers: list[mlp.Layer], x: Tensor, y: Tensor, activation: str) -> evaluation.Errors:
    """One replica after another, whose outputs then stay in the cache."""
    squares, dead = [], []
    for r in range(len(layers[0][0])):
        own = [(weight[r : r + 1], bias[r : r + 1]) for weight, bias in layers]
        *hidden, prediction = mlp.outputs(own, x[r : r + 1], activation)
        squares.append(float((prediction - y[r : r + 1]).double().square().sum()))
        dead.append(sum(int((values == 0).all(1).sum()) for values in hidden[1:]))
    return evaluation.Errors(np.array(squares), np.array(dead))
