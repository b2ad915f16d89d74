"""Laws of the LightningDataModule: what a Trainer is handed."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import parabola

from mlpfit.data.datamodule import FRESH_ROWS, ReplicaData
from mlpfit.data.order import Kind
from mlpfit.errors import ConfigError

ORDERS: dict[Kind, dict[str, int]] = {
    "full": {},
    "shuffle": {"batch_size": 7},
    "sequential": {"batch_size": 7},
    "slices": {"batch_size": 7, "start_below": 20},
    "consecutive": {"batch_size": 7, "start_below": 20},
    "blocks": {"batch_size": 4, "macro_batch": 10},
}


def data_of(order, seeds=(3, 5), **options) -> ReplicaData:
    return ReplicaData(parabola(), seeds, order=order, **ORDERS[order], **options)


@pytest.mark.parametrize("order", ORDERS)
def test_an_epoch_is_as_many_batches_as_there_are_and_the_next_goes_on(order):
    data = data_of(order)
    loader, expected = data.train_dataloader(), {"full": 1, "blocks": 9}.get(order, 5)
    epochs = [batch for _ in range(3) for batch in loader]
    assert len(loader) == data.batches_per_epoch == expected
    assert len(epochs) == 3 * expected
    for number, batch in enumerate(epochs):
        again = data.batch(number)
        assert batch.keys() == again.keys()
        assert all(torch.equal(batch[name], again[name]) for name in batch)


@pytest.mark.parametrize("order", ORDERS)
def test_a_batch_is_a_function_of_seed_and_number_alone(order):
    numbers = [40, 3, 17, 3, 99, 0]
    together, alone = data_of(order, [3, 5]), data_of(order, [5])
    for number in numbers:
        many, one, fresh = (d.batch(number) for d in (together, alone, data_of(order, [5])))
        rows = one["x"].shape[1]
        assert torch.equal(many["x"][1:, :rows], one["x"])
        assert torch.equal(one["y"], fresh["y"])


@pytest.mark.parametrize("order", sorted(set(ORDERS) - {"full", "slices", "consecutive"}))
def test_an_epoch_shows_every_row_once(order):
    data = data_of(order)
    for epoch in range(3):
        first, shown = epoch * data.batches_per_epoch, []
        for batch in map(data.batch, range(first, first + data.batches_per_epoch)):
            weights = batch.get("weights", torch.ones(batch["x"].shape[:2]))
            shown.append([batch["x"][k, w > 0, 0] for k, w in enumerate(weights)])
        for replica, parts in enumerate(zip(*shown, strict=True)):
            assert torch.equal(torch.cat(parts).sort().values, data.x[replica, :, 0].sort().values)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"batch_size": 7}, "batch_size=7: needs another order than full"),
        ({"order": "shuffle"}, "order=shuffle: needs batch_size"),
        ({"order": "shuffle", "batch_size": 1000}, "must be at most the 30 rows"),
        ({"order": "shuffle", "batch_size": 0}, "must be a whole number"),
        ({"order": "shuffle", "batch_size": 7, "macro_batch": 9}, "applies only with order=blocks"),
        ({"order": "slices", "batch_size": 7}, "needs start_below"),
        ({"order": "slices", "batch_size": 7, "start_below": 7}, "must be above the batch size"),
        ({"order": "blocks", "batch_size": 7}, "needs macro_batch"),
        ({"order": "blocks", "batch_size": 7, "macro_batch": 5}, "at most macro_batch=5"),
        ({"order": "shufle", "batch_size": 7}, "did you mean shuffle"),
        ({"streams": "x"}, "allowed are spawned, libraries, legacy"),
        ({"streams": "libraries", "order": "shuffle", "batch_size": 7}, "needs order=full"),
        ({"dtype": "int8"}, "allowed are float32, float64"),
        ({"seeds": []}, "at least one seed"),
        ({"fresh_rows": 0}, "must be a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given, message):
    with pytest.raises(ConfigError, match=message) as refused:
        ReplicaData(parabola(), **given)
    assert "\n" not in str(refused.value)


class Seen(pl.LightningModule):
    """Records the batches that it is given; its weight sums them up with the order in mind."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, index):
        self.seen.append(batch["x"])
        return (self.weight - batch["x"].mean()) ** 2

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
QUIET |= {"enable_model_summary": False, "enable_checkpointing": False}


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*no .validation_step.*")
@pytest.mark.parametrize("order", ["shuffle", "slices", "blocks"])
@pytest.mark.parametrize("each", [1, 3])
def test_a_resumed_training_has_the_batches_that_are_left(order, each, tmp_path):
    given = QUIET | {"accumulate_grad_batches": each, "default_root_dir": tmp_path}
    file = tmp_path / "half.ckpt"
    data, whole = data_of(order), Seen()
    pl.Trainer(max_steps=12, **given).fit(whole, data)
    for stop in range(1, 12):
        first = pl.Trainer(max_steps=stop, **given)
        half, rest = Seen(), Seen()
        first.fit(half, data)  # the same object as before
        first.save_checkpoint(file)
        pl.Trainer(max_steps=12, **given).fit(rest, data, ckpt_path=file, weights_only=True)
        seen = [*half.seen, *rest.seen]
        assert len(seen) == len(whole.seen)
        assert all(torch.equal(a, b) for a, b in zip(seen, whole.seen, strict=True))
        assert torch.equal(rest.weight, whole.weight)


