"""The metrics against numpy's and torch's own formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlpfit.engine.metrics import metric

RNG = np.random.default_rng(5)
OUTPUTS, Y = RNG.normal(size=(2, 3, 37, 2)) * 2
LOGITS, CLASSES = RNG.normal(size=(3, 37, 4)) * 3, RNG.integers(0, 4, (3, 37, 1)).astype(float)
TWO = (CLASSES > 1).astype(float)


def of(name: str, loss: str, outputs: np.ndarray, y: np.ndarray, classes: bool = True):
    return metric(name, loss, outputs, y, classes)


def test_errors_are_means_over_rows_and_outputs():
    error = OUTPUTS - Y
    expected = {
        "mse": (error**2).mean((1, 2)),
        "sse": (error**2).sum((1, 2)),
        "rmse": np.sqrt((error**2).mean((1, 2))),
        "mae": np.abs(error).mean((1, 2)),
        "r2": (1 - (error**2).sum(1) / ((Y - Y.mean(1, keepdims=True)) ** 2).sum(1)).mean(1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(of(name, "mse", OUTPUTS, Y, False), values, rtol=1e-12)


def test_losses_are_those_of_torch():
    outputs, y = torch.from_numpy(OUTPUTS), torch.from_numpy(Y)
    for name, function in {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
        "smooth_l1": functional.smooth_l1_loss,
        "log_cosh": lambda a, b: torch.log(torch.cosh(a - b)).mean(),
    }.items():
        expected = [float(function(outputs[k], y[k])) for k in range(3)]
        np.testing.assert_allclose(of("loss", name, OUTPUTS, Y), expected, rtol=1e-12)
    logits, classes = torch.from_numpy(LOGITS), torch.from_numpy(CLASSES[..., 0]).long()
    expected = [float(functional.cross_entropy(logits[k], classes[k])) for k in range(3)]
    np.testing.assert_allclose(of("loss", "cross_entropy", LOGITS, CLASSES), expected, rtol=1e-12)
    one, two = logits[..., :1], torch.from_numpy(TWO)
    expected = [
        float(functional.binary_cross_entropy_with_logits(one[k], two[k])) for k in range(3)
    ]
    np.testing.assert_allclose(of("loss", "bce", LOGITS[..., :1], TWO), expected, rtol=1e-12)


def test_errors_of_logits_are_those_of_the_probabilities():
    softmax = torch.softmax(torch.from_numpy(LOGITS), -1).numpy()
    truth = np.arange(4) == CLASSES
    expected = ((softmax - truth) ** 2).mean((1, 2))
    np.testing.assert_allclose(of("mse", "cross_entropy", LOGITS, CLASSES), expected, rtol=1e-12)
    sigmoid = 1 / (1 + np.exp(-LOGITS[..., :1]))
    expected = np.abs(sigmoid - TWO).mean((1, 2))
    np.testing.assert_allclose(of("mae", "bce", LOGITS[..., :1], TWO), expected, rtol=1e-12)


def test_accuracy_is_the_share_of_rows_with_the_right_class():
    for loss, outputs, y, chosen in (
        ("cross_entropy", LOGITS, CLASSES, LOGITS.argmax(-1)),
        ("bce", LOGITS[..., :1], TWO, LOGITS[..., 0] > 0),
        ("mse", LOGITS[..., :1], TWO, LOGITS[..., 0] > 0.5),
    ):
        expected = (chosen == y[..., 0]).mean(1)
        np.testing.assert_allclose(of("accuracy", loss, outputs, y), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["loss", "mse", "mae", "r2", "accuracy"])
def test_a_replica_has_the_same_bits_alone_and_among_others(name: str):
    many = of(name, "cross_entropy", LOGITS, CLASSES)
    alone = of(name, "cross_entropy", LOGITS[1:2], CLASSES[1:2])
    assert many[1] == alone[0]


def test_r2_of_constant_values_and_numbers_of_diverged_nets_are_none():
    assert np.isnan(of("r2", "mse", OUTPUTS, np.ones_like(Y), False)).all()
    lost = np.full_like(LOGITS, np.nan)
    assert np.isnan(of("loss", "cross_entropy", lost, CLASSES)).all()
