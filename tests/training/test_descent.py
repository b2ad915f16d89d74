"""Gradient descent on linear problems has a closed form; runs and published numbers must obey
it."""

import numpy as np
import pytest

from mlpfit import load_run
from mlpfit.judging.published import tutorial


def closed_form(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, lr: float, steps: int
) -> np.ndarray:
    """w_k = w* + (I - lr H)^k (w_0 - w*) with H = 2 X'X: losses at w_0 ... w_{steps-1}."""
    design = np.hstack([np.ones_like(x), x])
    best = np.linalg.lstsq(design, y[:, 0], rcond=None)[0]
    shrink = np.eye(2) - lr * 2 * design.T @ design
    weights = [best + np.linalg.matrix_power(shrink, k) @ (start - best) for k in range(steps)]
    return np.array([((design @ w - y[:, 0]) ** 2).sum() for w in weights])


@pytest.mark.parametrize(
    "name, tolerance", [("line_by_hand", 1e-10), ("sine_by_hand", 1e-10), ("line_autograd", 1e-5)]
)
def test_descent_runs_follow_the_closed_form(reproduced, name, tolerance):
    run = load_run(reproduced[0] / "outputs/runs/gradient" / name)
    ((weight, bias),) = run.parameters(step=0)
    start = np.array([bias[0, 0, 0], weight[0, 0, 0]], dtype=float)
    steps = len(run.history["loss"])
    expected = closed_form(run.data["x"][0], run.data["y"][0], start, 1e-4, steps)
    np.testing.assert_allclose(run.history["loss"][:, 0], expected, rtol=tolerance)


def test_the_published_trace_of_line_autograd_obeys_the_closed_form():
    """L_k = L* + A (1 - 2 a (n - 1))^(2(k - 1)) + B (1 - 2 a n)^(2(k - 1)), n = 50, a = 1e-4: three
    constants for twenty values, both rates known beforehand."""
    trace = [n for n in tutorial("gradient").numbers if n.experiment == "gradient/line_autograd"]
    k = np.array([n.step for n in trace]) - 1
    losses = np.array([n.value for n in trace])
    design = np.stack(
        [np.ones(len(k)), (1 - 2e-4 * 49) ** (2 * k), (1 - 2e-4 * 50) ** (2 * k)], axis=1
    )
    constants = np.linalg.lstsq(design / losses[:, None], np.ones(len(k)), rcond=None)[0]
    assert len(trace) == 20
    np.testing.assert_allclose(design @ constants, losses, rtol=1e-5)


def test_least_squares_residuals_are_orthogonal_to_the_inputs(reproduced):
    run = load_run(reproduced[0] / "outputs/runs/plane/least_squares")
    residuals = run.data["y"][0] - run.predict(run.data["x"])[0]
    np.testing.assert_allclose(run.data["x"][0].T @ residuals, 0, atol=1e-10)
    assert abs(residuals.sum()) < 1e-10
    assert run.metrics["sse"][0] == pytest.approx((residuals**2).sum())
    assert run.history["loss"].shape == (0, 1)
