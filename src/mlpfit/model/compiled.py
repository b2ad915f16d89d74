"""The whole optimiser step of R replicas (forward, backward, update) as one compiled graph.

Eager, a step of these small nets is all overhead: some thirty calls of a few microseconds each, and
hardly longer for 64 replicas than for one. One graph has one call. The arithmetic is that of mlp.py
and torch.optim, tested against them. The graph is traced by ``make_fx`` and handed to Inductor
directly: shapes are fixed, so the guards of ``torch.compile`` would only cost time, a third of a
step at 256 replicas and three quarters for one.

Three choices decide the speed (``make bench`` measures them):

products       a layer with one input or one output is a broadcast multiplication, fused with its
               neighbours; a matrix product would be a call of its own
memory format  nets whose layers have at most ``layout.NARROW`` units keep the replica axis last in
               memory, so that vector instructions run over replicas; wider ones keep it first
group          replicas that step together: as many as ``layout.CACHE`` holds
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch._inductor.config
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from torch.fx.experimental.proxy_tensor import make_fx

from mlpfit.model import layout, losses, mlp

_GRAPHS: dict[str, Callable[..., list[Tensor]]] = {}


def cache_in(folder: Path) -> None:
    """Keep compiled graphs in this folder, unless TORCHINDUCTOR_CACHE_DIR names another. Torch sets
    it when it is imported, to a place under /tmp; what lies in the cache is executed."""
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.resolve())


class FusedProducts(mlp.Products):
    """Products with one input or one output written as broadcasts."""

    @staticmethod
    def linear(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if weight.shape[1] == 1:
            return h * weight + bias
        if weight.shape[2] == 1:
            return (h * weight.transpose(1, 2)).sum(2, keepdim=True) + bias
        if layout.narrow(weight.shape[1:]):
            return (h[..., None] * weight[:, None]).sum(2) + bias
        return torch.baddbmm(bias, h, weight)

    @staticmethod
    def weight_gradient(h: Tensor, error: Tensor) -> Tensor:
        if h.shape[2] == 1:
            return (h * error).sum(1, keepdim=True)
        if error.shape[2] == 1:
            return (h * error).sum(1)[..., None]
        return h.transpose(1, 2) @ error

    @staticmethod
    def back(error: Tensor, weight: Tensor) -> Tensor:
        if weight.shape[2] == 1:
            return error * weight.transpose(1, 2)
        return error @ weight.transpose(1, 2)


def compiler() -> str | None:
    """The C++ compiler that torch would call, or None if there is none."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


