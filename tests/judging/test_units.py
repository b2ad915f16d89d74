"""Where units switch and what they add, read from a run."""

import numpy as np
import pytest

from mlpfit.runs.run import load_run
from mlpfit.training.train import train

STEPS = ("trainer.max_steps=20", "logger=none")


def test_units_add_up_to_the_prediction_and_switch_at_their_kinks(quick):
    config = quick("experiment=parabola/eight_neurons", "replicas=2", *STEPS)
    train(config)
    run = load_run(config.folder)
    x = np.linspace(-5, 5, 9)[:, None]
    for step in (0, None):
        bias = run.parameters(step)[-1][1][..., 0]
        total = run.shares(x, step).sum(axis=2) + bias
        np.testing.assert_allclose(total, run.predict(x, step)[..., 0], rtol=1e-4, atol=1e-5)
        kinks = run.kinks(step)
        assert kinks.shape == (2, 8)
        for unit in range(8):
            (weight, bias), _ = run.parameters(step)
            z = kinks[:, unit] * weight[:, 0, unit] + bias[:, 0, unit]
            np.testing.assert_allclose(z, 0, atol=1e-5)


def test_a_linear_unit_has_neither(quick):
    config = quick("experiment=gradient/line_by_hand", *STEPS)
    train(config)
    run = load_run(config.folder)
    assert run.shares([[1.0]]).shape == (1, 1, 0)
    with pytest.raises(ValueError, match="hidden layer"):
        run.kinks()
