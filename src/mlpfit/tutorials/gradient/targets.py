"""A line and a sine."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data import elementary
from mlpfit.data.targets import Target


@dataclass(frozen=True, kw_only=True)
class Line(Target, name="line"):
    """slope x + intercept."""

    slope: float
    intercept: float

    text = "{slope} * x + {intercept}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.slope * x + self.intercept


@dataclass(frozen=True, kw_only=True)
class Sine(Target, name="sine"):
    """amplitude sin x."""

    amplitude: float

    text = "{amplitude} * sin(x)"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.amplitude * elementary.sin(x)
