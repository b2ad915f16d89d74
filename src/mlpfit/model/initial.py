"""The initial parameters of one replica, from its own generator."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mlpfit.errors import ConfigError, allowed, as_config_error
from mlpfit.model import named

Init = str | Mapping[str, Any]
# Ways to draw a whole layer, by one name; the value says what it is of weights and of biases.
SETS: dict[str, Any] = {
    "torch": {"weight": "torch", "bias": "torch"},
    "normal": None,  # numpy draws (in, out); torch's normal for weights draws (out, in)
    "ones": {"weight": "ones", "bias": "ones"},
    "keras": {"weight": "xavier_uniform", "bias": "zeros"},
}


def initial_parameters(units: Sequence[int], init: Init, rng: Any) -> list[np.ndarray]:
    """The initial parameters of one replica: [weight (in, out), bias (1, out), next layer's ...].

    ``torch``   as ``torch.nn.Linear``: weight and bias uniform on +-1/sqrt(fan_in)
    ``normal``  weights N(0, 1), biases 0 (as on the from-scratch pages)
    ``ones``    all parameters 1
    ``keras``   as ``keras.layers.Dense``: weights uniform on +-sqrt(6 / (fan_in + out)) (Glorot and
                Bengio 2010), biases 0
    mapping     weight and bias apart, each ``torch`` or a function of ``torch.nn.init`` by its name
                without the last underscore, or an import path, with arguments: {"weight":
                "kaiming_normal", "bias": {"name": "constant", "val": 0.1}}; one left out is
                ``torch``
    """
    parameters: list[np.ndarray] = []
    parts = SETS[init] if isinstance(init, str) else {**SETS["torch"], **init}
    for fan_in, out in pairwise(units):
        if parts is None:
            parameters += [rng.normal(0.0, 1.0, (fan_in, out)), np.zeros((1, out))]
            continue
        weight = _drawn("weight", parts["weight"], (out, fan_in), fan_in, rng)
        bias = _drawn("bias", parts["bias"], (1, out), fan_in, rng)
        parameters += [weight.T, bias]  # torch stores (out, in)
    return parameters


def _drawn(part: str, given: Any, shape: tuple[int, int], fan_in: int, rng: Any) -> np.ndarray:
    if given == "torch":
        # torch writes the weight's bound as sqrt(3) gain / sqrt(fan_in), gain = sqrt(2 / 6).
        bound = math.sqrt(3.0) * (math.sqrt(2.0 / 6.0) / math.sqrt(fan_in))
        bound = bound if part == "weight" else 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, shape)
    if given in ("ones", "zeros"):
        return np.full(shape, float(given == "ones"))
    if given == "xavier_uniform" and part == "weight":
        bound = math.sqrt(3.0) * math.sqrt(2.0 / (fan_in + shape[0]))  # as torch writes it
        return rng.uniform(-bound, bound, shape)
    from mlpfit.model.drawing import drawn  # here, since it imports torch

    key = f"model.init.{part}"
    name, _ = named.split(key, given)
    with as_config_error(f"{key}={name}"):
        return drawn(_function(key, given), shape if part == "weight" else shape[1:], rng).reshape(
            shape
        )


def _function(key: str, given: Any) -> Callable[[Any], Any]:
    """The function that fills a tensor."""
    from torch.nn import init

    name, arguments = named.split(key, given)
    if named.is_path(name):
        return named.made(key, name, arguments)
    names = [n[:-1] for n in vars(init) if n[-1] == "_" and n[0] != "_"]
    if name not in names:
        raise ConfigError(f"{key}={name}: {allowed(name, ['torch', *names])}")
    function = getattr(init, f"{name}_")
    named.check_arguments(key, name, arguments, function, "tensor", "generator")
    return lambda tensor: function(tensor, **arguments)


def checked(given: Init) -> Init:
    """The initialisation by its shortest name. Raises ConfigError for one that there is not, or
    that fails for a layer of two inputs and three units."""
    key = "model.init"
    if not isinstance(given, str):
        if not isinstance(given, Mapping):
            raise ConfigError(f"{key}={given}: must be a name, or {{weight: ..., bias: ...}}")
        if unknown := [part for part in given if part not in ("weight", "bias")]:
            raise ConfigError(f"{key}.{unknown[0]}: {allowed(unknown[0], ['weight', 'bias'])}")
        parts = {
            part: named.joined(*named.split(f"{key}.{part}", given.get(part, "torch")))
            for part in ("weight", "bias")
        }
        given = next((name for name, of in SETS.items() if of == parts), parts)
    elif given not in SETS:
        hint = "; of weights and biases apart: model.init={weight: xavier_uniform, bias: zeros}"
        raise ConfigError(f"{key}={given}: {allowed(given, SETS)}{hint}")
    initial_parameters((2, 3), given, np.random.default_rng(0))
    return given
