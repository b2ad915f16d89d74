"""How replicas are laid out in memory and divided into parts, and whether their steps are compiled.

It decides how numbers are rounded, so it counts in a run's identity.
"""

from collections.abc import Sequence
from itertools import pairwise

NARROW = 768  # parameters up to which compiled steps give each replica a lane: they stay in L2
CALL = 16  # replicas in one call of a kernel: they fill its vectors, and it ends within a second
SHARD = 256  # replicas of one Trainer and one folder at most, unless ensemble.shard says otherwise
PAYS_FROM = 2.0  # predicted seconds uncompiled from which compiling, half a second, pays
WIDE_FROM = 4e8  # operations of a step from which all cores, uncompiled, are faster for one replica


def kernel(units: Sequence[int]) -> str:
    """Which kernel takes compiled steps of nets of these units, input to output (compiled.py)."""
    parameters = sum((a + 1) * b for a, b in pairwise(units))
    return "narrow" if parameters <= NARROW or len(units) == 2 else "wide"


def plain_seconds(steps: int, replicas: int, rows: int, widths: Sequence[int]) -> float:
    """Predicted for uncompiled steps, as measured: 0.3 ms of calls a step and 7.5 ns a replica, row
    and unit."""
    return steps * (3e-4 + 7.5e-9 * replicas * rows * sum(widths))


def operations(rows: int, units: Sequence[int]) -> int:
    """Floating-point operations of a model-step: forward 2, backward 4 per weight and row."""
    return 6 * rows * sum(a * b for a, b in pairwise(units))
