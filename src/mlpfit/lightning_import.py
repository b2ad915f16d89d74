"""Imports Lightning as ``pl`` without two large packages that it loads and hardly uses, which take
more than half of the start of a command:

- torchmetrics, which loads matplotlib and scipy.signal where it finds them, for plots of its own
  metrics and for audio. While it is loaded it finds neither, so it does not plot here; its numbers
  are the same.
- torch's compiler (torch._dynamo), of which Lightning asks only whether a module is one that was
  compiled, and torch's optimisers only that it leave four of their methods alone and that a step
  end what it compiles before it. It is loaded when something is compiled.

What was imported before, in another order, stays as it is.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import torch
from lightning_utilities.core import imports

from mlpfit.uncompiled import COMPILER, uncompiled

UNUSED = ("matplotlib", "scipy")  # by torchmetrics


class _Compiled(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        compiler = sys.modules.get(COMPILER)
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


class _OptimizedModule(metaclass=_Compiled):
    """Stands for torch._dynamo.OptimizedModule in isinstance."""


@contextmanager
def _without_compiler() -> Iterator[None]:
    if COMPILER in sys.modules:
        yield
        return
    stand_in: Any = ModuleType(COMPILER)
    stand_in.OptimizedModule, stand_in.disable = _OptimizedModule, uncompiled
    sys.modules[COMPILER] = torch._dynamo = stand_in
    try:
        yield
    finally:
        del sys.modules[COMPILER], torch._dynamo


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """These packages are not there for what asks lightning_utilities."""
    module: Any = imports
    find_spec, version = module.find_spec, module._version

    def spec_of(name: str, *args: Any) -> Any:
        return None if name.split(".")[0] in names else find_spec(name, *args)

    def version_of(name: str) -> str:
        if name in names:
            raise imports.PackageNotFoundError(name)
        return version(name)

    module.find_spec, module._version = spec_of, version_of
    try:
        yield
    finally:
        module.find_spec, module._version = find_spec, version
        for function in (module.package_available, module.module_available):
            getattr(function, "cache_clear", lambda: None)()


def _uncompiled_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step in torch's _use_grad_for_differentiable, which loads the compiler, in the same without
    it."""
    inner: Any = getattr(step, "__wrapped__", step)

    @wraps(step)
    def call(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if COMPILER in sys.modules:
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return inner(self, *args, **kwargs)

    return call


with _without_compiler(), _hidden(UNUSED):
    import lightning.pytorch as pl

for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad"):
    method = getattr(torch.optim.Optimizer, name)
    setattr(torch.optim.Optimizer, name, uncompiled(getattr(method, "__wrapped__", method)))
for kind in vars(torch.optim).values():
    step: Any = getattr(kind, "step", None)
    if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad":
        kind.step = _uncompiled_step(step)

__all__ = ["pl"]
