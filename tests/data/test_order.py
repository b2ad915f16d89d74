"""Which rows each step sees, against the tutorials' own way of drawing them."""

import itertools

import numpy as np
import pytest
import torch

from mlpfit.config.compose import as_published, compose
from mlpfit.data import order
from mlpfit.data.datamodule import ReplicaData, draw
from mlpfit.training.run import make_data, make_module


def seen(experiment, seeds=(1234,)):
    """Row numbers of all steps (K, R, b)."""
    config = as_published(experiment)
    drawn = [draw(seed=seed, steps=config.steps, **config.sampling)[1] for seed in seeds]
    return order.stack(drawn).numbers()


def drawn(rng, kind, batch, steps):
    """Row numbers of the first steps of one replica with ten rows (K, 1, b)."""
    return order.Draws(order.Batching(kind, 10, batch), [rng]).between(0, steps).numbers()


def test_slices_are_the_start_indices_of_the_hand_written_loop():
    np.random.seed(1234)
    np.random.randn(1, 5), np.random.randn(5, 1)
    permutation = np.random.permutation(1024)
    expected = [
        permutation[i : i + 100] for i in (np.random.randint(0, 1000 - 100) for _ in range(1000))
    ]
    np.testing.assert_array_equal(seen("restoration/narrow")[:, 0], expected)


def test_blocks_visit_macro_batches_and_their_batches_in_a_new_order_each_epoch():
    np.random.seed(1234)
    np.random.randn(1, 100), np.random.randn(100, 1)
    rows = np.random.permutation(1024)
    expected = []
    for _ in range(30):
        for macro in np.random.permutation(2):
            part = rows[macro * 1000 : (macro + 1) * 1000]
            expected += [
                part[b * 10 : (b + 1) * 10] for b in np.random.permutation(-(-len(part) // 10))
            ]
    numbers = seen("restoration/framework")
    assert len(expected) == 3090
    for step, batch in enumerate(expected):
        shown = numbers[step, 0]
        np.testing.assert_array_equal(shown[shown >= 0], batch)


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_sequential_batches_are_those_of_a_loader_that_does_not_shuffle(batch):
    loader = [rows.tolist() for rows in torch.utils.data.DataLoader(np.arange(10), batch)]
    numbers = drawn(np.random.default_rng(0), "sequential", batch, 25)
    for step, rows in enumerate(numbers[:, 0]):
        assert rows[rows >= 0].tolist() == loader[step % len(loader)]


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_shuffle_shows_every_row_once_an_epoch(batch):
    steps = -(-10 // batch)
    numbers = drawn(np.random.default_rng(0), "shuffle", batch, 3 * steps)
    for epoch in range(3):
        part = numbers[epoch * steps : (epoch + 1) * steps]
        assert sorted(part[part >= 0]) == list(range(10))


@pytest.mark.parametrize("experiment", ["restoration/narrow", "restoration/framework"])
def test_a_batch_shows_the_rows_of_its_step(experiment):
    config = as_published(experiment)
    data = ReplicaData(seeds=(1234, 1235), **config.sampling, dtype="float64")
    numbers, replica = seen(experiment, (1234, 1235)), np.arange(2)[:, None]
    for step in (0, 59, 299, 3, 102, 103):
        part, batch = numbers[step], data.batch(step)
        part = part[:, : (part >= 0).sum(1).max()]
        filled = np.where(part < 0, part[:, :1], part)
        np.testing.assert_array_equal(batch["x"], data.arrays["x"][replica, filled])
        np.testing.assert_array_equal(batch["y"], data.arrays["y"][replica, filled])
        weights = batch.get("weights", np.ones(part.shape))
        np.testing.assert_array_equal(weights, part >= 0)


@pytest.mark.parametrize("init", ["normal", "torch", "ones"])
def test_a_legacy_run_draws_rows_weights_and_order_from_one_generator(init):
    experiment = ["experiment=restoration/narrow", "target.noise=0.3", "target.inputs=uniform"]
    experiment += ["target.float32=false"]
    config = compose([*experiment, f"model.init={init}", "trainer.precision=64-true"])
    np.random.seed(config.seed)
    x = np.random.uniform(config.target.low, config.target.high, (1024, 1))
    y = config.target(x) + 0.3 * np.random.normal(size=(1024, 1))
    weights, expected = make_module(config).mlp.layers, []
    for weight, bias in weights:
        if init == "normal":
            expected += [np.random.normal(size=weight.shape[1:])]
        if init == "torch":
            bound = weight.shape[1] ** -0.5
            expected += [np.random.uniform(-bound, bound, weight[0].T.shape).T]
            expected += [np.random.uniform(-bound, bound, bias[0].shape)]
    made = [weight for weight, _ in weights] if init == "normal" else itertools.chain(*weights)
    for ours, theirs in zip(made if expected else (), expected, strict=True):
        np.testing.assert_allclose(ours[0].detach(), theirs, rtol=1e-12)
    permutation, starts = np.random.permutation(1024), np.random.randint(0, 900, 1000)
    data = make_data(config)
    np.testing.assert_allclose(data.arrays["y"][0], y, rtol=1e-12)
    ours = data.order_of(0, 1000)
    np.testing.assert_array_equal(ours.rows[0], permutation)
    np.testing.assert_array_equal(ours.starts[0], starts)