def test_fresh_rows_are_those_of_the_seed_in_any_company_and_no_training_row():
    many, alone = (ReplicaData(parabola(), seeds, dtype="float64") for seeds in ([4, 9, 2], [9]))
    for use in ("validation", "test"):
        together = torch.cat([batch["x"] for batch in many.other(use)], 1)
        single = torch.cat([batch["x"] for batch in alone.other(use)], 1)
        assert single.shape == (1, FRESH_ROWS, 1)
        assert torch.equal(together[1], single[0])
        assert not torch.isin(single, alone.x).any()
    uses = ("test", "validation")
    assert not torch.isin(*(alone.other(use)[0]["x"] for use in uses)).any()


def test_validation_and_test_are_of_the_function_with_noise_of_its_deviation():
    data = ReplicaData(parabola(standardise=True, observed=20), [1, 2], dtype="float64")
    for fresh in (data.val_dataloader(), data.test_dataloader()):
        x, y = (torch.cat([b[name] for b in fresh], 1).numpy() for name in ("x", "y"))
        center, scale = data.arrays["center"][:, None], data.arrays["scale"][:, None]
        x, y = x * scale[..., :1] + center[..., :1], y * scale[..., 1:] + center[..., 1:]
        assert x.min() >= -2 and x.max() <= 3
        np.testing.assert_allclose((y - x**2).std(axis=1), 0.5, rtol=0.05)  # its own sd: 1 %


def test_prediction_is_at_every_row_generated_in_its_order():
    data = ReplicaData(parabola(observed=5), [0, 1], dtype="float64")
    (batch,) = data.predict_dataloader()
    np.testing.assert_array_equal(batch["x"].numpy(), data.arrays["pool_x"])


def test_it_says_what_is_in_it():
    data = ReplicaData(parabola(), range(3, 8), order="shuffle", batch_size=7)
    for part in (
        "parabola: 30 rows of 1 inputs",
        "5 replicas, seeds 3, 4, 5, ...",
        "epochs of 5 batches of 7 rows, some shorter, order shuffle",
        "torch.float32",
        f"{FRESH_ROWS} fresh rows",
    ):
        assert part in repr(data) == str(data)
    data.batch_size = 10
    assert "epochs of 3 batches of 10 rows, order shuffle" in repr(data)
    assert "epochs of 1 batch of all rows" in repr(ReplicaData(parabola()))
