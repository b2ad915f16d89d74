"""Allowed ranges of numbers, as annotations of config fields: ``Annotated[float, Above(0)]``.

Numbers are compared, never converted: a whole number of hundreds of digits is no float.
"""

from dataclasses import dataclass

INFINITE = float("inf")


@dataclass(frozen=True)
class AtLeast:
    """low and high included, if finite."""

    low: float
    high: float = INFINITE

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and abs(value) < INFINITE

    def __str__(self) -> str:
        return f"at least {self.low}" + (
            f" and at most {self.high}" if self.high < INFINITE else ""
        )


@dataclass(frozen=True)
class Above:
    low: float

    def __contains__(self, value: float) -> bool:
        return self.low < value < INFINITE

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
