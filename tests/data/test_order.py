"""Which rows each step sees, against the tutorials' own way of drawing them."""

import numpy as np
import pytest
import torch
from conftest import parabola

from mlpfit.config.compose import compose
from mlpfit.data.datamodule import ReplicaData, row_numbers


def seen(experiment, seeds=(1234,)):
    """Row numbers (K, R, b) of all steps, and which of them count."""
    config = compose([f"experiment={experiment}"])
    chunk = ReplicaData(seeds=seeds, **config.sampling).chunk(0, config.trainer.max_steps)
    return *(part.numpy() for part in row_numbers(chunk)), chunk["filled_up"]


def test_slices_are_the_start_indices_of_the_hand_written_loop():
    np.random.seed(1234)
    np.random.randn(1, 5), np.random.randn(5, 1)
    permutation = np.random.permutation(1024)
    expected = [
        permutation[i : i + 100] for i in (np.random.randint(0, 1000 - 100) for _ in range(1000))
    ]
    rows, _, filled_up = seen("restoration/narrow")
    assert not filled_up
    np.testing.assert_array_equal(rows[:, 0], expected)


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
    numbers, inside, filled_up = seen("restoration/framework")
    assert len(expected) == 3090 and filled_up
    for step, batch in enumerate(expected):
        np.testing.assert_array_equal(numbers[step, 0][inside[step, 0]], batch)


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_shuffle_shows_every_row_once_an_epoch(batch):
    steps = -(-10 // batch)
    given = {"steps": 3 * steps, "order": "shuffle", "batch_size": batch}
    numbers, inside = row_numbers(ReplicaData(parabola(points=10), **given).chunk(0, 3 * steps))
    for epoch in range(3):
        part = slice(epoch * steps, (epoch + 1) * steps)
        assert sorted(numbers[part][inside[part]]) == list(range(10))


def test_chunks_tile_the_whole():
    config = compose(["experiment=restoration/framework"])
    data = ReplicaData(seeds=(1234, 1235), **config.sampling)
    whole = row_numbers(data.chunk(0, 300))
    for first in range(0, 300, 60):
        for part, of_whole in zip(row_numbers(data.chunk(first, first + 60)), whole, strict=True):
            assert torch.equal(part, of_whole[first : first + 60])
