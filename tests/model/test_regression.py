"""The LightningModule and the LightningDataModule under a Trainer of the user's own."""

import csv
import logging
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import parabola
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from mlpfit.data.datamodule import ReplicaData
from mlpfit.model.regression import Regression

SGD = {"name": "sgd", "lr": 0.02}
# Validation after every batch; Lightning takes an interval of 1 alone for 1.0, an epoch.
EVERY_CHUNK = {"val_check_interval": 1, "check_val_every_n_epoch": None}


@pytest.fixture(autouse=True)
def quiet():
    """Lightning's tips, its use of a class that torch has deprecated, a loader's workers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        yield


@pytest.fixture
def trainer(tmp_path):
    def of(**options) -> pl.Trainer:
        given = {"accelerator": "cpu", "default_root_dir": tmp_path, "logger": False}
        given |= {"enable_progress_bar": False, "enable_model_summary": False}
        return pl.Trainer(**{**given, "enable_checkpointing": False, **options})

    return of


def net(seeds=(0,), optimizer=SGD, **options) -> Regression:
    return Regression(units=[1, 8, 1], optimizer=optimizer, seeds=list(seeds), **options)


def rows(seeds=(0,), steps=60, **options) -> ReplicaData:
    return ReplicaData(parabola(), seeds, steps=steps, **{"chunk_steps": 10, **options})


def scalars(folder, name) -> dict[int, float]:
    """step -> value of one column of the metrics.csv below a folder."""
    (file,) = folder.rglob("metrics.csv")
    with open(file, newline="") as table:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(table) if row[name]}


@pytest.mark.parametrize("order", [{}, {"order": "shuffle", "batch_size": 7}])
@pytest.mark.parametrize("optimizer", [SGD, {"name": "adam", "lr": 0.01}])
def test_one_step_a_batch_gives_the_losses_of_chunks_bit_for_bit(trainer, order, optimizer):
    histories = []
    for chunk_steps in (None, 1, 25, 1000):
        module = net([0, 1, 2], optimizer)
        fit = trainer(max_steps=60)
        fit.fit(module, rows([0, 1, 2], **order, chunk_steps=chunk_steps))
        assert fit.global_step == 60
        histories.append(module.history())
        assert histories[-1].shape == (60, 3)
    for other in histories[1:]:
        assert torch.equal(other, histories[0])


def test_a_stock_loader_of_rows_gives_the_same_losses_bit_for_bit(trainer):
    """(x, y) of torch's own loader, one batch an epoch, the Trainer's most usual way."""
    chunks, stock = net(), net()
    data = rows()
    trainer(max_steps=60).fit(chunks, data)
    table = TensorDataset(data.x[0], data.y[0])
    loader = DataLoader(table, batch_size=30)
    plain = trainer(max_steps=60, log_every_n_steps=1)
    plain.fit(stock, loader, loader)
    (after,) = plain.validate(stock, loader, verbose=False)
    with torch.no_grad():
        expected = torch.nn.functional.mse_loss(stock(data.x[0]), data.y[0])
    assert after["val/mse"] == pytest.approx(float(expected), rel=1e-6)
    assert torch.equal(stock.history(), chunks.history())


def test_a_stock_module_learns_from_one_step_a_batch_as_ours_does(trainer):
    class Stock(pl.LightningModule):
        """Linear layers of torch, one step a training_step, Lightning's own optimisation."""

        def __init__(self, like: Regression) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
            )
            self.losses: list[float] = []
            with torch.no_grad():
                for ours, theirs in zip(like.parameters(), self.net.parameters(), strict=True):
                    theirs.copy_(ours[0].T if theirs.ndim == 2 else ours[0, 0])

        def training_step(self, batch, index):
            loss = torch.nn.functional.mse_loss(self.net(batch["x"][0]), batch["y"][0])
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.02)

    ours = net()
    stock = Stock(ours)
    trainer(max_steps=60).fit(ours, rows())
    trainer(max_steps=60).fit(stock, rows(chunk_steps=None).train_dataloader())
    np.testing.assert_allclose(stock.losses, ours.history()[:, 0], rtol=1e-6)


def test_fit_validate_test_and_predict_with_the_plain_trainer(trainer):
    module, data = net([3, 4]), rows([3, 4], steps=300)
    plain = trainer(max_steps=300)
    (before,) = plain.validate(module, data, verbose=False)
    plain.fit(module, data)
    for stage, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        x, y = (torch.cat([batch[name] for batch in loader], 1) for name in ("x", "y"))
        with torch.no_grad():
            errors = ((module(x) - y) ** 2).mean((1, 2))
        evaluate = plain.validate if stage == "val" else plain.test
        (after,) = evaluate(module, data, verbose=False)
        assert after == {f"{stage}/mse": pytest.approx(float(errors.min()), rel=1e-5)}
    assert after["test/mse"] < before["val/mse"]
    (prediction,) = plain.predict(module, data)
    assert prediction.shape == (2, 30, 1)
    with torch.no_grad():
        assert torch.equal(prediction, module(data.x))


