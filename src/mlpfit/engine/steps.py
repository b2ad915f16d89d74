"""Optimiser steps of R replicas (forward, backward, update) by compiled C++ kernels.

A step of these small nets in torch is all overhead: some thirty calls of a few microseconds each,
hardly more for 64 replicas than for one. A kernel takes many steps of many replicas in one call and
keeps the data of a replica in the cache of one core. Its arithmetic is that of ``model/mlp.py`` and
torch.optim but for the order of sums, which is written down, so that its results do not depend on
the processor, on the compiler, or on how many replicas are trained together.

``narrow.h`` puts one replica in each lane of the vectors, ``wide.h`` takes one replica at a time
with matrix products; which one depends on the size of the net only. ``shallow.h`` gives one replica
of a small net with one hidden layer the bits of ``narrow.h``, in less time.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlpfit.data.order import Order
from mlpfit.engine import compiler
from mlpfit.engine.evaluation import ACTIVATIONS, Named, known_activation

NARROW_PARAMETERS = 768  # at most: with one replica in each lane they fit the L2 cache
CALL_REPLICAS = 16  # in one call of a kernel: they fill its vectors; signals are handled in between
OUTPUTS = ("identity", "relu", "tanh", "sigmoid")  # activations of the last layer
KINDS = ("squares", "absolute", "huber")  # of losses, as numbered in kernels/common.h
OPTIMIZERS: dict[type[torch.optim.Optimizer], tuple[str, str]] = {  # its name in the kernels, and
    torch.optim.SGD: ("SGD", "lr momentum weight_decay nesterov"),  # the options that they have
    torch.optim.Adam: ("ADAM", "lr betas eps weight_decay"),
    torch.optim.AdamW: ("ADAMW", "lr betas eps weight_decay"),
    torch.optim.RMSprop: ("RMSPROP", "lr alpha eps weight_decay momentum"),
}
SMALLEST_EPS = 1e-16  # below it a second moment put to zero (kernels/activations.h) could be felt
FACTORS = 3  # of a step's update


@dataclass(frozen=True)
class Loss:
    """scale times the sum of the penalties of all errors, divided by the number of numbers in a
    batch, rows times outputs, if mean; slope: the factor of its derivative. kind: see
    ``kernels/activations.h``; delta: of Huber's."""

    kind: str
    scale: float
    slope: float
    mean: bool
    delta: float = 1.0


LOSSES = {
    "mse": Loss("squares", 1.0, 2.0, True),
    "sse": Loss("squares", 1.0, 2.0, False),
    "half_mse": Loss("squares", 0.5, 1.0, True),
    "mae": Loss("absolute", 1.0, 1.0, True),
    "huber": Loss("huber", 1.0, 1.0, True),
    "smooth_l1": Loss("huber", 1.0, 1.0, True),
}


def known_loss(given: Named) -> Loss | None:
    """The loss of this name, with torch's arguments: delta of huber, beta of smooth_l1; None if the
    kernels do not have it."""
    arguments: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name = arguments.pop("name")
    limit = arguments.pop({"huber": "delta", "smooth_l1": "beta"}.get(name, ""), 1.0)
    if name not in LOSSES or arguments or limit <= 0:
        return None
    if limit == 1:
        return LOSSES[name]
    # torch's smooth_l1 is its huber divided by beta.
    scale = 1.0 if name == "huber" else 1.0 / limit
    return replace(LOSSES[name], scale=scale, slope=scale, delta=limit)


def unknown_option(optimizer: torch.optim.Optimizer) -> str | None:
    """The name of an option of the optimiser that the kernels do not have at its value, or None.
    Raises KeyError for an optimiser that they do not have."""
    known = OPTIMIZERS[type(optimizer)][1].split()
    default = type(optimizer)([nn.Parameter(torch.zeros(1))]).param_groups[0]  # type: ignore[call-arg]
    for options in optimizer.param_groups:
        for key, value in options.items():
            if key not in ("params", *known) and value != default[key]:
                return key
            if key == "eps" and value < SMALLEST_EPS:
                return key
    return None


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
            (ctypes.c_double, "delta leak beta1 beta2 eps decay"),
            (ctypes.c_int64, "layers rows buffers activation output kind optimizer"),
            (ctypes.c_int64, "decayed nesterov weighted ordered"),
            (ctypes.c_void_p, "units"),
            (ctypes.c_int64, "threads"),
        )
        for name in names.split()
    )


