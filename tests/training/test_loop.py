"""Trainings that Lightning's own loop takes: what the engine does not do, said in one line."""

import csv
import os

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from mlpfit import ConfigError, RunError, load_run
from mlpfit.model import losses
from mlpfit.runs.identity import identity
from mlpfit.training import callbacks
from mlpfit.training.run import make_data, make_module
from mlpfit.training.train import train
from mlpfit.training.trainer import quiet_lightning

SMALL = ("experiment=parabola/eight_neurons", "trainer.max_steps=40", "trainer.chunk_steps=10")
SMALL += ("logger=none",)
EMA = "lightning.pytorch.callbacks.EMAWeightAveraging"
SWA = "lightning.pytorch.callbacks.StochasticWeightAveraging"
WITH_EMA = f"+callbacks.mean={{_target_: {EMA}, decay: 0.9}}"
WITH_SWA = f"+callbacks.mean={{_target_: {SWA}, swa_lrs: 0.01, swa_epoch_start: 5}}"
SHUFFLE = ("data.order=shuffle", "data.batch_size=30", "streams=spawned", "optimizer.lr=0.001")


def trained(config):
    train(config)
    return load_run(config.folder)


def plain(config, optimizer, before_update=lambda parameters: None) -> list[float]:
    """Losses of a loop of torch on the batches of the config."""
    module, data, values = make_module(config), make_data(config), []
    optimizer = optimizer(module.parameters())
    for number in range(config.steps):
        batch = data.batch(number)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in config.trainer.precision):
            loss = losses.loss(config.loss, module(batch["x"]), batch["y"]).sum()
        loss.backward()
        before_update(module.parameters())
        optimizer.step()
        values.append(loss.item())
    return values


def sgd(lr=0.02):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def clip(parameters):
    torch.nn.utils.clip_grad_norm_(list(parameters), 1.0)


CASES = {  # override -> what is said to be outside the engine, the plain loop
    ("engine=false",): ("engine=false", sgd()),
    ("optimizer=adagrad", "optimizer.lr=0.02"): (
        "optimizer=adagrad",
        lambda parameters: torch.optim.Adagrad(parameters, lr=0.02),
    ),
    ("optimizer=adamw", "optimizer.lr=0.02", "+optimizer.amsgrad=true"): (
        "optimizer.amsgrad=True",
        lambda parameters: torch.optim.AdamW(parameters, lr=0.02, amsgrad=True),
    ),
    ("model.activation=gelu",): ("model.activation=gelu", sgd()),
    ("loss=log_cosh",): ("loss=log_cosh", sgd()),
    ("+trainer.gradient_clip_val=1",): ("trainer.gradient_clip_val=1", sgd(), clip),
    ("engine=false", *SHUFFLE): ("engine=false", sgd(0.001)),
}