class CompiledSteps:
    """Runs optimiser steps of a net's parameters and of its optimiser's state, both in torch's own
    form before and after, so that checkpoints and resume know nothing of it."""

    def __init__(
        self, net: mlp.MLP, loss: losses.Kind, gradient: str, optimizer: torch.optim.Optimizer
    ) -> None:
        self.net, self.loss, self.gradient, self.optimizer = net, loss, gradient, optimizer
        self.parameters = list(net.parameters())
        self.options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        self.adam = isinstance(optimizer, torch.optim.Adam)
        if self.adam:
            self.buffers = ["exp_avg", "exp_avg_sq"]
        else:
            self.buffers = ["momentum_buffer"] if self.options["momentum"] else []
        self.last = layout.narrow([width for p in self.parameters for width in p.shape[1:]])

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        """x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None -> losses before each of K
        updates (K, R).

        The replicas take their K steps group by group, each group small enough to stay in cache.
        """
        replicas, widths = x.shape[1], [p.shape[2] for p in self.parameters[::2]]
        size = layout.group_size(replicas, x.shape[2], widths, x.element_size())
        groups = [slice(first, first + size) for first in range(0, replicas, size)]
        done = self._steps_done()
        factors = self._factors(done, len(x)).unbind()
        self._fill_buffers()
        trace = [
            self._run(g, factors, x[:, g], y[:, g], None if weights is None else weights[:, g])
            for g in groups
        ]
        if self.adam:
            for parameter in self.parameters:
                self.optimizer.state[parameter]["step"] = torch.tensor(float(done + len(x)))
        return torch.cat(trace, dim=1)

    def _run(
        self, group: slice, factors: Sequence[Tensor], x: Tensor, y: Tensor, weights: Tensor | None
    ) -> Tensor:
        """K steps of one group of replicas: losses (K, group)."""
        kept = [
            *self.parameters,
            *(self.optimizer.state[p][name] for name in self.buffers for p in self.parameters),
        ]
        state = [self._format(values.detach()[group]) for values in kept]
        # The rows of full batches are the same in every step (stride 0): formatted once.
        rows = [[self._format(v[k]) for k in range(len(v) if v.stride(0) else 1)] for v in (x, y)]
        trace = []
        step: Callable[..., list[Tensor]] | None = None
        for k in range(len(x)):
            given = [row[k if len(row) > 1 else 0] for row in rows]
            given += [] if weights is None else [self._format(weights[k])]
            step = step or self._graph([*state, factors[k], *given])
            *state, loss = step(*state, factors[k], *given)
            trace.append(loss)
        size = x.shape[1]
        for values, new in zip(kept, state, strict=True):
            values[group] = new[:size]
        return torch.stack(trace)[:, :size]

    def _graph(self, example: list[Tensor]) -> Callable[..., list[Tensor]]:
        """The compiled :meth:`_step` for tensors of these shapes, made once a process."""
        written = (self.options["betas"], self.options["eps"]) if self.adam else bool(self.buffers)
        key = repr((self.net.activation, self.loss, self.gradient, self.adam, written)) + repr(
            [(v.shape, v.stride(), v.dtype, v.device) for v in example]
        )
        if key not in _GRAPHS:
            # One thread each: the tensors of a block are small, and blocks run in parallel
            # processes.
            with torch._inductor.config.patch({"cpp.threads": 1, "compile_threads": 1}):
                _GRAPHS[key] = torch._inductor.compile(make_fx(self._step)(*example), list(example))
        return _GRAPHS[key]

    def _step(self, *tensors: Tensor) -> list[Tensor]:
        """The graph, one optimiser step: parameters, buffers, factors (_factors), x, y and perhaps
        row weights -> parameters, buffers, loss (R,)."""
        count = len(self.parameters)
        parameters, state = (
            list(tensors[:count]),
            list(tensors[count : count * (1 + len(self.buffers))]),
        )
        factors, x, y, *rest = tensors[count * (1 + len(self.buffers)) :]
        weights = rest[0] if rest else None
        if self.gradient == "by_hand":
            made = self._outputs(parameters, x)
            prediction = made[-1]
            error = losses.derivative(self.loss, prediction, y, weights)
            slopes = mlp.gradients(
                _layers(parameters), made, error, self.net.activation, FusedProducts
            )
        else:
            prediction, pull = torch.func.vjp(lambda p: self._outputs(p, x)[-1], parameters)  # type: ignore[misc]
            (slopes,) = pull(losses.derivative(self.loss, prediction, y, weights))
        loss = losses.loss(self.loss, prediction, y, weights)
        update = self._adam if self.adam else self._sgd
        return [*update(parameters, state, slopes, factors), loss]

    def _outputs(self, parameters: list[Tensor], x: Tensor) -> list[Tensor]:
        return mlp.outputs(_layers(parameters), x, self.net.activation, FusedProducts)

    def _sgd(
        self, parameters: list[Tensor], state: list[Tensor], slopes: list[Tensor], f: Tensor
    ) -> list[Tensor]:
        """buffer = momentum buffer + slope; w = w - lr buffer (torch.optim.SGD); f = (lr,
        momentum)."""
        if state:
            state = slopes = [
                f[1] * buffer + slope for buffer, slope in zip(state, slopes, strict=True)
            ]
        return [p - f[0] * slope for p, slope in zip(parameters, slopes, strict=True)] + state

    def _adam(
        self, parameters: list[Tensor], state: list[Tensor], slopes: list[Tensor], f: Tensor
    ) -> list[Tensor]:
        """Kingma and Ba (2015), algorithm 1, as torch.optim.Adam writes it; f = (lr / (1 - b1^t),
        sqrt(1 - b2^t))."""
        b1, b2 = self.options["betas"]
        eps, count = self.options["eps"], len(parameters)
        m = [b1 * m + (1 - b1) * slope for m, slope in zip(state[:count], slopes, strict=True)]
        v = [
            b2 * v + (1 - b2) * slope * slope
            for v, slope in zip(state[count:], slopes, strict=True)
        ]
        updated = [
            p - f[0] * m / (v.sqrt() / f[1] + eps) for p, m, v in zip(parameters, m, v, strict=True)
        ]
        return updated + m + v

    def _factors(self, done: int, steps: int) -> Tensor:
        """What the graph is given for each of the next steps (steps, 2), so that runs which differ
        in the learning rate share a graph. Adam's from float64: in float32 1 - b2^t loses half its
        digits."""
        like = self.parameters[0]
        if not self.adam:
            given = torch.tensor(
                [self.options["lr"], self.options["momentum"]], dtype=torch.float64
            )
            return given.to(like).expand(steps, 2)
        t = torch.arange(done + 1, done + steps + 1, dtype=torch.float64)
        b1, b2 = self.options["betas"]
        return torch.stack([self.options["lr"] / (1 - b1**t), (1 - b2**t).sqrt()], dim=1).to(like)

    def _format(self, values: Tensor) -> Tensor:
        """The same (R, ...) tensor with the replica axis first in memory, or last and whole vectors
        long."""
        if not self.last:
            return values.contiguous()
        # Filled up to whole vectors by repeating the last replica: lanes left over would run one by
        # one, at half speed.
        filled = torch.cat(
            [values, values[-1:].expand(-len(values) % layout.LANES, *values.shape[1:])]
        )
        return filled.movedim(0, -1).contiguous().movedim(-1, 0)

    def _steps_done(self) -> int:
        return int(self.optimizer.state[self.parameters[0]].get("step", 0))

    def _fill_buffers(self) -> None:
        """The optimiser's buffers are zero before the first step, as torch.optim makes them."""
        for parameter in self.parameters:
            for name in self.buffers:
                self.optimizer.state[parameter].setdefault(name, torch.zeros_like(parameter))


def _layers(parameters: Sequence[Tensor]) -> list[mlp.Layer]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))
