"""Functions that torch's compiler leaves alone."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

COMPILER = "torch._dynamo"  # takes a second to load


def uncompiled(function: Callable[..., Any], recursive: bool = True, **_: Any) -> Any:
    """torch.compiler.disable, without loading the compiler: before it is loaded nothing is
    compiled."""
    disabled = torch._disable_dynamo(function, recursive)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (disabled if COMPILER in sys.modules else function)(*args, **kwargs)

    return call
