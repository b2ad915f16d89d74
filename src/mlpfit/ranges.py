"""Allowed ranges of numbers, as annotations of config fields: ``Annotated[float, Above(0)]``."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AtLeast:
    low: float

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and value >= self.low

    def __str__(self) -> str:
        return f"at least {self.low}"


@dataclass(frozen=True)
class Above:
    low: float

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and value > self.low

    def __str__(self) -> str:
        return f"above {self.low}"


@dataclass(frozen=True)
class Between:
    """low included, high excluded."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value < self.high

    def __str__(self) -> str:
        return f"from {self.low} to below {self.high}"
