"""The closed form of descent on a standardised line."""

import numpy as np
import pytest

from mlpfit.tutorials.gradient.closed_form import recover


def test_a_known_descent_is_recovered_from_its_printed_losses():
    rng = np.random.default_rng(3)
    x = rng.normal(size=50)
    y = 2 * x + rng.normal(size=50)
    x, y = ((v - v.mean()) / v.std(ddof=1) for v in (x, y))
    slope, intercept, losses = -0.3, 0.7, []
    for _ in range(200):
        error = slope * x + intercept - y
        losses.append(float(f"{(error**2).sum():.7g}"))
        slope, intercept = slope - 1e-4 * 2 * (error @ x), intercept - 1e-4 * 2 * error.sum()
    steps = np.arange(10, 201, 10)
    found = recover(steps, np.array(losses)[steps - 1], rows=50, lr=1e-4)
    r = np.corrcoef(x, y)[0, 1]
    assert found.residual < 1e-6
    assert found.r2 == pytest.approx(r**2, abs=1e-4) and found.slope == pytest.approx(r, abs=1e-4)
    assert found.slope0 == pytest.approx(-0.3, abs=0.02) and found.intercept0 == pytest.approx(
        0.7, abs=0.02
    )
