"""What the page minimises and prints: the mean cross-entropy of the rows and a penalty of the
weights, but not of the biases."""

import numpy as np

from mlpfit import Run

DECAY = 0.001


def objective(run: Run, step: int) -> np.ndarray:
    """After this step: (R,)."""
    squares = sum((weight**2).sum(axis=(1, 2)) for weight, _ in run.parameters(step))
    return run.evaluated("loss", step) + 0.5 * DECAY * squares


QUANTITIES = {"objective": objective}
