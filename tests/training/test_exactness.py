"""Seeded tutorials are followed step by step; everything is recomputed here without mlpfit."""

import numpy as np
import pytest
import torch

from mlpfit import load_run
from mlpfit.config.compose import compose
from mlpfit.training.train import train


def parabola_loop(kind=torch.float32, shift=0.0, steps=5000):
    """Losses and predictions of the page's loop; shift: relative change of its targets."""
    np.random.seed(19)
    torch.manual_seed(19)
    x = np.random.uniform(-5, 5, 100)
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    net = net.to(kind)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    rows, truth = (torch.from_numpy(v).reshape(-1, 1).to(kind) for v in (x, x * x * (1 + shift)))
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(net(rows), truth)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    grid = torch.from_numpy(np.linspace(-5, 5, 100)[:, None]).to(kind)
    return np.array(losses), net(grid).detach().numpy()


def parabola_run(tmp_path, *overrides):
    config = ["experiment=parabola/eight_neurons", "logger=none", f"output_dir={tmp_path}/outputs"]
    train(config := compose([*config, *overrides]))
    return load_run(config.folder)


@pytest.mark.slow
def test_parabola_is_the_plain_pytorch_loop(tmp_path):
    losses, expected = parabola_loop()
    run = parabola_run(tmp_path, "engine=false")
    np.testing.assert_allclose(run.history["loss"][:, 0], losses, rtol=1e-4)
    grid = np.linspace(-5, 5, 100)[:, None]
    np.testing.assert_allclose(run.predict(grid)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1000, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_engine_takes_the_steps_of_the_plain_loop(tmp_path, steps):
    """Descent at the edge of stability multiplies rounding errors, so in float64."""
    losses, expected = parabola_loop(torch.float64, steps=steps)
    run = parabola_run(tmp_path, "trainer.precision=64-true", f"trainer.max_steps={steps}")
    np.testing.assert_allclose(run.history["loss"][:, 0], losses, rtol=1e-7)
    grid = np.linspace(-5, 5, 100)[:, None]
    np.testing.assert_allclose(run.predict(grid)[0], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_the_reproduced_parabola_differs_from_the_loop_as_loops_differ_by_rounding(reproduced):
    """As far as the loop from itself with targets changed in the last digit, up to each step."""
    (losses, _), (up, _), (down, _) = (parabola_loop(shift=k * 2.0**-23) for k in (0, 1, -1))
    spread = np.maximum(abs(up - losses), abs(down - losses))
    run = load_run(reproduced[0] / "outputs/runs/parabola/eight_neurons")
    difference = abs(run.history["loss"][:, 0] - losses)
    np.testing.assert_allclose(run.history["loss"][:20, 0], losses[:20], rtol=1e-5)
    assert (np.maximum.accumulate(difference) <= 10 * np.maximum.accumulate(spread)).all()


def hand_written(hidden: int, activation: bool) -> tuple[list[float], np.ndarray]:
    """Losses and final predictions of the page's arithmetic in numpy, float64."""
    np.random.seed(1234)
    w1, w2 = np.random.randn(1, hidden), np.random.randn(hidden, 1)
    b1, b2 = np.zeros(hidden), np.zeros(1)
    grid = np.linspace(-3, 3, 1024, dtype=np.float32)[:, None]
    shuffled = grid[np.random.permutation(1024)]

    def forward(x):
        z = x @ w1 + b1
        h = z * (z > 0) if activation else z
        return h, h @ w2 + b2

    losses = []
    for _ in range(1000):
        start = np.random.randint(0, 900)
        x = shuffled[start : start + 100]
        y = (2 * np.sin(x.astype(np.float64)) + 5).astype(np.float32)
        h, prediction = forward(x)
        losses.append(0.5 * np.mean((y - prediction) ** 2))
        error = (prediction - y) / 100
        below = (error @ w2.T) * ((h > 0) if activation else 1)
        w2, b2 = w2 - 0.01 * (h.T @ error), b2 - 0.01 * error.sum(0)
        w1, b1 = w1 - 0.01 * (x.T @ below), b1 - 0.01 * below.sum(0)
    return losses, forward(grid)[1]


def test_restoration_is_the_hand_written_arithmetic(reproduced):
    grid = np.linspace(-3, 3, 1024, dtype=np.float32)[:, None]
    pages = (("narrow", 5, True), ("wide", 100, True), ("linear", 5, False))
    for name, hidden, activation in pages:
        losses, prediction = hand_written(hidden, activation)
        run = load_run(reproduced[0] / "outputs/runs/restoration" / name)
        np.testing.assert_allclose(run.history["loss"][:, 0], losses, rtol=1e-9)
        np.testing.assert_allclose(run.predict(grid)[0], prediction, rtol=1e-9)


def test_framework_is_momentum_descent_over_puzzlelibs_blocks(reproduced):
    np.random.seed(1234)
    w = [np.random.randn(1, 100), np.zeros((1, 100)), np.random.randn(100, 1), np.zeros((1, 1))]
    w = [v.astype(np.float32) for v in w]
    x = np.linspace(-3, 3, 1024, dtype=np.float32)[np.random.permutation(1024)][:, None]
    y = (2 * np.sin(x.astype(np.float64)) + 5).astype(np.float32)
    momentum = [np.zeros_like(v) for v in w]
    losses: list[float] = []
    while len(losses) < 200:
        for macro in np.random.permutation(2):
            part = slice(macro * 1000, min(macro * 1000 + 1000, 1024))
            for block in np.random.permutation(-(-len(x[part]) // 10)):
                a, b = (v[part][block * 10 : block * 10 + 10] for v in (x, y))
                h = np.maximum(a @ w[0] + w[1], 0)
                error = h @ w[2] + w[3] - b
                losses.append(0.5 * float(np.mean(error**2)))
                error = error / np.float32(len(a))
                below = (error @ w[2].T) * (h > 0)
                biases = [v.sum(0, keepdims=True) for v in (below, error)]
                slopes = [a.T @ below, biases[0], h.T @ error, biases[1]]
                momentum = [np.float32(0.9) * m + g for m, g in zip(momentum, slopes, strict=True)]
                w = [v - np.float32(0.01) * m for v, m in zip(w, momentum, strict=True)]
    run = load_run(reproduced[0] / "outputs/runs/restoration/framework")
    np.testing.assert_allclose(run.history["loss"][:200, 0], losses[:200], rtol=1e-3)
