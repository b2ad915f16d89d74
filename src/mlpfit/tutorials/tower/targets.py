"""The tower function."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data.targets import Target


@dataclass(frozen=True, kw_only=True)
class Tower(Target, name="tower"):
    """A step function: levels[0] below edges[0], levels[1] from there to edges[1], levels[2] from
    edges[1] on."""

    levels: tuple[float, float, float]
    edges: tuple[float, float]

    text = "where(x < {edges[0]}, {levels[0]}, where(x < {edges[1]}, {levels[1]}, {levels[2]}))"

    def problem(self) -> str | None:
        if not self.edges[0] < self.edges[1]:
            return f"target.edges={list(self.edges)}: must increase"
        return super().problem()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.levels)[np.searchsorted(self.edges, x, side="right")]
