"""R multilayer perceptrons computed together, and their gradients written out by hand.

The replica axis of every parameter is first: weights (R, in, out), biases (R, 1, out), so a layer
is one ``baddbmm`` without a transpose. With R = 1 the numbers are bit for bit those of
``torch.nn.Linear``.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mlpfit.errors import ConfigError, as_config_error, check_name
from mlpfit.model import named
from mlpfit.model.dropout import Masks
from mlpfit.model.initial import initial_parameters as initial_parameters
from mlpfit.uncompiled import uncompiled

Activation = named.Named  # a name in ACTIVATIONS, perhaps with arguments, or an import path
Gradient = Literal["autograd", "by_hand"]
Layer = tuple[Tensor, Tensor]  # weight (R, in, out), bias (R, 1, out)


_FUNCTIONS = {name.replace("_", ""): name for name in dir(nn.functional) if name[-1] != "_"}
# The activations of torch.nn, by their names in torch.nn.functional: relu, leaky_relu, ...
ACTIVATIONS: dict[str, type[nn.Module]] = {"identity": nn.Identity} | {
    _FUNCTIONS.get(name.lower(), name.lower()): getattr(nn, name)
    for name in nn.modules.activation.__all__
}


def checked_activation(given: Activation, key: str = "model.activation") -> Activation:
    """The activation by its name in ACTIVATIONS. Raises ConfigError for one that there is not,
    arguments that it does not take, and one that is not a function of each number by itself."""
    name, arguments = named.split(key, given)
    if not named.is_path(name):
        by_letters = {known.replace("_", ""): known for known in ACTIVATIONS}
        name = by_letters.get(name.lower().replace("_", ""), name)
        check_name(key, name, ACTIVATIONS)
        kind = ACTIVATIONS[name]
        names = ("args", "kwargs") if kind is nn.Identity else ("inplace",)
        named.check_arguments(key, name, arguments, kind.__init__, *names)
    given = named.joined(name, arguments)
    g, x = activation_of(given), torch.linspace(-3, 3, 12).view(2, 3, 2)
    if isinstance(g, nn.Module) and any(True for _ in g.parameters()):
        raise ConfigError(f"{key}={name}: has parameters; write it as a part of model.net")
    with as_config_error(f"{key}={name}"), torch.no_grad():
        values = g(x)
        same = values.shape == x.shape and all(
            torch.allclose(g(number.view(1, 1, 1)).flatten(), value, rtol=1e-5, atol=1e-6)
            for number, value in zip(x.flatten(), values.flatten(), strict=True)
        )
    if not same:
        raise ConfigError(f"{key}={name}: must map each number by itself, and draw none")
    return given


def activation_of(given: Activation) -> Callable[[Tensor], Tensor]:
    """The function of an activation, elementwise."""
    return _activation(given if isinstance(given, str) else json.dumps(dict(given)))


@cache
def _activation(text: str) -> Callable[[Tensor], Tensor]:
    name, arguments = named.split("model.activation", json.loads(text) if text[0] == "{" else text)
    if named.is_path(name):
        return named.made("model.activation", name, arguments)
    with as_config_error(f"model.activation {name}"):
        return ACTIVATIONS[name](**arguments)


# d g(z) / dz as a function of h = g(z). The derivative of ReLU at 0 is 0, as in autograd.
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda h: h > 0,
    "tanh": lambda h: 1 - h * h,
    "sigmoid": lambda h: h * (1 - h),
    "identity": lambda h: torch.ones((), dtype=h.dtype, device=h.device),
}


def outputs(
    layers: Sequence[Layer],
    x: Tensor,
    activation: Activation | Callable[[Tensor], Tensor],
    dropped: Callable[[Tensor], Tensor] = lambda h: h,
    output: Activation | Callable[[Tensor], Tensor] = "identity",
) -> list[Tensor]:
    """Forward pass: [x, hidden (R, n, h) ..., prediction (R, n, o)] for x (R, n, d); dropped: what
    is left of the output of a hidden layer; output: the activation of the last one."""
    g = activation if callable(activation) else activation_of(activation)
    last = output if callable(output) else activation_of(output)
    values = [x]
    for weight, bias in layers:
        z = torch.baddbmm(bias, values[-1], weight)
        values.append(dropped(g(z)) if len(values) < len(layers) else last(z))
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


def by_hand_problem(
    activation: Activation, output: Activation, dropout: float, net: Any
) -> str | None:
    """What of a model :func:`gradients` is not written for, or None."""
    if net is not None:
        return "model.net: needs gradient=autograd; by_hand is written for fully connected layers"
    if dropout:
        return f"dropout={dropout}: needs gradient=autograd; by_hand is not written for dropout"
    if output != "identity":
        return f"output={output}: gradient=by_hand is written for linear outputs"
    if activation not in list(SLOPES):
        known = ", ".join(SLOPES)
        return f"activation={activation}: gradient=by_hand is written for {known}"
    return None


@uncompiled  # torch.compile does not trace it
def _by_hand(layers: Sequence[Layer], x: Tensor, activation: str) -> Tensor:
    return ByHand.apply(activation, x, *chain.from_iterable(layers))


def _layers(parameters: Sequence[Tensor]) -> list[Layer]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))


class MLP(nn.Module):
    """Fully connected layers of widths units (d, hidden ..., o) with the activation after each
    hidden layer; (d, o) is one linear layer. gradient: autograd's, or :class:`ByHand`. masks: of
    dropout after each hidden layer, while the module is in training mode. output: the activation of
    the last layer."""

    def __init__(
        self,
        units: Sequence[int],
        activation: Activation,
        replicas: int,
        gradient: Gradient = "autograd",
        masks: Masks | None = None,
        output: Activation = "identity",
    ) -> None:
        super().__init__()
        self.activation, self.gradient, self.depth = activation, gradient, len(units) - 1
        self.masks, self.output = masks, output
        self._functions = activation_of(activation), activation_of(output)  # no part of the state
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
        """x (R, n, d) -> (R, n, o)."""
        if self.gradient == "by_hand":
            return _by_hand(self.layers, x, str(self.activation))
        g, last = self._functions
        if self.masks is not None and self.training:
            return outputs(self.layers, x, g, self.masks.pass_through(), last)[-1]
        return outputs(self.layers, x, g, output=last)[-1]

    def load(self, replicas: list[list[np.ndarray]]) -> None:
        """Set the parameters; replicas: one list of arrays each, as from
        :func:`initial_parameters`."""
        by_parameter = zip(*replicas, strict=True)
        with torch.no_grad():
            for parameter, values in zip(self.parameters(), by_parameter, strict=True):
                parameter.copy_(torch.from_numpy(np.stack(values)))

    def arrays(self) -> dict[str, Tensor]:
        """What is kept of the net in a snapshot, by name, the replica axis first."""
        return dict(self.named_parameters())
