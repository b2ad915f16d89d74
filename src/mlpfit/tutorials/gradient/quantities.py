"""Numbers of the gradient page beside its losses."""

import numpy as np

from mlpfit.data.streams import Generator
from mlpfit.runs.run import Run


def sse_at_ones(run: Run) -> np.ndarray:
    """Sum of squares on all 100 unscaled rows with slope and intercept 1: (R,)."""
    scaled = np.concatenate([run.data["pool_x"], run.data["pool_y"]], axis=2)
    rows = run.data["scale"][:, None] * scaled + run.data["center"][:, None]
    return ((rows[..., 1] - (1 + rows[..., 0])) ** 2).sum(axis=1)


QUANTITIES = {"sse_at_ones": sse_at_ones}


def random_gradient(component: int, draws: int = 20_000) -> np.ndarray:
    """Draws (draws,) of a component of -2 x (y - x'w); x, w (2,) and y are standard normal."""
    x, w = Generator(np.random.PCG64(0)).normal(size=(2, draws, 2))
    y = Generator(np.random.PCG64(1)).normal(size=draws)
    return -2 * x[:, component] * (y - (x * w).sum(axis=1))


LAWS = {
    f"gradient_{method}_{component}": lambda component=component: random_gradient(component)
    for method in ("by_hand", "autograd")
    for component in (0, 1)
}
