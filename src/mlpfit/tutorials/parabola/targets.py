"""A parabola."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data.targets import Target


@dataclass(frozen=True, kw_only=True)
class Parabola(Target, name="parabola"):
    """curvature x^2."""

    curvature: float

    text = "{curvature} * x^2"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.curvature * (x * x)
