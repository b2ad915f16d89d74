"""The LightningModule and the LightningDataModule under a Trainer of the user's own: what is
logged, monitored, saved and resumed."""

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
from mlpfit.training.callbacks import History

SGD = {"name": "sgd", "lr": 0.02}
EVERY_TEN = {"val_check_interval": 10, "check_val_every_n_epoch": None}
SHUFFLE = {"order": "shuffle", "batch_size": 7}


@pytest.fixture(autouse=True)
def quiet():
    """Lightning's tips, its use of a class that torch has deprecated, a loader's workers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
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


def rows(seeds=(0,), **options) -> ReplicaData:
    return ReplicaData(parabola(), seeds, **options)


def scalars(folder, name) -> dict[int, float]:
    """step -> value of one column of the metrics.csv below a folder."""
    (file,) = folder.rglob("metrics.csv")
    with open(file, newline="") as table:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(table) if row[name]}


def test_a_stock_loader_of_rows_gives_the_same_losses_bit_for_bit(trainer):
    """(x, y) of torch's own loader, one batch an epoch, the Trainer's most usual way."""
    ours, stock = net(), net()
    data, of_ours, of_stock = rows(), History(), History()
    trainer(max_steps=60, callbacks=[of_ours]).fit(ours, data)
    table = TensorDataset(data.x[0], data.y[0])
    loader = DataLoader(table, batch_size=30)
    plain = trainer(max_steps=60, log_every_n_steps=1, callbacks=[of_stock])
    plain.fit(stock, loader, loader)
    (after,) = plain.validate(stock, loader, verbose=False)
    with torch.no_grad():
        expected = torch.nn.functional.mse_loss(stock(data.x[0]), data.y[0])
    assert after["val/mse"] == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_array_equal(of_stock.losses(1), of_ours.losses(1))
    assert of_ours.losses(1).shape == (60, 1)


def test_a_stock_module_learns_from_the_same_batches_as_ours_does(trainer):
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

    ours, history = net(), History()
    stock = Stock(ours)
    trainer(max_steps=60, callbacks=[history]).fit(ours, rows())
    trainer(max_steps=60).fit(stock, rows().train_dataloader())
    np.testing.assert_allclose(stock.losses, history.losses(1)[:, 0], rtol=1e-6)


def test_fit_validate_test_and_predict_with_the_plain_trainer(trainer):
    module, data = net([3, 4]), rows([3, 4])
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
    stop = EarlyStopping("val/mse", min_delta=1e6, patience=2)  # nothing is ever so much better
    fit = trainer(max_steps=100, callbacks=[stop], **EVERY_TEN)
    fit.fit(net(), rows())
    assert fit.global_step == 30  # the first, and two that are no better
    assert stop.stopped_epoch == 29 and "val/mse" in fit.callback_metrics


def test_early_stopping_at_a_threshold_of_the_training_loss(trainer):
    stop = EarlyStopping("train/loss", stopping_threshold=1e6)
    fit = trainer(max_steps=100, callbacks=[stop], **EVERY_TEN)
    fit.fit(net(), rows())
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

    given = {"callbacks": [Seen(), best], "enable_checkpointing": True, **EVERY_TEN}
    fit = trainer(max_steps=60, **given)
    fit.fit(module, rows())
    assert best.best_model_path.endswith(f"step={min(seen, key=seen.get)}.ckpt")
    again = Regression.load_from_checkpoint(best.best_model_path)
    assert float(best.best_model_score) == min(seen.values())
    if monitor == "val/mse":
        (after,) = trainer().validate(again, rows(), verbose=False)
        assert after["val/mse"] == pytest.approx(min(seen.values()), rel=1e-6)


def test_learning_rate_and_metrics_reach_a_logger_at_optimiser_steps(trainer, tmp_path):
    module, history = net([0, 1], log_replicas=True), History()
    fit = trainer(
        max_steps=60,
        logger=CSVLogger(tmp_path),
        callbacks=[LearningRateMonitor("step"), history],
        log_every_n_steps=10,
        val_check_interval=20,
        check_val_every_n_epoch=None,
    )
    fit.fit(module, rows([0, 1]))
    ends = [9, 19, 29, 39, 49, 59]  # Lightning counts a step from 0
    losses = history.losses(2)[ends]
    assert set(scalars(tmp_path, "lr-SGD").values()) == {0.02}
    assert scalars(tmp_path, "train/loss") == pytest.approx(
        dict(zip(ends, losses.min(1).tolist(), strict=True))
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


@pytest.mark.parametrize("half", [23, 25])
def test_a_training_goes_on_from_a_checkpoint_within_an_epoch_and_at_its_end(
    trainer, tmp_path, half
):
    whole, halves = History(), History()
    trainer(max_steps=60, callbacks=[whole]).fit(net(), rows(**SHUFFLE))
    first = trainer(max_steps=half, callbacks=[History()])
    first.fit(net(), rows(**SHUFFLE))
    first.save_checkpoint(tmp_path / "half.ckpt")
    rest = trainer(max_steps=60, callbacks=[halves])
    rest.fit(net(), rows(**SHUFFLE), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert rest.global_step == 60
    np.testing.assert_array_equal(halves.losses(1), whole.losses(1))


def test_a_fast_dev_run_takes_one_step(trainer):
    history = History()
    fit = trainer(fast_dev_run=True, callbacks=[history])
    fit.fit(net(), rows())
    assert fit.global_step == 1 and len(history.losses(1)) == 1
