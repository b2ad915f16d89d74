"""R multilayer perceptrons computed together, and their gradients written out by hand.

The replica axis of every parameter is first: weights (R, in, out), biases (R, 1, out), so a layer
is one ``baddbmm`` without a transpose. With R = 1 the numbers are bit for bit those of
``torch.nn.Linear``.
"""

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mlpfit.model.initial import Init as Init
from mlpfit.model.initial import initial_parameters as initial_parameters
from mlpfit.uncompiled import uncompiled

Activation = str  # a name in ACTIVATIONS
Gradient = Literal["autograd", "by_hand"]
Layer = tuple[Tensor, Tensor]  # weight (R, in, out), bias (R, 1, out)


# Modules beside the activations of torch.nn that do not map each number by itself, have parameters,
# draw random numbers or need arguments.
OTHERS = "Softmax Softmin LogSoftmax Softmax2d GLU MultiheadAttention PReLU RReLU Threshold"


_FUNCTIONS = {name.replace("_", ""): name for name in dir(nn.functional) if name[-1] != "_"}
# The element-wise activations of torch.nn with their default arguments, by their names in
# torch.nn.functional: relu, tanh, leaky_relu, ..., and identity.
ACTIVATIONS: dict[str, nn.Module] = {"identity": nn.Identity()} | {
    _FUNCTIONS.get(name.lower(), name.lower()): getattr(nn, name)()
    for name in nn.modules.activation.__all__
    if name not in OTHERS.split()
}

# d g(z) / dz as a function of h = g(z). The derivative of ReLU at 0 is 0, as in autograd.
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda h: h > 0,
    "tanh": lambda h: 1 - h * h,
    "sigmoid": lambda h: h * (1 - h),
    "identity": lambda h: torch.ones((), dtype=h.dtype, device=h.device),
}


def outputs(layers: Sequence[Layer], x: Tensor, activation: str) -> list[Tensor]:
    """Forward pass: [x, hidden (R, n, h) ..., prediction (R, n, 1)] for x (R, n, d)."""
    g, values = ACTIVATIONS[activation], [x]
    for weight, bias in layers:
        z = torch.baddbmm(bias, values[-1], weight)
        values.append(g(z) if len(values) < len(layers) else z)
    return values


def gradients(
    layers: Sequence[Layer], values: Sequence[Tensor], error: Tensor, activation: str
) -> list[Tensor]:
    """Backward pass by the chain rule: gradients of x, and of weight and bias of each layer.

    values as from :func:`outputs`; error = d loss / d prediction (R, n, 1). For z = h W + b and the
    next h = g(z): dL/dW = h^T dL/dz, dL/db = sum over rows of dL/dz, dL/dh = dL/dz W^T and dL/dz =
    dL/dh g'(z), with g' of :data:`SLOPES`.
    """
    by_parameter: list[Tensor] = []
    for layer in reversed(range(len(layers))):
        below = values[layer]
        by_parameter[:0] = [below.transpose(1, 2) @ error, error.sum(1, keepdim=True)]
        error = error @ layers[layer][0].transpose(1, 2)
        if layer > 0:
            error = error * SLOPES[activation](below)
    return [error, *by_parameter]


class ByHand(torch.autograd.Function):
    """:func:`outputs` with :func:`gradients` as its backward pass."""

    @staticmethod
    def forward(ctx: Any, activation: str, x: Tensor, *parameters: Tensor) -> Tensor:
        values = outputs(_layers(parameters), x, activation)
        ctx.save_for_backward(*parameters, *values[:-1])
        ctx.activation, device = activation, x.device.type
        dtype = torch.get_autocast_dtype(device)
        ctx.autocast = (device, dtype, torch.is_autocast_enabled(device))
        return values[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 3  # weight, bias and input of each
        parameters, values = ctx.saved_tensors[: 2 * layers], ctx.saved_tensors[2 * layers :]
        with torch.autocast(*ctx.autocast):
            by_input = gradients(_layers(parameters), values, error, ctx.activation)
        inputs = zip(ctx.needs_input_grad[1:], by_input, (values[0], *parameters), strict=True)
        return None, *(g.to(v.dtype) if needed else None for needed, g, v in inputs)


@uncompiled  # torch.compile does not trace it
def _by_hand(layers: Sequence[Layer], x: Tensor, activation: str) -> Tensor:
    return ByHand.apply(activation, x, *chain.from_iterable(layers))


def _layers(parameters: Sequence[Tensor]) -> list[Layer]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))


class MLP(nn.Module):
    """Fully connected layers of widths units (d, hidden ..., 1) with the activation after each
    hidden layer; (d, 1) is one linear unit. gradient: autograd's, or :class:`ByHand`."""

    def __init__(
        self,
        units: Sequence[int],
        activation: str,
        replicas: int,
        gradient: Gradient = "autograd",
    ) -> None:
        super().__init__()
        self.activation, self.gradient, self.depth = activation, gradient, len(units) - 1
        for i, (fan_in, out) in enumerate(pairwise(units)):
            self.register_parameter(f"weight_{i}", nn.Parameter(torch.zeros(replicas, fan_in, out)))
            self.register_parameter(f"bias_{i}", nn.Parameter(torch.zeros(replicas, 1, out)))

    @property
    def layers(self) -> list[Layer]:
        """(weight, bias) of each layer, as they are now."""
        return [
            (getattr(self, f"weight_{i}"), getattr(self, f"bias_{i}")) for i in range(self.depth)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) -> (R, n, 1)."""
        if self.gradient == "by_hand":
            return _by_hand(self.layers, x, self.activation)
        return outputs(self.layers, x, self.activation)[-1]

    def load(self, replicas: list[list[np.ndarray]]) -> None:
        """Set the parameters; replicas: one list of arrays each, as from
        :func:`initial_parameters`."""
        by_parameter = zip(*replicas, strict=True)
        with torch.no_grad():
            for parameter, values in zip(self.parameters(), by_parameter, strict=True):
                parameter.copy_(torch.from_numpy(np.stack(values)))
