"""Descent on a standardised line in closed form: what the printed losses tell of the run that made
them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Recovered:
    """What a trace of losses tells of its unpublished data and start.

    slope0, intercept0: the start; slope: the optimum (its intercept is 0); r2 of the rows; sse: the
    least possible sum of squares; residual: largest relative deviation of the fitted trace from the
    printed one.
    """

    slope0: float
    intercept0: float
    slope: float
    r2: float
    sse: float
    residual: float


def recover(steps: np.ndarray, losses: np.ndarray, rows: int, lr: float) -> Recovered:
    """Fit L_k = L* + A (1 - 2 a (n - 1))^(2(k - 1)) + B (1 - 2 a n)^(2(k - 1)) to printed losses.

    On standardised rows the Hessian of the sum of squares is diagonal, 2(n - 1) for the slope and
    2n for the intercept, so descent from w_0 shrinks w_k - w* by 1 - 2a(n - 1) and 1 - 2an a step;
    A = (n - 1)(slope_0 - slope*)^2, B = n intercept_0^2, L* = (n - 1)(1 - R^2),
    slope*^2 = R^2. The signs of the start are those nearest to 0.
    """
    k = steps - 1
    design = np.stack(
        [np.ones(len(k)), (1 - 2 * lr * (rows - 1)) ** (2 * k), (1 - 2 * lr * rows) ** (2 * k)],
        axis=1,
    )
    best, a, b = np.linalg.lstsq(design / losses[:, None], np.ones(len(k)), rcond=None)[0]
    residual = float(np.abs(design @ [best, a, b] / losses - 1).max())
    r2 = 1 - best / (rows - 1)
    slope = np.sqrt(r2)
    slope0, intercept0 = slope - np.sqrt(max(a, 0) / (rows - 1)), np.sqrt(max(b, 0) / rows)
    return Recovered(
        float(slope0), float(intercept0), float(slope), float(r2), float(best), residual
    )
