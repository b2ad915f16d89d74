"""Optimiser steps of R replicas (forward, backward, update) by compiled C++ kernels.

A step of these small nets in torch is all overhead: some thirty calls of a few microseconds each,
hardly more for 64 replicas than for one. A kernel takes many steps of many replicas in one call and
keeps the data of a replica in the cache of one core. Its arithmetic is that of ``model/mlp.py`` and
torch.optim but for the order of sums, which is written down, so that its results do not depend on
the processor, on the compiler, or on how many replicas are trained together.

``narrow.h`` puts one replica in each lane of the vectors, ``wide.h`` takes one replica at a time
with matrix products; which one depends on the size of the net only.
"""

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlpfit.data.order import Order
from mlpfit.engine import compiler
from mlpfit.engine.evaluation import ACTIVATIONS

NARROW_PARAMETERS = 768  # at most: with one replica in each lane they fit the L2 cache
CALL_REPLICAS = 16  # in one call of a kernel: they fill its vectors; signals are handled in between
LOSSES = {  # (scale, slope, mean): scale * sum of e^2, with derivative slope * e, both over the
    "mse": (1.0, 2.0, True),  # number of rows if mean
    "sse": (1.0, 2.0, False),
    "half_mse": (0.5, 1.0, True),
}
OPTIMIZERS = {torch.optim.SGD: "SGD", torch.optim.Adam: "ADAM"}
# Options of these that a kernel does not know, with the values at which they do nothing.
NEUTRAL = {
    "dampening": 0,
    "weight_decay": 0,
    "nesterov": False,
    "maximize": False,
    "amsgrad": False,
}


class CallRows(ctypes.Structure):
    """Address and strides of a tensor (steps, R, ...): see kernels/common.h."""

    _fields_ = (("values", ctypes.c_void_p), ("step", ctypes.c_int64), ("replica", ctypes.c_int64))


