"""What a run records, and what a config may add to its Trainer."""

import csv

import numpy as np
import pytest
import torch

from mlpfit import ConfigError, RunError, load_run
from mlpfit.runs.folder import unfinished_path
from mlpfit.runs.identity import fingerprint, identity
from mlpfit.training import callbacks
from mlpfit.training.run import make_data
from mlpfit.training.shard import Shard
from mlpfit.training.train import train

SMALL = ("experiment=parabola/eight_neurons", "trainer.max_steps=60", "trainer.chunk_steps=10")
WATCHED = (
    *SMALL,
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=2",
    "+callbacks.early_stopping.min_delta=1e6",  # nothing is ever so much better
)


def trained(config):
    train(config)
    return load_run(config.folder)


def fresh_error(run, rows) -> np.ndarray:
    x, y = (
        np.concatenate([batch[name].numpy() for batch in rows.val_dataloader()], 1) for name in "xy"
    )
    return ((run.predict(x) - y) ** 2).mean((1, 2))


@pytest.mark.parametrize("experiment", ["parabola/eight_neurons", "gradient/sine_network"])
def test_a_run_keeps_the_error_on_fresh_rows_at_its_snapshots(quick, experiment):
    config = quick(f"experiment={experiment}", "trainer.max_steps=60", "trainer.chunk_steps=10")
    run = trained(config)
    assert run.validation["step"].tolist() == run.snapshots.tolist()
    assert run.validation["mse"].shape == (len(run.snapshots), 1)
    assert run.validation["mse"][-1] == run.metrics["val_mse"]
    assert run.metrics["val_mse"] == pytest.approx(fresh_error(run, make_data(config)), rel=1e-5)


def test_the_error_on_fresh_rows_of_a_replica_is_that_of_its_seed_alone(quick):
    many = trained(quick(*SMALL, "seeds=[19,3,5]", "ensemble.shard=2"))
    alone = trained(quick(*SMALL, "seed=3"))
    assert many.validation["step"].tolist() == [0, 60]
    assert many.metrics["val_mse"][1] == pytest.approx(alone.metrics["val_mse"][0], rel=1e-4)


def test_least_squares_has_an_error_on_fresh_rows_too(quick):
    config = quick("experiment=plane/least_squares")
    run = trained(config)
    assert run.metrics["val_mse"] == pytest.approx(fresh_error(run, make_data(config)))
    assert 0.9 < run.metrics["val_mse"][0] < 1.1  # the noise's 1; its own error is 2 %


def test_a_run_that_ends_early_has_a_shorter_history_and_says_why(quick, capsys):
    run = trained(quick(*WATCHED))
    assert run.history["step"].tolist() == list(range(1, 31))
    assert run.snapshots[-1] == 30 and run.provenance["steps"] == 30
    assert "did not improve in the last 2 records" in run.provenance["ended"]
    assert "ended at step 30 of 60" in " ".join(capsys.readouterr().out.split())


def test_how_often_checkpoints_are_written_does_not_decide_when_a_run_ends(quick):
    ends = []
    for every in (7, 1000):
        run = trained(quick(*WATCHED, f"recording.checkpoint_every={every}", "force=true"))
        ends.append(len(run.history["step"]))
    assert ends == [30, 30]  # the first validation is the best, and two are no better


def test_what_is_watched_leaves_the_numbers_as_they_are(finished):
    whole, watched = finished(*SMALL), finished(*WATCHED)
    np.testing.assert_array_equal(watched.history["loss"], whole.history["loss"][:30])


@pytest.mark.parametrize("at", [10, 20, 30])
def test_early_stopping_counts_on_after_an_interruption(quick, finished, monkeypatch, at):
    whole = finished(*WATCHED)
    config = quick(*WATCHED, "recording.checkpoint_every=10")
    saved = callbacks.Checkpoints.save

    def killed(self, trainer, module):
        saved(self, trainer, module)
        if trainer.global_step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(callbacks.Checkpoints, "save", killed)
        train(config)
    run = trained(config)
    np.testing.assert_array_equal(run.history["loss"], whole.history["loss"])
    assert run.provenance["ended"] == whole.provenance["ended"]


def test_shards_that_would_end_at_different_steps_are_refused(quick):
    config = quick(*WATCHED, "replicas=4", "ensemble.shard=2")
    with pytest.raises(RunError, match="shards of an ensemble must take equally many"):
        train(config)
    whole = trained(quick(*WATCHED, "replicas=4", "force=true"))
    assert whole.history["loss"].shape == (30, 4)


