"""Going on from a checkpoint that the config names."""

import shutil

import pytest
import torch

from mlpfit import ConfigError, load_run
from mlpfit.runs.identity import is_current
from mlpfit.training.train import train

SMALL = ("experiment=parabola/eight_neurons", "logger=none")


@pytest.fixture
def first(quick, tmp_path):
    """A checkpoint of ten steps, in a file that is not a run's."""
    config = quick(*SMALL, "trainer.max_steps=10")
    train(config)
    file = tmp_path / "ten.ckpt"
    shutil.copy(config.folder / "checkpoints/last.ckpt", file)
    return file


@pytest.mark.parametrize("engine", ["true", "false"])
def test_the_configs_learning_rate_counts_not_the_checkpoints(first, quick, engine):
    """One step of descent moves each weight by the learning rate times its gradient."""
    moved = {}
    for lr in (0.02, 0.01):
        config = quick(
            *SMALL,
            "trainer.max_steps=11",
            f"optimizer.lr={lr}",
            f"ckpt_path={first}",
            f"engine={engine}",
            "force=true",
        )
        train(config)
        run = load_run(config.folder)
        assert run.history["loss"].shape == (11, 1)
        state = torch.load(first, weights_only=True)["state_dict"]
        weight = run.parameters()[0][0]
        moved[lr] = weight - state["mlp.weight_0"].numpy()
    nonzero = abs(moved[0.01]) > 1e-4
    assert nonzero.any()
    ratio = moved[0.02][nonzero] / moved[0.01][nonzero]
    assert abs(ratio - 2).max() < 2e-2  # float32 weights of about 1 moved by 1e-4 or more


def test_another_file_of_the_same_name_is_another_run(first, quick):
    config = quick(*SMALL, "trainer.max_steps=20", f"ckpt_path={first}")
    train(config)
    assert is_current(config, config.folder)
    other = quick(*SMALL, "trainer.max_steps=10", "seed=3", "output_dir=" + str(first.parent / "o"))
    train(other)
    shutil.copy(other.folder / "checkpoints/last.ckpt", first)
    assert not is_current(config, config.folder)


def test_a_checkpoint_of_another_net_is_refused(first, quick):
    elsewhere = f"output_dir={first.parent}/elsewhere"
    config = quick(*SMALL, "model.hidden=4", f"ckpt_path={first}", elsewhere)
    with pytest.raises(
        ConfigError, match=r"the checkpoint has units=\[1, 8, 1\], the config \[1, 4"
    ):
        train(config)
    assert not config.folder.exists()


def test_the_run_that_a_checkpoint_belongs_to_is_not_replaced(first, quick):
    config = quick(*SMALL, "trainer.max_steps=10")
    inside = config.folder / "checkpoints/last.ckpt"
    with pytest.raises(ConfigError, match=r"would replace the run in .*; give it another"):
        train(quick(*SMALL, f"ckpt_path={inside}", "train=false"))
    assert inside.is_file() and is_current(config, config.folder)
