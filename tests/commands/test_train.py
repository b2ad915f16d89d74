"""mlpfit ...: what a training from the command line answers."""

import os
import sys
from pathlib import Path

import pytest

from mlpfit import ConfigError, RunError, load_run
from mlpfit.commands.train import check_arguments
from mlpfit.process import check_working_directory
from mlpfit.runs import identity

SHORT = ("experiment=plane/sequential", "trainer.max_steps=5", "logger=none")


def test_a_run_takes_one_device(command):
    assert command(*SHORT, "trainer.devices=auto")[0] == 0  # one processor is one device
    for given in ("trainer.devices=2", "+trainer.num_nodes=2"):
        code, printed = command(*SHORT, given, "seed=1")
        assert code == 2 and printed.count("\n") <= 1
        assert f"{given.lstrip('+')}: a run takes one device; replicas are spread" in printed


def test_a_checkpoint_that_leaves_no_step_is_refused(command):
    assert command(*SHORT)[0] == 0
    os.replace("outputs/runs/plane/sequential/checkpoints/last.ckpt", "five.ckpt")
    for steps in (3, 5):
        given = (SHORT[0], f"trainer.max_steps={steps}", "ckpt_path=five.ckpt", "output_dir=other")
        code, printed = command(*given)
        assert code == 2 and "is of step 5" in printed and "train=false" in printed
    assert command(*given, "train=false")[0] == 0
    assert load_run("other/runs/plane/sequential").provenance["steps"] == 5


def test_a_failed_ensemble_does_not_block_the_corrected_command(command):
    """Two shards that would stop early at different steps."""
    given = (SHORT[0], "trainer.max_steps=60", "trainer.chunk_steps=10", "logger=none")
    given += ("callbacks=early_stopping", "callbacks.early_stopping.patience=2", "replicas=4")
    given += ("+callbacks.early_stopping.min_delta=1e6",)  # nothing is ever so much better
    code, printed = command(*given, "ensemble.shard=2")
    assert code == 1 and "set ensemble.shard to the number of replicas" in printed
    assert command(*given, "ensemble.shard=4")[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_a_working_directory_that_is_no_text_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(RunError, match="no text in UTF-8: rename"):
        check_working_directory()
    folder.rmdir()
    with pytest.raises(RunError, match="was removed"):
        check_working_directory()
    monkeypatch.chdir(Path.home())
    check_working_directory()


@pytest.mark.parametrize("name", ["before_run", "experiments"])
@pytest.mark.parametrize("given", ["~{}", "{}=null", "+{}._target_=os.mkdir"])
def test_the_callbacks_that_check_every_run_stay(name, given):
    argument = given.format(f"hydra.callbacks.{name}")
    with pytest.raises(ConfigError, match="checks every run; leave it"):
        check_arguments([argument])


def test_whether_a_run_is_there_is_asked_before_anything_is_created(command, monkeypatch):
    """Once by the command, and once more when it has the folder's lock."""
    asked = []
    monkeypatch.setattr(identity, "load_run", lambda path: asked.append(path) or load_run(path))
    assert command(*SHORT)[0] == 0 and len(asked) == 2
    code, printed = command(*SHORT)
    assert code == 0 and "up to date" in printed and len(asked) == 3
