"""Optimiser steps of R replicas (forward, backward, update) by compiled C++ kernels.

In eager mode a step of these small nets is all overhead: some thirty calls of a few microseconds
each, hardly more for 64 replicas than for one. A kernel of ``kernels/`` takes many steps of many
replicas in one call and keeps the data of a replica in the cache of one core. It is C++ for one
shape of problem, whose constants precede it; torch's Inductor compiles it in half a second and
caches it. Inductor's own graphs of the same step took six seconds to compile and two to five times
as long to run (``make bench`` compares with JAX, whose graphs are similar). The arithmetic is that
of mlp.py and torch.optim, and tests compare them.

``narrow.h`` puts one replica in each lane of the vectors; ``wide.h`` takes one replica at a time
with matrix products; layout.py chooses. In both, the numbers of a replica do not depend on the
others.
"""

import ctypes
import functools
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from mlpfit.data.datamodule import Batch
from mlpfit.errors import RunError
from mlpfit.model import layout, losses, mlp

KERNELS = Path(__file__).parent / "kernels"
# Fused multiply-add, as in torch's matrix products; sqrt as one instruction.
FLAGS = ("-ffp-contract=fast", "-fno-math-errno")


def set_kernel_cache(folder: Path) -> None:
    """Cache compiled kernels in this folder, unless the user sets TORCHINDUCTOR_CACHE_DIR. Torch's
    default is a folder under /tmp, where others might write; the cached code is executed."""
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.resolve())