def test_early_stopping_ends_a_training_at_a_validation(trainer):
    module = net()
    stop = EarlyStopping("val/mse", min_delta=1e6, patience=2)  # nothing is ever so much better
    fit = trainer(max_steps=100, callbacks=[stop], **EVERY_CHUNK)
    fit.fit(module, rows(steps=100))
    assert fit.global_step == 30  # the first, and two that are no better
    assert len(module.history()) == 30
    assert stop.stopped_epoch == 0 and "val/mse" in fit.callback_metrics


def test_early_stopping_at_a_threshold_of_the_training_loss(trainer):
    module = net()
    stop = EarlyStopping("train/loss", stopping_threshold=1e6)
    fit = trainer(max_steps=100, callbacks=[stop], **EVERY_CHUNK)
    fit.fit(module, rows(steps=100))
    assert fit.global_step == 10


@pytest.mark.parametrize("monitor", ["train/loss", "val/mse"])
def test_the_best_checkpoint_is_that_of_the_smallest_monitored_number(trainer, monitor, tmp_path):
    module = net(optimizer={"name": "sgd", "lr": 0.05})
    best = ModelCheckpoint(tmp_path, "{step}", monitor=monitor, save_top_k=1)
    seen: dict[int, float] = {}

    class Seen(pl.Callback):
        def on_validation_end(self, trainer, *_):
            if not trainer.sanity_checking:
                seen[trainer.global_step] = float(trainer.callback_metrics[monitor])

    given = {"callbacks": [Seen(), best], "enable_checkpointing": True, **EVERY_CHUNK}
    fit = trainer(max_steps=60, **given)
    fit.fit(module, rows())
    assert best.best_model_path.endswith(f"step={min(seen, key=seen.get)}.ckpt")
    again = Regression.load_from_checkpoint(best.best_model_path)
    assert float(best.best_model_score) == min(seen.values())
    assert len(again.losses[0]) == min(seen, key=seen.get)


def test_learning_rate_and_metrics_reach_a_logger_at_optimiser_steps(trainer, tmp_path):
    module = net([0, 1], log_replicas=True)
    fit = trainer(
        max_steps=60,
        logger=CSVLogger(tmp_path),
        callbacks=[LearningRateMonitor()],
        log_every_n_steps=1,
        val_check_interval=2,
    )
    fit.fit(module, rows([0, 1]))
    ends = [9, 19, 29, 39, 49, 59]  # Lightning counts a step from 0
    losses = module.history()[ends]
    assert scalars(tmp_path, "lr-SGD") == dict.fromkeys([0, 10, 20, 30, 40, 50], 0.02)
    assert scalars(tmp_path, "train/loss") == pytest.approx(
        dict(zip(ends, losses.min(1).values.tolist(), strict=True))
    )
    for k in (0, 1):
        assert scalars(tmp_path, f"train/loss/seed_{k}") == pytest.approx(
            dict(zip(ends, losses[:, k].tolist(), strict=True))
        )
    assert list(scalars(tmp_path, "val/mse")) == [19, 39, 59]
    assert list(scalars(tmp_path, "val/mse/seed_1")) == [19, 39, 59]


def test_the_median_ranks_a_diverged_replica_above_all_others(trainer):
    module, data = net([0, 1, 2]), rows([0, 1, 2])
    with torch.no_grad():
        module.mlp.layers[0][0][1] = torch.nan
        x, y = (torch.cat([batch[n] for batch in data.val_dataloader()], 1) for n in ("x", "y"))
        errors = ((module(x) - y) ** 2).mean((1, 2))
    (after,) = trainer().validate(module, data, verbose=False)
    assert after["val/mse"] == pytest.approx(max(float(errors[0]), float(errors[2])), rel=1e-5)


def test_forward_takes_rows_for_all_replicas_or_for_each():
    module, x = net([0, 1, 2]), torch.linspace(-1, 1, 5)[:, None]
    shared, own = module(x), module(x.expand(3, 5, 1))
    assert shared.shape == own.shape == (3, 5, 1)
    assert torch.equal(shared, own)
    one = net([1])
    assert one(x).shape == (5, 1) and one(x[None]).shape == (1, 5, 1)
    torch.testing.assert_close(one(x), shared[1])


def test_a_training_goes_on_from_a_checkpoint_within_a_chunk(trainer, tmp_path):
    whole, halves = net(), net()
    given = {"order": "shuffle", "batch_size": 7, "chunk_steps": 40}
    trainer(max_steps=60).fit(whole, rows(**given))
    first = trainer(max_steps=25)
    first.fit(halves, rows(**given))
    first.save_checkpoint(tmp_path / "half.ckpt")
    again, rest = net(), trainer(max_steps=60)
    rest.fit(again, rows(**given), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert rest.global_step == 60
    assert torch.equal(again.history(), whole.history())


def test_a_fast_dev_run_takes_one_step(trainer):
    module = net()
    fit = trainer(fast_dev_run=True)
    fit.fit(module, rows())
    assert fit.global_step == 1 and len(module.history()) == 1
