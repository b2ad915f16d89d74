"""Descent on a standardised line in closed form, fitted to printed losses."""

from dataclasses import dataclass

import numpy as np

from mlpfit.data.elementary import power
from mlpfit.model.least_squares import solve


@dataclass(frozen=True)
class Recovered:
    """Unpublished data and start of a run, inferred from its losses.

    slope0, intercept0: the start; slope: the optimum (its intercept is 0); r2: of the rows; sse:
    the least possible; residual: largest relative deviation of the fitted losses from the printed.
    """

    slope0: float
    intercept0: float
    slope: float
    r2: float
    sse: float
    residual: float


def recover(steps: np.ndarray, losses: np.ndarray, rows: int, lr: float) -> Recovered:
    """Fit L_k = L* + A (1 - 2 h (n - 1))^(2(k - 1)) + B (1 - 2 h n)^(2(k - 1)) to the losses L_k
    printed at steps k, with n rows and learning rate h = lr, by relative least squares.

    On standardised rows the Hessian of the sum of squares is diagonal, 2(n - 1) for the slope and
    2n for the intercept, so each step of descent multiplies their distances from the optimum by
    1 - 2h(n - 1) and 1 - 2hn; A = (n - 1)(slope_0 - slope*)^2, B = n intercept_0^2,
    L* = (n - 1)(1 - R^2), slope*^2 = R^2. The start's signs, unknown, are those nearest to 0.
    """
    k = steps - 1
    slope_decay, intercept_decay = (1 - 2 * lr * n for n in (rows - 1, rows))
    slope_part, intercept_part = (power(decay, 2 * k) for decay in (slope_decay, intercept_decay))
    design = np.stack([np.ones(len(k)), slope_part, intercept_part], axis=1) / losses[:, None]
    sse, a, b = solve(design[None], np.ones((1, len(k), 1)))[0, :, 0]
    residual = np.abs((sse + a * slope_part + b * intercept_part) / losses - 1).max()
    r2 = 1 - sse / (rows - 1)
    slope = np.sqrt(r2)
    slope0, intercept0 = slope - np.sqrt(max(a, 0) / (rows - 1)), np.sqrt(max(b, 0) / rows)
    return Recovered(*map(float, (slope0, intercept0, slope, r2, sse, residual)))
