"""Thresholds that choose kernels, sizes of shards and whether steps are compiled.

They change how numbers are rounded, so this file is part of a run's identity.
"""

from collections.abc import Sequence
from itertools import pairwise

NARROW_PARAMETERS = 768  # at most, with one replica per vector lane: they fit the L2 cache
CALL_REPLICAS = 16  # in one call of a kernel: they fill its vectors; it takes under a second
SHARD_REPLICAS = 256  # in one shard, if ensemble.shard is null
COMPILED_SECONDS = 2.0  # predicted uncompiled; from here compiling, half a second, saves time
ALL_CORES_OPERATIONS = 4e8  # a step; from here one replica is faster uncompiled on all cores


def kernel_name(units: Sequence[int]) -> str:
    """Name of the kernel (compiled.py) for nets of these widths, from input to output."""
    parameters = sum((a + 1) * b for a, b in pairwise(units))
    return "narrow" if parameters <= NARROW_PARAMETERS or len(units) == 2 else "wide"


def uncompiled_seconds(steps: int, replicas: int, rows: int, widths: Sequence[int]) -> float:
    """Predicted duration of uncompiled steps. Measured: 0.3 ms a step for calls, and 7.5 ns for
    each replica, row and unit."""
    return steps * (3e-4 + 7.5e-9 * replicas * rows * sum(widths))


def operations(rows: int, units: Sequence[int]) -> int:
    """Floating-point operations of one replica's step: 2 forward, 4 backward per weight and row."""
    return 6 * rows * sum(a * b for a, b in pairwise(units))