def test_one_step_is_enough_to_see_whether_a_config_runs(quick):
    run = trained(quick(*SMALL, "trainer.fast_dev_run=true"))
    assert run.history["step"].tolist() == [1]
    assert run.provenance["ended"] == "trainer.fast_dev_run"
    assert not list(run.path.glob("events*"))


def test_loggers_are_those_of_the_config(quick):
    run = trained(quick(*SMALL, "logger=csv"))
    with open(run.path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    losses = {int(r["step"]): float(r["train/loss"]) for r in rows if r["train/loss"]}
    errors = {int(r["step"]): float(r["val/mse"]) for r in rows if r["val/mse"]}
    history = dict(enumerate(run.history["loss"][:, 0].tolist(), start=1))
    assert losses == pytest.approx(history)
    assert list(errors) == run.snapshots.tolist()
    assert list(errors.values()) == pytest.approx(run.validation["mse"][:, 0].tolist())
    assert not list(run.path.glob("events*"))
    quiet = trained(quick(*SMALL, "logger=none"))
    assert not list(quiet.path.glob("events*")) + list(quiet.path.glob("metrics.csv"))


def test_a_learning_rate_monitor_of_lightnings_writes_optimiser_steps(quick):
    run = trained(quick(*SMALL, "callbacks=learning_rate", "logger=csv"))
    with open(run.path / "metrics.csv", newline="") as file:
        steps = [int(r["step"]) for r in csv.DictReader(file) if r["lr-SGD"]]
    assert steps == [0, 0, 10, 20, 30, 40, 50]  # at the epoch's start and at every chunk's


REFUSED = {
    "+callbacks.x._target_=os.system": "callbacks._target_|callbacks.x._target_=os.system",
    "+callbacks.x._target_=lightning.pytorch.trainer.trainer.os.system": "callbacks.x",
    "+callbacks.x._target_=lightning.pytorch.Trainer": "callbacks.x._target_.*no Callback",
    "+callbacks.x._target_=lightning.pytorch.callbacks.Absent": "callbacks.x",
    "+callbacks.x={_target_: lightning.pytorch.callbacks.EarlyStopping}": "callbacks.x.*monitor",
    "+callbacks.x._target_=lightning.pytorch.callbacks.LearningRateFinder": "Finder would change",
    "trainer.devices=2": "trainer.devices=2: a run takes one device",
    "trainer.profiler=stopwatch": "trainer",
    "trainer.strategy=telepathy": "trainer",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_the_trainer_can_not_have_is_refused_in_one_line(quick, tmp_path, override):
    with pytest.raises(ConfigError, match=REFUSED[override]) as error:
        train(quick(*SMALL, override))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "outputs").exists()


def test_a_monitored_number_that_nobody_logs_is_refused_in_one_line(quick):
    config = quick(*WATCHED, "callbacks.early_stopping.monitor=val/accuracy")
    with pytest.raises(ConfigError, match=r"callbacks: .*val/accuracy.*val/mse") as error:
        train(config)
    assert "\n" not in str(error.value)
    assert not unfinished_path(config.folder).exists()


def test_a_training_goes_on_from_a_given_checkpoint_with_its_own_learning_rate(quick, tmp_path):
    first = trained(quick(*SMALL, "trainer.max_steps=30", f"output_dir={tmp_path}/first"))
    given = f"ckpt_path={first.path}/checkpoints/last.ckpt"
    whole, rest = trained(quick(*SMALL)), quick(*SMALL, given, f"output_dir={tmp_path}/rest")
    np.testing.assert_array_equal(trained(rest).history["loss"], whole.history["loss"])
    slow = trained(quick(*SMALL, given, "optimizer.lr=1e-9", f"output_dir={tmp_path}/slow"))
    np.testing.assert_array_equal(slow.history["loss"][:31], whole.history["loss"][:31])
    assert np.ptp(slow.history["loss"][30:]) < 1e-4 * slow.history["loss"][30]


def test_a_checkpoint_is_evaluated_on_the_rows_of_the_config(quick, tmp_path):
    first = trained(quick(*SMALL, f"output_dir={tmp_path}/first"))
    given = f"ckpt_path={first.path}/checkpoints/last.ckpt"
    again = trained(quick(*SMALL, given, "train=false"))
    assert again.metrics["val_mse"] == first.metrics["val_mse"]
    noisy = quick(*SMALL, given, "train=false", "target.noise=2", f"output_dir={tmp_path}/noisy")
    other = trained(noisy)
    assert other.metrics["val_mse"] == pytest.approx(first.metrics["val_mse"] + 4, rel=0.1)
    np.testing.assert_array_equal(other.parameters()[0][0], first.parameters()[0][0])


def test_a_checkpoint_of_a_linear_unit_is_evaluated_where_the_config_would_solve(quick):
    given = ("model.hidden=none", "trainer.max_steps=5", "logger=none")
    line = trained(quick("experiment=plane/sequential", *given))
    given = (f"ckpt_path={line.path}/checkpoints/last.ckpt", "train=false")
    judged = trained(quick("experiment=plane/least_squares", "trainer.precision=32-true", *given))
    np.testing.assert_array_equal(judged.parameters()[0][0], line.parameters()[0][0])


def test_a_checkpoint_of_another_model_or_none_is_refused_by_name(quick, tmp_path):
    first = trained(quick(*SMALL, "model.hidden=4", f"output_dir={tmp_path}/first"))
    file = first.path / "checkpoints/last.ckpt"
    with pytest.raises(
        ConfigError, match=r"the checkpoint has units=\[1, 4, 1\], the config \[1, 8, 1\]"
    ):
        train(quick(*SMALL, f"ckpt_path={file}"))
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(file.read_bytes()[:500])
    for given in (damaged, tmp_path / "absent.ckpt"):
        with pytest.raises(ConfigError, match=f"ckpt_path={given}: (not a|no) checkpoint"):
            train(quick(*SMALL, f"ckpt_path={given}"))


def test_a_shard_knows_its_own_seeds_alone(quick, tmp_path):
    config = quick(*SMALL, "replicas=5")
    shard = Shard(config, (21, 22), tmp_path)
    assert shard.config.replica_seeds == (21, 22)
    assert not shard.has_all_replicas
    assert fingerprint(config, (21, 22)) != fingerprint(config, (19, 20))
    assert Shard(config, config.replica_seeds, tmp_path).has_all_replicas
    assert identity(config)["recipe"]["replicas"] == 5


@pytest.mark.parametrize("engine", ["true", "false"])
@pytest.mark.parametrize("steps", [100, 98])
def test_of_a_very_long_run_some_losses_are_kept(engine, steps, quick, monkeypatch):
    """They are those of the same run with all losses kept; memory does not grow with the steps."""
    given = ("experiment=plane/sequential", f"trainer.max_steps={steps}", "logger=none")
    given += (f"engine={engine}", "trainer.chunk_steps=7", "recording.checkpoint_every=30")
    train(whole := quick(*given))
    losses = load_run(whole.folder).history["loss"]
    monkeypatch.setattr("mlpfit.training.shard.LONG", 50)
    monkeypatch.setattr("mlpfit.training.shard.KEPT", 20)
    train(long := quick(*given, f"output_dir={whole.output_dir}/long"))
    run = load_run(long.folder)
    step = run.history["step"]
    assert step.tolist() == [1, *range(5, steps, 5), steps] and run.provenance["steps"] == steps
    np.testing.assert_array_equal(run.history["loss"], losses[step - 1])
    checkpoint = torch.load(long.folder / "checkpoints/last.ckpt", weights_only=True)
    (state,) = (s for k, s in checkpoint["callbacks"].items() if k.startswith("History"))
    assert sum(map(len, state["traces"])) <= 21


def test_where_a_replica_of_a_very_long_run_diverges_is_recorded(quick, monkeypatch):
    given = ("experiment=parabola/eight_neurons", "trainer.max_steps=60", "replicas=8")
    given += ("optimizer.lr=0.3", "logger=none")
    train(whole := quick(*given))
    monkeypatch.setattr("mlpfit.training.shard.LONG", 20)
    monkeypatch.setattr("mlpfit.training.shard.KEPT", 6)
    train(long := quick(*given, f"output_dir={whole.output_dir}/long"))
    first = load_run(whole.folder).metrics["diverged_at"]
    assert np.isfinite(first).any()
    np.testing.assert_array_equal(load_run(long.folder).metrics["diverged_at"], first)
