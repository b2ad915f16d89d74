"""Laws of the LightningDataModule: what a Trainer is handed."""

import numpy as np
import pytest
import torch
from conftest import parabola

from mlpfit.data.datamodule import FRESH_ROWS, ReplicaData, batches
from mlpfit.data.order import Kind

ORDERS: dict[Kind, dict[str, int]] = {
    "full": {},
    "shuffle": {"batch_size": 7},
    "slices": {"batch_size": 7, "start_below": 20},
    "blocks": {"batch_size": 4, "macro_batch": 10},
}


@pytest.mark.parametrize("order", ORDERS)
def test_chunks_of_any_length_are_the_same_steps_one_after_another(order):
    given = {"steps": 23, "order": order, **ORDERS[order]}
    single = list(ReplicaData(parabola(), [3, 5], **given, chunk_steps=None).train_dataloader())
    assert len(single) == 23
    for chunk_steps, stops in ((5, ()), (23, (1, 2, 11)), (100, ())):
        data = ReplicaData(parabola(), [3, 5], **given, chunk_steps=chunk_steps, stops=stops)
        chunks = [batches(chunk) for chunk in data.train_dataloader()]
        assert len(chunks) == len(data.train_dataloader())
        steps = [
            {k: chunk[k][k_step] for k in ("x", "y", "weights") if chunk.get(k) is not None}
            for chunk in chunks
            for k_step in ([0] * chunk["steps"] if "steps" in chunk else range(len(chunk["x"])))
        ]
        for step, expected in zip(steps, single, strict=True):
            assert step.keys() == expected.keys()
            assert all(torch.equal(step[k], v) for k, v in expected.items())


def test_a_chunk_ends_at_every_stop_and_at_the_last_step():
    data = ReplicaData(parabola(), steps=23, chunk_steps=10, stops=[0, 1, 15])
    assert data.boundaries == [0, 1, 10, 15, 20, 23]


def test_fresh_rows_are_those_of_the_seed_in_any_company_and_no_training_row():
    many, alone = (
        ReplicaData(parabola(), seeds, steps=1, dtype="float64") for seeds in ([4, 9, 2], [9])
    )
    for use in ("validation", "test"):
        together = torch.cat([batch["x"] for batch in many.fresh(use)], 1)
        single = torch.cat([batch["x"] for batch in alone.fresh(use)], 1)
        assert single.shape == (1, FRESH_ROWS, 1)
        assert torch.equal(together[1], single[0])
        assert not torch.isin(single, alone.x).any()
    uses = ("test", "validation")
    assert not torch.isin(*(alone.fresh(use)[0]["x"] for use in uses)).any()


def test_validation_and_test_are_of_the_function_with_noise_of_its_deviation():
    data = ReplicaData(parabola(standardise=True, observed=20), [1, 2], steps=1, dtype="float64")
    for fresh in (data.val_dataloader(), data.test_dataloader()):
        x, y = (torch.cat([b[name] for b in fresh], 1).numpy() for name in ("x", "y"))
        center, scale = data.arrays["center"][:, None], data.arrays["scale"][:, None]
        x, y = x * scale[..., :1] + center[..., :1], y * scale[..., 1:] + center[..., 1:]
        assert x.min() >= -2 and x.max() <= 3
        np.testing.assert_allclose((y - x**2).std(axis=1), 0.5, rtol=0.05)  # its own sd: 1 %


def test_prediction_is_at_every_row_generated_in_its_order():
    data = ReplicaData(parabola(observed=5), [0, 1], steps=1, dtype="float64")
    (batch,) = data.predict_dataloader()
    np.testing.assert_array_equal(batch["x"].numpy(), data.arrays["pool_x"])


def test_it_says_what_is_in_it():
    given = {"steps": 50, "order": "shuffle", "batch_size": 7, "chunk_steps": 20}
    said = repr(ReplicaData(parabola(), range(3, 8), **given))
    for part in (
        "parabola: 30 rows of 1 inputs",
        "5 replicas, seeds 3, 4, 5, ...",
        "50 steps on shuffle of 7 in 3 chunks",
        "torch.float32",
        f"{FRESH_ROWS} fresh rows",
    ):
        assert part in said