@pytest.mark.parametrize("overrides", CASES)
def test_the_losses_are_those_of_a_plain_loop_and_one_line_says_why(quick, capsys, overrides):
    reason, optimizer, *more = CASES[overrides]
    config = quick(*SMALL, *overrides)
    run = trained(config)
    assert run.provenance["outside_engine"] == f"{reason} is outside the engine"
    printed = " ".join(capsys.readouterr().out.split())
    line = f"parabola/eight_neurons: trained step by step, since {reason} is outside the engine"
    assert printed.count(line) == printed.count("step by step") == 1
    expected = plain(config, optimizer, *more)
    np.testing.assert_allclose(run.history["loss"][:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("loss", ["mae", "huber", "smooth_l1", "half_mse"])
def test_the_engine_trains_what_torch_does(quick, loss):
    given = [f"loss={loss}", "model.activation=sigmoid", "optimizer=rmsprop", "optimizer.lr=0.01"]
    config = quick(*SMALL, *given)
    run = trained(config)
    assert run.provenance["outside_engine"] is None
    expected = plain(config, torch.optim.RMSprop)
    np.testing.assert_allclose(run.history["loss"][:, 0], expected, rtol=1e-4)
    errors = run.predict(run.data["x"]) - run.data["y"]
    assert run.metrics["mse"] == pytest.approx((errors**2).mean((1, 2)), rel=1e-5)


def test_bfloat16_is_that_of_autocast(quick):
    config = quick(*SMALL, "trainer.precision=bf16-mixed")
    losses_of = trained(config).history["loss"][:5, 0]
    # A number of bfloat16 has eight bits.
    np.testing.assert_allclose(losses_of, plain(config, sgd())[:5], rtol=2e-2)


@pytest.mark.parametrize(
    "overrides",
    [("engine=false",), (WITH_EMA,), (WITH_SWA, "trainer.max_epochs=20"), ("loss=log_cosh",)],
)
def test_metrics_are_those_of_the_weights_that_are_kept(quick, overrides):
    run = trained(quick(*SMALL, *overrides))
    errors = run.predict(run.data["x"]) - run.data["y"]
    assert run.metrics["mse"] == pytest.approx((errors**2).mean((1, 2)), rel=1e-5)


def test_averaged_weights_are_those_of_lightnings_callback(quick, tmp_path):
    config = quick(*SMALL, WITH_EMA)
    module = make_module(config)
    trainer = pl.Trainer(
        max_steps=40,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        callbacks=[EMAWeightAveraging(decay=0.9)],
    )
    with quiet_lightning():
        trainer.fit(module, make_data(config))
    for (ours, _), (theirs, _) in zip(trained(config).parameters(), module.mlp.layers, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0].detach())


@pytest.mark.parametrize("engine", ["true", "false"])
def test_epochs_are_passes_over_the_rows(quick, engine):
    """Batches of 30 of the 100 rows: four a pass."""
    given = (*SMALL, *SHUFFLE, "trainer.max_epochs=3", f"engine={engine}")
    run = trained(quick(*given, "trainer.max_steps=null"))
    assert run.provenance["steps"] == len(run.history["loss"]) == 12
    fewer = trained(quick(*given, "trainer.max_steps=7", "force=true"))
    assert fewer.provenance["steps"] == 7
    np.testing.assert_array_equal(fewer.history["loss"], run.history["loss"][:7])


def test_early_stopping_ends_both_loops_at_the_same_step(quick):
    watched = ("callbacks=early_stopping", "callbacks.early_stopping.patience=2")
    watched += ("+callbacks.early_stopping.min_delta=1e6", "force=true")
    for engine in ("true", "false"):
        run = trained(quick(*SMALL, *watched, f"engine={engine}"))
        assert run.provenance["steps"] == 30
        assert "did not improve" in run.provenance["ended"]


def interrupted(config, monkeypatch, at) -> None:
    """Train until the checkpoint at this step is written."""
    saved = callbacks.Checkpoints.save

    def killed(self, trainer, module):
        saved(self, trainer, module)
        if trainer.global_step >= at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(callbacks.Checkpoints, "save", killed)
        train(config)


@pytest.mark.parametrize("overrides", [(), ("engine=false",), (WITH_EMA,), SHUFFLE[:]])
@pytest.mark.parametrize("at", [20, 40])
def test_an_interrupted_training_ends_as_one_that_was_not(
    quick, monkeypatch, finished, overrides, at
):
    given = (*SMALL, *overrides, "recording.checkpoint_every=10")
    whole = finished(*given)
    config = quick(*given)
    interrupted(config, monkeypatch, at)
    run = trained(config)
    np.testing.assert_array_equal(run.history["loss"], whole.history["loss"])
    for step in whole.snapshots:
        for ours, theirs in zip(run.parameters(step), whole.parameters(step), strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])
    assert run.metrics["val_mse"] == whole.metrics["val_mse"]
    assert run.provenance["ended"] == whole.provenance["ended"]


@pytest.mark.parametrize("engine", ["true", "false"])
def test_a_csv_logger_keeps_its_rows_over_an_interruption(quick, monkeypatch, tmp_path, engine):
    given = (*SMALL, "logger=csv", f"engine={engine}", "recording.checkpoint_every=10")
    tables = []
    for folder in ("whole", "parts"):
        config = quick(*given, f"output_dir={tmp_path}/{folder}")
        if folder == "parts":
            interrupted(config, monkeypatch, 20)
        with open(trained(config).path / "metrics.csv", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert tables[1] == tables[0]


BACKBONE = "+callbacks.tune={_target_: lightning.pytorch.callbacks.BackboneFinetuning}"


def test_a_callback_that_fails_is_named_in_one_line_and_leaves_nothing(quick, tmp_path):
    with pytest.raises(RunError, match="callbacks: BackboneFinetuning: AttributeError") as error:
        train(quick(*SMALL, BACKBONE))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "outputs").rglob("*.partial"))


def test_variables_of_a_launcher_change_nothing(quick, monkeypatch):
    for engine in ("true", "false"):
        config = quick(*SMALL, f"engine={engine}", "force=true")
        before = trained(config).history["loss"]
        with monkeypatch.context() as patch:
            for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_LOCALID"):
                patch.setenv(name, "1")
            for name in ("WORLD_SIZE", "SLURM_NTASKS"):
                patch.setenv(name, "2")
            np.testing.assert_array_equal(trained(config).history["loss"], before)
            assert os.environ["WORLD_SIZE"] == "2"


def test_arguments_in_the_environment_are_refused_before_anything_is_made(
    quick, monkeypatch, tmp_path
):
    monkeypatch.setenv("PL_TRAINER_FAST_DEV_RUN", "1")
    with pytest.raises(ConfigError, match=r"PL_TRAINER_FAST_DEV_RUN=1.*unset it"):
        train(quick(*SMALL))
    assert not (tmp_path / "outputs/runs").exists()


def test_a_monitor_of_the_learning_rate_needs_one_replica(quick, tmp_path):
    with pytest.raises(ConfigError, match="LearningRateMonitor needs a logger"):
        train(quick(*SMALL, "callbacks=learning_rate", "replicas=3"))
    assert not (tmp_path / "outputs/ensembles").exists()


@pytest.mark.parametrize(
    "override",
    ["+trainer.val_check_interval=7", "+trainer.min_steps=3", "trainer.max_epochs=39"],
)
def test_what_may_end_a_training_elsewhere_is_another_run(quick, override):
    assert identity(quick(*SMALL)) != identity(quick(*SMALL, override))