class CompiledSteps:
    """Takes optimiser steps in place on a net's parameters and its torch optimiser's state, so
    checkpoints are those of a training by torch.

    specialise   compile a kernel for this very problem: half a second, then up to ten times as
                 fast for many replicas
    cache        folder of compiled kernels
    threads      that may work on a net of many parameters; the bits are those of one
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Named,
        optimizer: torch.optim.Optimizer,
        cache: Path,
        specialise: bool = False,
        threads: int = 1,
    ) -> None:
        activation, known = known_activation(net.activation), known_loss(loss)  # type: ignore[arg-type]
        if activation is None or known is None or net.output not in OUTPUTS:
            given = f"activation {net.activation}, output {net.output}, loss {loss}"
            raise ValueError(f"the kernels do not have {given}")
        self.output: str = net.output  # type: ignore[assignment]
        (self.activation, self.negative_slope), self.loss = activation, known
        self.optimizer, self.cache, self.specialise = optimizer, cache, specialise
        self.threads = threads
        self.parameters = list(net.parameters())
        self.units = [self.parameters[0].shape[1], *(p.shape[2] for p in self.parameters[::2])]
        self.kind = OPTIMIZERS[type(optimizer)][0]
        self.buffers = {"SGD": [], "RMSPROP": ["square_avg"]}.get(
            self.kind, ["exp_avg", "exp_avg_sq"]
        )
        if optimizer.param_groups[0].get("momentum"):
            self.buffers = [*self.buffers, "momentum_buffer"]
        self._powers = (0, np.ones(2))  # steps done, and beta1, beta2 to that power

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        order: Order | None = None,
        rates: np.ndarray | None = None,
        momenta: np.ndarray | None = None,
    ) -> Tensor:
        """Take steps on rows x (R, n, d), y (R, n, o), all of them in every step or the slices of
        an order. rates, momenta (steps,): learning rate and momentum of each step, instead of
        those of the optimiser. Returns the losses (steps, R) before each."""
        replicas, rows = x.shape[:2]
        options = self.optimizer.param_groups[0]
        done = int(self.optimizer.state[self.parameters[0]].get("step", 0))
        factors = self._update_factors(done, steps, rates, momenta)
        trace = x.new_empty(steps, replicas)
        state = self._state()
        addresses = (ctypes.c_void_p * len(state))(*(values.data_ptr() for values in state))
        units = (ctypes.c_int64 * len(self.units))(*self.units)
        beta1, beta2 = options.get("betas", (0, options.get("alpha", 0)))
        loss, outputs = self.loss, self.units[-1] if self.loss.mean else 1
        weighted = order is not None and order.varies
        call = Call(
            steps=steps,
            replicas=replicas,
            state=ctypes.addressof(addresses),
            factors=factors.ctypes.data,
            losses=trace.data_ptr(),
            loss=loss.scale / outputs,
            slope=loss.slope / outputs,
            mean=loss.mean,
            delta=loss.delta,
            leak=self.negative_slope,
            beta1=beta1,
            beta2=beta2,
            eps=options.get("eps", 0),
            decay=options["weight_decay"],
            layers=len(self.units) - 1,
            rows=rows if order is None else order.longest,
            buffers=len(self.buffers),
            activation=ACTIVATIONS.index(self.activation),
            output=ACTIVATIONS.index(self.output),
            kind=KINDS.index(loss.kind),
            optimizer=[name for name, _ in OPTIMIZERS.values()].index(self.kind),
            decayed=options["weight_decay"] != 0,
            nesterov=options.get("nesterov", False),
            weighted=weighted,
            ordered=order is not None,
            units=ctypes.addressof(units),
            threads=self.threads,
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
        if self.kind != "SGD":
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
        name = kernel_name(self.units)
        special = self.specialise and name == "narrow"
        level = "-O3" if special else "-O2"  # a specialised kernel is used for long
        run = compiler.load(self.source(call, special), self.cache, level)[f"run_{name}"]
        run.argtypes, run.restype = [ctypes.c_void_p], None
        return run

    def source(self, call: Call, specialised: bool) -> str:
        """The source of the kernel of a call: for any problem, or specialised for its shape."""
        if not specialised:
            return compiler.source(self.real, kernel_name(self.units))
        constants: dict[str, object] = {
            "UNITS": "{" + ", ".join(map(str, self.units)) + "}",
            "ACTIVATION": self.activation.upper(),
            "OUTPUT": self.output.upper(),
            "KIND": self.loss.kind.upper(),
            "OPTIMIZER": self.kind,
        }
        for name in ("rows", "buffers", "decayed", "nesterov", "weighted", "ordered"):
            constants[name.upper()] = getattr(call, name)
        return compiler.source(self.real, constants=constants)

    @property
    def real(self) -> str:
        """C++ name of the type of the parameters."""
        return "double" if self.parameters[0].dtype == torch.float64 else "float"

    def _update_factors(
        self, done: int, steps: int, rates: np.ndarray | None, momenta: np.ndarray | None
    ) -> np.ndarray:
        """Factors of each update (steps, FACTORS): learning rate and momentum of SGD and RMSprop,
        or Adam's lr / (1 - beta1^t), sqrt(1 - beta2^t) and AdamW's 1 - lr decay. From float64:
        1 - beta2^t has half its digits in float32. The powers are repeated products, since a
        library's power differs between processors."""
        options = self.optimizer.param_groups[0]
        factors = np.ones((steps, FACTORS))
        rates = np.full(steps, float(options["lr"])) if rates is None else rates
        if self.kind in ("SGD", "RMSPROP"):
            factors[:, 0] = rates
            factors[:, 1] = options["momentum"] if momenta is None else momenta
        else:
            betas = np.array(options["betas"], float)
            begun, powers = self._powers if self._powers[0] <= done else (0, np.ones(2))
            products = np.tile(betas, (done + steps - begun, 1))
            products[:1] *= powers
            products = np.multiply.accumulate(products)
            self._powers = done + steps, products[-1]
            b1, b2 = products[done - begun :].T
            factors[:, 0], factors[:, 1] = rates / (1 - b1), np.sqrt(1 - b2)
            factors[:, 2] = 1 - rates * options["weight_decay"]
        return factors.astype(np.float64 if self.real == "double" else np.float32)


def kernel_name(units: Sequence[int]) -> str:
    """Name of the kernel for nets of these widths, from input to output."""
    parameters = sum((a + 1) * b for a, b in pairwise(units))
    return "narrow" if parameters <= NARROW_PARAMETERS or len(units) == 2 else "wide"
