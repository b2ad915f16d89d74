"""The curve to be restored."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data import elementary
from mlpfit.data.targets import Target


@dataclass(frozen=True, kw_only=True)
class Wave(Target, name="wave"):
    """amplitude sin x + offset."""

    amplitude: float
    offset: float

    text = "{amplitude} * sin(x) + {offset}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.amplitude * elementary.sin(x) + self.offset
