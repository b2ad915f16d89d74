"""Whole optimiser steps of R replicas (forward, backward, update) in compiled loops.

Eager, a step of these small nets is all overhead: some thirty calls of a few microseconds each, and
hardly longer for 64 replicas than for one. The kernels in ``kernels/`` take many steps of many
replicas in one call, with all that a replica needs in the cache of one core. They are C++ for one
shape of problem, whose constants are written before them; Inductor's machinery compiles them in
half a second and keeps them. Graphs that Inductor made of the same step took six seconds to
compile and two to five times as long to run (``make bench`` compares with JAX, whose graphs are
like them). The arithmetic is that of mlp.py and torch.optim, and tested against them.

``narrow.h`` gives every replica a lane of the vectors, ``wide.h`` takes replica by replica and
makes matrix products of it; layout.py decides which. Either way no replica's numbers depend on its
company.
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
# A product and a sum are one rounding, as in torch's matrix products; sqrt is the processor's.
FLAGS = ("-ffp-contract=fast", "-fno-math-errno")


def cache_in(folder: Path) -> None:
    """Keep compiled kernels in this folder, unless TORCHINDUCTOR_CACHE_DIR names another. Torch
    sets it when it is imported, to a place under /tmp; what lies in the cache is executed."""
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.resolve())


def compiler() -> str | None:
    """The C++ compiler that torch would call, or None if there is none."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


class Rows(ctypes.Structure):
    """A tensor (steps, R, ...): see kernels/common.h."""

    _fields_ = (("values", ctypes.c_void_p), ("step", ctypes.c_int64), ("replica", ctypes.c_int64))


class Order(ctypes.Structure):
    """Which slice of their rows the steps of a replica see: see kernels/common.h."""

    _fields_ = (
        ("starts", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
    )


class Call(ctypes.Structure):
    """What a kernel is given: see kernels/common.h."""

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
    """Runs optimiser steps of a net's parameters and of its optimiser's state, both in torch's own
    form before and after, so that checkpoints and resume know nothing of it."""

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
        """x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None -> losses before each of K
        updates (K, R). order: a chunk whose steps see slices of these rows, see
        :func:`mlpfit.data.datamodule.batches`."""
        steps, replicas, rows = x.shape[:3]
        done = int(self.optimizer.state[self.parameters[0]].get("step", 0))
        weighted = weights is not None if order is None else order["filled_up"]
        run = kernel(self._source(rows if order is None else order["batch"], weighted, order))
        trace, factors = x.new_empty(steps, replicas), self._factors(done, steps)
        state = self._state()
        addresses = (ctypes.c_void_p * len(state))(*(values.data_ptr() for values in state))
        # Kept until the kernel has run: a copy would be freed with its last name.
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
        for first in range(0, replicas, layout.CALL):  # signals are heard between calls only
            call.first, call.last = first, min(first + layout.CALL, replicas)
            run(ctypes.byref(call))
        if self.adam:
            for parameter in self.parameters:
                self.optimizer.state[parameter]["step"] = torch.tensor(float(done + steps))
        return trace

    def _state(self) -> list[Tensor]:
        """The parameters, then each buffer of all of them: zero at first, as in torch.optim."""
        buffers = [
            self.optimizer.state[p].setdefault(name, torch.zeros_like(p))
            for name in self.buffers
            for p in self.parameters
        ]
        state = [values.detach() for values in (*self.parameters, *buffers)]
        assert all(values.is_contiguous() for values in state)
        return state

    def _source(self, rows: int, weighted: bool, order: Batch | None) -> str:
        """The kernel for this shape."""
        units = [self.parameters[0].shape[1], *(p.shape[2] for p in self.parameters[::2])]
        ordered, names = order is not None, ("common", layout.kernel(units))
        return f"""
            using real = {"double" if self.parameters[0].dtype == torch.float64 else "float"};
            constexpr int UNITS[] = {{{", ".join(map(str, units))}}};
            constexpr int ROWS = {rows}, BUFFERS = {len(self.buffers)};
            enum Activation {{ {", ".join(mlp.ACTIVATIONS).upper()} }};
            constexpr Activation ACTIVATION = {self.net.activation.upper()};
            constexpr bool ADAM = {self.adam:d}, WEIGHTED = {weighted:d}, ORDERED = {ordered:d};
        """ + "\n".join((KERNELS / f"{name}.h").read_text() for name in names)

    def _factors(self, done: int, steps: int) -> Tensor:
        """What changes from step to step (steps, 2): SGD's learning rate and momentum; Adam's lr /
        (1 - beta1^t) and sqrt(1 - beta2^t), from float64, since in float32 1 - beta2^t loses half
        its digits."""
        like = self.parameters[0]
        if not self.adam:
            rates = [self.options["lr"], self.options["momentum"]]
            return torch.tensor(rates, dtype=torch.float64).to(like).repeat(steps, 1)
        t = torch.arange(done + 1, done + steps + 1, dtype=torch.float64)
        b1, b2 = self.options["betas"]
        return torch.stack([self.options["lr"] / (1 - b1**t), (1 - b2**t).sqrt()], dim=1).to(like)


def _contiguous(values: Tensor) -> Tensor:
    """The values of each step and replica without gaps; steps may share theirs (stride 0)."""
    return values if values[0, 0].is_contiguous() else values.contiguous()


def _order(chunk: Batch) -> Order:
    """Where the kernel finds it: starts and lengths (R, K) of int64."""
    starts, lengths = chunk["starts"], chunk["lengths"]
    assert starts.stride() == lengths.stride() and starts.stride(1) == 1
    return Order(starts.data_ptr(), lengths.data_ptr(), starts.stride(0))


@functools.cache
def kernel(source: str) -> Any:
    """The compiled function ``run`` of this source. Raises RunError if the compiler fails."""
    from torch._inductor.codecache import CppCodeCache
    from torch._inductor.exc import CppCompileError

    try:
        run = CppCodeCache.load(source, needs_vec_isa=False, extra_flags=FLAGS).run
    except CppCompileError as error:
        first = next((line for line in str(error).splitlines() if "error:" in line), str(error))
        raise RunError(
            f"{compiler()} fails ({first}); trainer.compile=false trains without"
        ) from None
    run.argtypes, run.restype = [ctypes.c_void_p], None
    return run