def compiler() -> str | None:
    """Path of the C++ compiler that torch would call, or None."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


class Rows(ctypes.Structure):
    """Address and strides of a tensor (steps, R, ...): see kernels/common.h."""

    _fields_ = (("values", ctypes.c_void_p), ("step", ctypes.c_int64), ("replica", ctypes.c_int64))


class Order(ctypes.Structure):
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
            (Rows, "x y weights"),
            (Order, "order"),
            (ctypes.c_void_p, "state factors losses"),
            (ctypes.c_double, "loss slope"),
            (ctypes.c_int64, "mean"),
            (ctypes.c_double, "beta1 beta2 eps"),
        )
        for name in names.split()
    )


class CompiledSteps:
    """Takes optimiser steps in place on a net's parameters and its torch optimiser's state, so
    checkpoints are those of uncompiled training."""

    def __init__(self, net: mlp.MLP, loss: losses.Kind, optimizer: torch.optim.Optimizer) -> None:
        self.net, self.loss, self.optimizer = net, loss, optimizer
        self.parameters = list(net.parameters())
        self.options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        self.adam = isinstance(optimizer, torch.optim.Adam)
        if self.adam:
            self.buffers = ["exp_avg", "exp_avg_sq"]
        else:
            self.buffers = ["momentum_buffer"] if self.options["momentum"] else []

    @torch.no_grad()
    def __call__(
        self, x: Tensor, y: Tensor, weights: Tensor | None = None, order: Batch | None = None
    ) -> Tensor:
        """Take K steps on x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None; returns losses
        (K, R) before each. order: ReplicaData's chunk, if steps see slices of these rows."""
        steps, replicas, rows = x.shape[:3]
        done = int(self.optimizer.state[self.parameters[0]].get("step", 0))
        weighted = weights is not None if order is None else order["filled_up"]
        source = self._source(rows if order is None else order["batch"], weighted, order)
        run = compile_kernel(source)
        trace, factors = x.new_empty(steps, replicas), self._update_factors(done, steps)
        state = self._state()
        addresses = (ctypes.c_void_p * len(state))(*(values.data_ptr() for values in state))
        # Referenced here until the kernel has run, since copies would be freed.
        data = [_contiguous(values) for values in (x, y, x if weights is None else weights)]
        loss, slope, mean = losses.factors(self.loss)
        beta1, beta2 = self.options.get("betas", (0, 0))
        call = Call(
            steps=steps,
            replicas=replicas,
            order=Order() if order is None else _order(order),
            state=ctypes.addressof(addresses),
            factors=factors.data_ptr(),
            losses=trace.data_ptr(),
            loss=loss,
            slope=slope,
            mean=mean,
            beta1=beta1,
            beta2=beta2,
            eps=self.options.get("eps", 0),
        )
        for name, values in zip(("x", "y", "weights"), data, strict=True):
            setattr(call, name, Rows(values.data_ptr(), *values.stride()[:2]))
        for first in range(0, replicas, layout.CALL_REPLICAS):  # signals are handled between calls
            call.first, call.last = first, min(first + layout.CALL_REPLICAS, replicas)
            run(ctypes.byref(call))
        if self.adam:
            for parameter in self.parameters:
                self.optimizer.state[parameter]["step"] = torch.tensor(float(done + steps))
        return trace

    def _state(self) -> list[Tensor]:
        """The parameters, then each of the optimiser's buffers, created as zeros."""
        buffers = [
            self.optimizer.state[p].setdefault(name, torch.zeros_like(p))
            for name in self.buffers
            for p in self.parameters
        ]
        state = [values.detach() for values in (*self.parameters, *buffers)]
        assert all(values.is_contiguous() for values in state)
        return state

    def _source(self, rows: int, weighted: bool, order: Batch | None) -> str:
        """C++ source of the kernel for this number of rows."""
        units = [self.parameters[0].shape[1], *(p.shape[2] for p in self.parameters[::2])]
        ordered, names = order is not None, ("common", layout.kernel_name(units))
        return f"""
            using real = {"double" if self.parameters[0].dtype == torch.float64 else "float"};
            constexpr int UNITS[] = {{{", ".join(map(str, units))}}};
            constexpr int ROWS = {rows}, BUFFERS = {len(self.buffers)};
            enum Activation {{ {", ".join(mlp.ACTIVATIONS).upper()} }};
            constexpr Activation ACTIVATION = {self.net.activation.upper()};
            constexpr bool ADAM = {self.adam:d}, WEIGHTED = {weighted:d}, ORDERED = {ordered:d};
        """ + "\n".join((KERNELS / f"{name}.h").read_text() for name in names)

    def _update_factors(self, done: int, steps: int) -> Tensor:
        """Factors of each update (steps, 2): SGD's learning rate and momentum, or Adam's lr / (1 -
        beta1^t) and sqrt(1 - beta2^t). From float64: 1 - beta2^t has half its digits in float32."""
        like = self.parameters[0]
        if not self.adam:
            rates = [self.options["lr"], self.options["momentum"]]
            return torch.tensor(rates, dtype=torch.float64).to(like).repeat(steps, 1)
        t = torch.arange(done + 1, done + steps + 1, dtype=torch.float64)
        b1, b2 = self.options["betas"]
        return torch.stack([self.options["lr"] / (1 - b1**t), (1 - b2**t).sqrt()], dim=1).to(like)


def _contiguous(values: Tensor) -> Tensor:
    """Values that are contiguous for each step and replica; steps may share them (stride 0)."""
    return values if values[0, 0].is_contiguous() else values.contiguous()


def _order(chunk: Batch) -> Order:
    """Addresses of a chunk's starts and lengths (R, K), int64."""
    starts, lengths = chunk["starts"], chunk["lengths"]
    assert starts.stride() == lengths.stride() and starts.stride(1) == 1
    return Order(starts.data_ptr(), lengths.data_ptr(), starts.stride(0))


@functools.cache
def compile_kernel(source: str) -> Any:
    """The function ``run`` of this source, compiled. Raises RunError if the compiler fails."""
    from torch._inductor.codecache import CppCodeCache
    from torch._inductor.exc import CppCompileError

    try:
        run = CppCodeCache.load(source, needs_vec_isa=False, extra_flags=FLAGS).run
    except CppCompileError as error:
        first = next((line for line in str(error).splitlines() if "error:" in line), str(error))
        raise RunError(
            f"{compiler()} fails ({first}); trainer.compile=false trains without it"
        ) from None
    run.argtypes, run.restype = [ctypes.c_void_p], None
    return run
