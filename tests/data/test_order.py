"""Which rows each step sees, against the tutorials' own way of drawing them."""

import numpy as np
import pytest

from mlpfit.config.compose import compose
from mlpfit.data import order
from mlpfit.data.datamodule import draw


def test_slices_are_the_start_indices_of_the_hand_written_loop():
    np.random.seed(1234)
    np.random.randn(1, 5), np.random.randn(5, 1)
    permutation = np.random.permutation(1024)
    expected = [
        permutation[i : i + 100] for i in (np.random.randint(0, 1000 - 100) for _ in range(1000))
    ]
    config = compose(["experiment=restoration/narrow"])
    batches, weights = order.stack([draw(seed=1234, **config.sampling)[1]]).batches(0, 1000)
    assert weights is None
    np.testing.assert_array_equal(batches[:, 0], expected)


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
    config = compose(["experiment=restoration/framework"])
    batches, weights = order.stack([draw(seed=1234, **config.sampling)[1]]).batches(0, 3090)
    assert len(expected) == 3090
    for step, batch in enumerate(expected):
        np.testing.assert_array_equal(batches[step, 0][weights[step, 0] == 1], batch)


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_shuffle_shows_every_row_once_an_epoch(batch):
    steps = -(-10 // batch)
    drawn = order.draw(
        np.random.default_rng(0), "shuffle", rows=10, batch=batch, steps=3 * steps, macro=0, below=0
    )
    batches, weights = order.stack([drawn]).batches(0, 3 * steps)
    seen = np.ones_like(batches) if weights is None else weights
    for epoch in range(3):
        part = slice(epoch * steps, (epoch + 1) * steps)
        assert sorted(batches[part][seen[part] == 1]) == list(range(10))


def test_blocks_of_steps_tile_the_whole():
    config = compose(["experiment=restoration/framework"])
    whole = order.stack([draw(seed=seed, **config.sampling)[1] for seed in (1234, 1235)])
    batches, weights = whole.batches(0, 300)
    for first in range(0, 300, 60):
        part, part_weights = whole.batches(first, first + 60)
        np.testing.assert_array_equal(part, batches[first : first + 60])
        np.testing.assert_array_equal(part_weights, weights[first : first + 60])
