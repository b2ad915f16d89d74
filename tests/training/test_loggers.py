"""What loggers write: in the run's folder, whatever its name, and neither lost nor twice after an
interruption. W&B's and MLflow's write offline; where they are not installed, they are left out."""

import csv
import sqlite3

import pytest
from conftest import run

from mlpfit import load_run
from mlpfit.runs.folder import unfinished_path
from mlpfit.training.train import train

SMALL = ("experiment=parabola/eight_neurons", "trainer.max_steps=60", "trainer.chunk_steps=10")


class Stop(Exception):
    pass


def test_a_folders_name_is_not_expanded(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("FOO", "elsewhere")
    config = quick(*SMALL, f"output_dir='{tmp_path}/a $FOO~'")
    train(config)
    assert len(list(config.folder.glob("events.out.tfevents.*"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a $FOO~"]


@pytest.mark.parametrize("stopped_at", [1, 20, 35, 60])
def test_rows_of_an_interrupted_training_are_neither_lost_nor_twice(quick, tmp_path, stopped_at):
    def on_step(step, loss):
        if step >= stopped_at:
            raise Stop

    given = (*SMALL, "logger=csv", "recording.checkpoint_every=10")
    train(whole := quick(*given))
    cut = quick(*given, f"output_dir={tmp_path}/cut")
    with pytest.raises(Stop):
        train(cut, on_step=on_step)
    assert unfinished_path(cut.folder).is_dir() == (stopped_at > 10)
    train(cut)
    with open(cut.folder / "metrics.csv") as ours, open(whole.folder / "metrics.csv") as theirs:
        assert list(csv.DictReader(ours)) == list(csv.DictReader(theirs))


@pytest.mark.slow
def test_wandbs_files_belong_to_the_run(tmp_path):
    pytest.importorskip("wandb")
    trained = run("mlpfit", *SMALL, "logger=wandb", cwd=tmp_path, WANDB_MODE="offline")
    assert trained.returncode == 0, trained.stderr
    finished = load_run(tmp_path / "outputs/runs/parabola/eight_neurons")
    finished.check_files()
    assert len(list(finished.path.glob("wandb/offline-run-*/run-*.wandb"))) == 1
    again = run("mlpfit", *SMALL, "logger=wandb", cwd=tmp_path, WANDB_MODE="offline")
    assert again.returncode == 0 and "is up to date" in again.stdout


@pytest.mark.slow
def test_mlflow_gets_the_loss_of_every_step(tmp_path):
    pytest.importorskip("mlflow")
    done = run("mlpfit", *SMALL, "logger=mlflow", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = load_run(tmp_path / "outputs/runs/parabola/eight_neurons").history["loss"][:, 0]
    with sqlite3.connect(tmp_path / "mlflow.db") as stored:
        rows = stored.execute(
            "select step, value from metrics where key = 'train/loss' order by step"
        ).fetchall()
    assert rows == [(step, pytest.approx(loss)) for step, loss in enumerate(history, start=1)]