class CallOrder(ctypes.Structure):
    """Slices of the rows that the steps of a replica see: see kernels/common.h."""

    _fields_ = (
        ("starts", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
    )


class Call(ctypes.Structure):
    """Arguments of a kernel: see kernels/common.h."""

    _fields_ = tuple(
        (name, kind)
        for kind, names in (
            (ctypes.c_int64, "steps first last replicas"),
            (CallRows, "x y weights"),
            (CallOrder, "order"),
            (ctypes.c_void_p, "state factors losses"),
            (ctypes.c_double, "loss slope"),
            (ctypes.c_int64, "mean"),
            (ctypes.c_double, "beta1 beta2 eps"),
            (ctypes.c_int64, "layers rows buffers activation optimizer weighted ordered"),
            (ctypes.c_void_p, "units"),
        )
        for name in names.split()
    )


def outside(net: Any, loss: str, optimizer: torch.optim.Optimizer) -> str | None:
    """What the kernels do not know of a training, in a few words, or None."""
    if net.activation not in ACTIVATIONS:
        return f"activation {net.activation}"
    if loss not in LOSSES:
        return f"loss {loss}"
    if type(optimizer) not in OPTIMIZERS:
        return f"optimizer {type(optimizer).__name__}"
    if len(optimizer.param_groups) > 1:
        return "several groups of parameters"
    options = optimizer.param_groups[0]
    unknown = [key for key, value in NEUTRAL.items() if options.get(key, value) != value]
    return f"{unknown[0]} of the optimizer" if unknown else None


class CompiledSteps:
    """Takes optimiser steps in place on a net's parameters and its torch optimiser's state, so
    checkpoints are those of a training by torch.

    specialise   compile a kernel for this very problem: half a second, then ten times as fast for
                 many replicas
    cache        folder of compiled kernels
    """

    def __init__(
        self,
        net: nn.Module,
        loss: str,
        optimizer: torch.optim.Optimizer,
        cache: Path,
        specialise: bool = False,
    ) -> None:
        self.activation: str = net.activation  # type: ignore[assignment]
        self.loss, self.optimizer, self.cache, self.specialise = loss, optimizer, cache, specialise
        self.parameters = list(net.parameters())
        self.units = [self.parameters[0].shape[1], *(p.shape[2] for p in self.parameters[::2])]
        self.kind = OPTIMIZERS[type(optimizer)]
        momentum = optimizer.param_groups[0].get("momentum")
        self.buffers = {"ADAM": ["exp_avg", "exp_avg_sq"], "SGD": ["momentum_buffer"]}[self.kind]
        self.buffers = self.buffers if self.kind == "ADAM" or momentum else []
        self._powers = (0, np.ones(2))  # steps done, and beta1, beta2 to that power

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor, steps: int, order: Order | None = None) -> Tensor:
        """Take steps on rows x (R, n, d), y (R, n, 1), all of them in every step or the slices of
        an order. Returns the losses (steps, R) before each."""
        replicas, rows = x.shape[:2]
        options = self.optimizer.param_groups[0]
        done = int(self.optimizer.state[self.parameters[0]].get("step", 0))
        trace, factors = x.new_empty(steps, replicas), self._update_factors(done, steps)
        state = self._state()
        addresses = (ctypes.c_void_p * len(state))(*(values.data_ptr() for values in state))
        units = (ctypes.c_int64 * len(self.units))(*self.units)
        beta1, beta2 = options.get("betas", (0, 0))
        scale, slope, mean = LOSSES[self.loss]
        weighted = order is not None and order.varies
        call = Call(
            steps=steps,
            replicas=replicas,
            state=ctypes.addressof(addresses),
            factors=factors.ctypes.data,
            losses=trace.data_ptr(),
            loss=scale,
            slope=slope,
            mean=mean,
            beta1=beta1,
            beta2=beta2,
            eps=options.get("eps", 0),
            layers=len(self.units) - 1,
            rows=rows if order is None else order.longest,
            buffers=len(self.buffers),
            activation=ACTIVATIONS.index(self.activation),
            optimizer=list(OPTIMIZERS.values()).index(self.kind),
            weighted=weighted,
            ordered=order is not None,
            units=ctypes.addressof(units),
        )
        keep: list[Any] = []  # referenced until the kernel has run
        if order is not None:
            replica = torch.arange(replicas)[:, None]
            positions = torch.from_numpy(order.rows)
            x, y = x[replica, positions], y[replica, positions]
            starts, lengths = (
                np.ascontiguousarray(a, np.int64) for a in (order.starts, order.lengths)
            )
            call.order = CallOrder(starts.ctypes.data, lengths.ctypes.data, steps)
            keep += [starts, lengths]
        for name, values in (("x", x), ("y", y)):
            values = values if values[0].is_contiguous() else values.contiguous()
            setattr(call, name, CallRows(values.data_ptr(), 0, values.stride(0)))
            keep.append(values)
        run = self._kernel(call)
        for first in range(0, replicas, CALL_REPLICAS):
            call.first, call.last = first, min(first + CALL_REPLICAS, replicas)
            run(ctypes.byref(call))
        if self.kind == "ADAM":
            for parameter in self.parameters:
                self.optimizer.state[parameter]["step"] = torch.tensor(float(done + steps))
        return trace

    def _state(self) -> list[Tensor]:
        """The parameters, then each of the optimiser's buffers, created as zeros."""
        buffers = []
        for name in self.buffers:
            for parameter in self.parameters:
                state = self.optimizer.state[parameter]
                if state.get(name) is None:
                    state[name] = torch.zeros_like(parameter)
                buffers.append(state[name])
        state = [values.detach() for values in (*self.parameters, *buffers)]
        assert all(values.is_contiguous() for values in state)
        return state

    def _kernel(self, call: Call) -> Any:
        real = "double" if self.parameters[0].dtype == torch.float64 else "float"
        name, constants = kernel_name(self.units), None
        if self.specialise and name == "narrow":
            constants = {
                "UNITS": "{" + ", ".join(map(str, self.units)) + "}",
                "ROWS": call.rows,
                "BUFFERS": call.buffers,
                "ACTIVATION": self.activation.upper(),
                "OPTIMIZER": self.kind,
                "WEIGHTED": call.weighted,
                "ORDERED": call.ordered,
            }
        level = "-O2" if constants is None else "-O3"  # a specialised kernel is used for long
        library = compiler.load(compiler.source(real, constants), self.cache, level)
        run = library[f"run_{name}"]
        run.argtypes, run.restype = [ctypes.c_void_p], None
        return run

    def _update_factors(self, done: int, steps: int) -> np.ndarray:
        """Factors of each update (steps, 2): SGD's learning rate and momentum, or Adam's
        lr / (1 - beta1^t) and sqrt(1 - beta2^t). From float64: 1 - beta2^t has half its digits in
        float32. The powers are repeated products, since a library's power differs between
        processors."""
        options = self.optimizer.param_groups[0]
        real = np.float64 if self.parameters[0].dtype == torch.float64 else np.float32
        if self.kind == "SGD":
            return np.tile(np.array([options["lr"], options["momentum"]], real), (steps, 1))
        betas = np.array(options["betas"], float)
        begun, powers = self._powers if self._powers[0] <= done else (0, np.ones(2))
        factors = np.tile(betas, (done + steps - begun, 1))
        factors[:1] *= powers
        products = np.multiply.accumulate(factors)
        self._powers = done + steps, products[-1]
        b1, b2 = products[done - begun :].T
        return np.stack([options["lr"] / (1 - b1), np.sqrt(1 - b2)], axis=1).astype(real)


def kernel_name(units: Sequence[int]) -> str:
    """Name of the kernel for nets of these widths, from input to output."""
    parameters = sum((a + 1) * b for a, b in pairwise(units))
    return "narrow" if parameters <= NARROW_PARAMETERS or len(units) == 2 else "wide"
