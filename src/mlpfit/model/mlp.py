"""R multilayer perceptrons computed together, and their gradients written out by hand.

The replica axis of every parameter is first: weights (R, in, out), biases (R, 1, out), so a layer
is one ``baddbmm`` without a transpose. With R = 1 the numbers are bit for bit those of
``torch.nn.Linear``.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlpfit.model.initial import Init as Init
from mlpfit.model.initial import initial_parameters as initial_parameters

Activation = Literal["relu", "tanh", "identity"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "identity": lambda z: z,
}
Layer = tuple[Tensor, Tensor]  # weight (R, in, out), bias (R, 1, out)


def outputs(layers: Sequence[Layer], x: Tensor, activation: Activation) -> list[Tensor]:
    """Forward pass: [x, hidden (R, n, h) ..., prediction (R, n, 1)] for x (R, n, d)."""
    activations = [x]
    for weight, bias in layers:
        z = torch.baddbmm(bias, activations[-1], weight)
        is_hidden = len(activations) < len(layers)
        activations.append(ACTIVATIONS[activation](z) if is_hidden else z)
    return activations


def gradients(
    layers: Sequence[Layer], activations: list[Tensor], error: Tensor, activation: Activation
) -> list[Tensor]:
    """Backward pass by the chain rule: gradients of weight and bias of each layer, in the order of
    the parameters.

    activations as from :func:`outputs`; error = d loss / d prediction (R, n, 1). For z = h W + b
    and the next h = g(z): dL/dW = h^T dL/dz, dL/db = sum over rows of dL/dz, dL/dh = dL/dz W^T and
    dL/dz = dL/dh g'(z). The derivative of ReLU at 0 is 0, as in autograd; that of tanh is 1 - h^2.
    """
    by_parameter: list[Tensor] = []
    for layer in reversed(range(len(layers))):
        below = activations[layer]
        by_parameter[:0] = [below.transpose(1, 2) @ error, error.sum(1, keepdim=True)]
        if layer > 0:
            error = error @ layers[layer][0].transpose(1, 2)
            if activation == "relu":
                error = error * (below > 0)
            elif activation == "tanh":
                error = error * (1 - below * below)
    return by_parameter


class MLP(nn.Module):
    """Fully connected layers of widths units (d, hidden ..., 1) with the activation after each
    hidden layer; (d, 1) is one linear unit."""

    def __init__(self, units: Sequence[int], activation: Activation, replicas: int) -> None:
        super().__init__()
        self.activation = activation
        self.layers: list[Layer] = []  # the registered parameters, faster to access
        for i, (fan_in, out) in enumerate(pairwise(units)):
            weight = nn.Parameter(torch.zeros(replicas, fan_in, out))
            bias = nn.Parameter(torch.zeros(replicas, 1, out))
            self.register_parameter(f"weight_{i}", weight)
            self.register_parameter(f"bias_{i}", bias)
            self.layers.append((weight, bias))

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) -> (R, n, 1)."""
        return self.outputs(x)[-1]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """See :func:`outputs`."""
        return outputs(self.layers, x, self.activation)

    def backward_by_hand(self, activations: list[Tensor], error: Tensor) -> None:
        """Fill every parameter's ``grad`` by :func:`gradients`."""
        by_parameter = gradients(self.layers, activations, error, self.activation)
        for parameter, gradient in zip(self.parameters(), by_parameter, strict=True):
            parameter.grad = gradient

    def load(self, replicas: list[list[np.ndarray]]) -> None:
        """Set the parameters; replicas: one list of arrays each, as from
        :func:`initial_parameters`."""
        by_parameter = zip(*replicas, strict=True)
        with torch.no_grad():
            for parameter, values in zip(self.parameters(), by_parameter, strict=True):
                parameter.copy_(torch.from_numpy(np.stack(values)))
