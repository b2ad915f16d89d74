"""How replicas are laid out in memory and divided into groups, and whether their steps are
compiled.

It decides how numbers are rounded, so it counts in a run's identity.
"""

from collections.abc import Sequence

NARROW = 16  # nets with no wider layer keep the replica axis last in memory
SHARD = 256  # replicas of one Trainer and one folder at most, unless ensemble.shard says otherwise
CACHE = (
    4 * 2**20
)  # bytes for what a group of replicas computes in a step: measured best, and L2 to L3 everywhere
LANES = 16  # float32 numbers in the widest vector registers there are
PAYS_FROM = 8.0  # predicted seconds uncompiled from which compiling, five to ten seconds, pays


def narrow(widths: Sequence[int]) -> bool:
    """Whether the replica axis is last in memory, so that vector instructions run over replicas."""
    return max(widths) <= NARROW


def shard_size(replicas: int, most: int) -> int:
    """How many replicas to take at a time: the largest number up to ``most`` that divides them, if
    at least half of it, so that all parts have one shape and one compilation; else ``most``."""
    fitting = (size for size in range(min(most, replicas), most // 2, -1) if replicas % size == 0)
    return next(fitting, min(most, replicas))


def group_size(replicas: int, rows: int, widths: Sequence[int], number_bytes: int) -> int:
    """How many replicas step together: as many as ``CACHE`` holds of their layers' outputs and
    gradients."""
    return shard_size(replicas, max(1, CACHE // (2 * rows * sum(widths) * number_bytes)))


def plain_seconds(steps: int, replicas: int, rows: int, widths: Sequence[int]) -> float:
    """Predicted for uncompiled steps, as measured: 0.3 ms of calls a step and 7.5 ns a replica, row
    and unit."""
    return steps * (3e-4 + 7.5e-9 * replicas * rows * sum(widths))


def compiling_pays(seconds: float) -> bool:
    """Whether steps that are predicted to take so long uncompiled are better compiled."""
    return seconds >= PAYS_FROM
