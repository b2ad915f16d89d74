"""Nets that are torch modules of the user's: one module a replica."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlpfit.errors import ConfigError, as_config_error
from mlpfit.model import named

KEY = "model.net"
PREFIX = "net."  # of the names of its arrays in a run's files


def net_of(given: named.Named) -> nn.Module:
    """A new net, with the initial parameters that it gives itself. Raises ConfigError for what is
    no torch module."""
    net = named.made(KEY, *named.split(KEY, given))
    if not isinstance(net, nn.Module):
        raise ConfigError(f"{KEY}={named.split(KEY, given)[0]}: makes no torch.nn.Module")
    return net


class Nets(nn.Module):
    """R nets. The initial parameters of a replica are those of a script that calls
    ``torch.manual_seed(seed)`` and then makes the net; what its forward pass draws, as dropout
    does, is a function of its seed and of ``batch``, the number of the batch. So each is the net
    alone."""

    activation = "net"  # is none that other arithmetic than the module's own may compute

    def __init__(self, given: named.Named, seeds: Sequence[int], units: Sequence[int]) -> None:
        super().__init__()
        self.given, self.seeds, self.batch = given, list(seeds), 0
        nets = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                nets.append(net_of(given))
        self.nets = nn.ModuleList(nets)
        self._check_outputs(units[0], units[-1])

    def _check_outputs(self, inputs: int, outputs: int) -> None:
        training, net = self.training, self.nets[0]
        name = named.split(KEY, self.given)[0]
        net.eval()
        with as_config_error(f"{KEY}={name}"), torch.no_grad():
            dtype = next((p.dtype for p in net.parameters()), torch.float32)
            result = net(torch.zeros(3, inputs, dtype=dtype))
        net.train(training)
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        if shape != (3, outputs):
            raise ConfigError(
                f"{KEY}={name}: gives {shape} for x (3, {inputs}), not (3, {outputs})"
            )

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) -> (R, n, o)."""
        if not self.training:
            return torch.stack([net(rows) for net, rows in zip(self.nets, x, strict=True)])
        values = []
        with torch.random.fork_rng(devices=[]):
            for seed, net, rows in zip(self.seeds, self.nets, x, strict=True):
                torch.default_generator.manual_seed((seed << 32) + self.batch)
                values.append(net(rows))
        return torch.stack(values)

    def arrays(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, the replica axis first."""
        states = [net.state_dict() for net in self.nets]
        return {PREFIX + name: torch.stack([s[name] for s in states]) for name in states[0]}


@torch.no_grad()
def predictions(given: named.Named, arrays: Mapping[str, Any], x: Any) -> Any:
    """Outputs (R, n, o) of nets whose arrays, named without the prefix, have the replica axis
    first, for x (R, n, d)."""
    values = []
    for k, rows in enumerate(x):
        net = net_of(given)
        net.load_state_dict({name: torch.tensor(array[k]) for name, array in arrays.items()})
        dtype = next((p.dtype for p in net.parameters()), torch.float32)
        values.append(net.to(dtype).eval()(torch.tensor(rows).to(dtype)))
    return torch.stack(values).numpy()
