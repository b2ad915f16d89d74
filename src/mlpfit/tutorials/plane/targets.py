"""A plane in three inputs."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data.targets import Target


@dataclass(frozen=True, kw_only=True)
class Plane(Target, name="plane", dim=3):
    """c1 x1 + c2 x2 + c3 x3."""

    coefficients: tuple[float, float, float]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        c1, c2, c3 = self.coefficients
        return c1 * x[:, :1] + c2 * x[:, 1:2] + c3 * x[:, 2:]  # in this order on every processor
