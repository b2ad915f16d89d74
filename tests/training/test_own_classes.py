"""What a config may say of nets, losses, optimisers and schedules: a replica is its single run, an
interrupted training ends as a whole one, and the code of a tutorial's classes is part of a run."""

import numpy as np
import pytest
import torch

from mlpfit import ConfigError, load_run
from mlpfit.config.compose import compose
from mlpfit.model.optimizers import OPTIMIZERS, mixes
from mlpfit.runs.identity import identity
from mlpfit.training.run import make_data, make_module
from mlpfit.training.train import train

NETS = """
import torch


class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.hidden = torch.nn.Linear(1, width)
        self.dropped = torch.nn.Dropout(0.25)
        self.output = torch.nn.Linear(width, 1)

    def forward(self, x):
        return self.output(self.dropped(torch.relu(self.hidden(x))))


class Quantile(torch.nn.Module):
    def __init__(self, q):
        super().__init__()
        self.q = q

    def forward(self, prediction, y):
        e = y - prediction
        return torch.maximum(self.q * e, (self.q - 1) * e).mean()


class Signs(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad.sign()
        return loss


class Joint(Signs):
    def step(self, closure=None):
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad / p.grad.norm()
        return loss


def sine(x):
    return torch.sin(x)


def narrow(tensor):
    torch.nn.init.normal_(tensor, std=0.05)


def warm(step):
    return min(1.0, (step + 1) / 10)
"""
BATCHES = ("data.order=shuffle", "data.batch_size=8")
RECIPES = {
    "dropout": ("model.dropout=0.3", "model.hidden=8-6", *BATCHES),
    "net": ("model.net={_target_: own.nets.Net, width: 5}", "model.hidden=32"),
    "own": (
        "loss={_target_: own.nets.Quantile, q: 0.8}",
        "model.activation=own.nets.sine",
        "model.init={weight: own.nets.narrow, bias: zeros}",
    ),
    "schedule": ("scheduler=CosineAnnealingLR", "scheduler.T_max=5", "engine=false", *BATCHES),
    "engine": ("scheduler=LinearLR", "scheduler.interval=step", "loss=huber", "model.init=keras"),
}


@pytest.fixture
def tutorial(own, monkeypatch):
    from pathlib import Path

    (Path(own) / "nets.py").write_text(NETS)
    monkeypatch.setenv("MLPFIT_PATH", own)
    return Path(own)


def config(folder, *overrides):
    return compose([f"output_dir={folder}", "experiment=own/ramp", "optimizer.lr=0.05", *overrides])


def trained(folder, *overrides):
    given = config(folder, *overrides)
    train(given)
    return load_run(given.folder)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_replica_is_the_run_of_its_seed(tutorial, tmp_path, recipe):
    """To the rounding of torch's matrix products, which depends on how many there are."""
    alone = trained(tmp_path, *RECIPES[recipe], "seed=2")
    many = trained(tmp_path, *RECIPES[recipe], "replicas=4")
    steps = many.history["step"] - 1
    losses = many.history["loss"][:, 2]
    np.testing.assert_allclose(losses, alone.history["loss"][steps, 0], rtol=1e-5, atol=1e-7)
    assert losses[-1] != many.history["loss"][-1, 1]
    x = np.linspace(0, 1, 5)[:, None]
    np.testing.assert_allclose(many.predict(x)[2], alone.predict(x)[0], rtol=1e-4, atol=1e-6)
    errors = alone.predict(alone.data["x"]) - alone.data["y"]
    assert alone.metrics["mse"][0] == pytest.approx((errors**2).mean(), rel=1e-4)
    alone.check_files(), many.check_files()


@pytest.mark.parametrize("recipe", ["dropout", "net", "schedule", "engine"])
def test_an_interrupted_training_ends_as_a_whole_one(tutorial, tmp_path, monkeypatch, recipe):
    from mlpfit.training import callbacks

    given = (*RECIPES[recipe], "recording.checkpoint_every=7")
    whole = trained(tmp_path / "whole", *given)
    saved = callbacks.Checkpoints.save

    def killed(self, trainer, module):
        saved(self, trainer, module)
        if trainer.global_step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(callbacks.Checkpoints, "save", killed)
        train(config(tmp_path / "parts", *given))
    parts = trained(tmp_path / "parts", *given)
    np.testing.assert_array_equal(parts.history["loss"], whole.history["loss"])
    for name, array in whole.state().items():
        np.testing.assert_array_equal(parts.state()[name], array)


def test_a_net_of_ones_own_starts_as_in_a_script_and_learns_as_there(tutorial, tmp_path):
    given = config(tmp_path, *RECIPES["net"], "seed=3", "model.net.width=4")
    run = trained(tmp_path, *RECIPES["net"], "seed=3", "model.net.width=4")
    torch.manual_seed(3)
    plain = type(make_module(given).mlp.nets[0])(width=4)
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(run.state(0)[name][0], value)
    batch = make_data(given).batch(0)
    assert run.history["loss"].shape == (20, 1) and batch["x"].shape == (1, 20, 1)
    assert run.parameters() == []


def test_an_optimiser_of_ones_own_takes_its_steps_and_must_not_mix_replicas(tutorial, tmp_path):
    conf = tutorial / "conf/optimizer/signs.yaml"
    conf.parent.mkdir()
    conf.write_text("{_target_: own.nets.Signs, lr: 0.1}")
    run = trained(tmp_path, "optimizer=signs", "replicas=2")
    moved = run.state()["weight_0"] - run.state(0)["weight_0"]
    np.testing.assert_allclose(moved / 0.05, np.round(moved / 0.05), atol=1e-4)
    conf.write_text("{_target_: own.nets.Joint, lr: 0.1}")
    with pytest.raises(ConfigError, match="mixes replicas; give it one seed"):
        config(tmp_path, "optimizer=signs", "replicas=2")


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"muon", "sparseadam"}))  # refused
def test_torchs_optimisers_that_mix_replicas_are_those_with_a_norm_or_a_line_search(name):
    arguments = {"lr": 0.1} if name == "sgd" else {}
    assert mixes(name, OPTIMIZERS[name], arguments) == (name in ("adafactor", "lbfgs"))


def test_the_code_of_ones_own_classes_is_part_of_the_run(tutorial, tmp_path):
    net, plain = config(tmp_path, *RECIPES["net"]), config(tmp_path)
    before, without = identity(net), identity(plain)
    assert "own" not in without
    (tutorial / "nets.py").write_text(NETS + "\nfrom mlpfit.tutorials.own import sizes\n")
    beside = identity(net)
    assert beside != before
    (tutorial / "sizes.py").write_text("WIDTH = 3")
    assert identity(net) != beside and identity(plain) == without


REFUSED = {
    "model.net={_target_: os.system}": "model.net=os.system: must begin with torch.nn.",
    "model.net={_target_: own.nets.None}": "model.net=mlpfit.tutorials.own.nets.None: ",
    "model.net={_target_: own.nets.sine}": "model.net=mlpfit.tutorials.own.nets.sine: makes no",
    "model.net={_target_: torch.nn.Linear, in_features: 1, out_features: 2}": r"gives \(3, 2\)",
    "model.net={_target_: torch.nn.functional.torch.load}": "is of another package, torch.seri",
    "loss={_target_: own.nets.Quantile}": "loss=mlpfit.tutorials.own.nets.Quantile: ",
    "model.activation=own.nets.narrow": "model.activation=mlpfit.tutorials.own.nets.narrow: ",
    "model.activation={name: leaky_relu, slope: 1}": "activation.slope of leaky_relu: no such key",
    "model.init=xavier_uniform": "of weights and biases apart: model.init={weight: xavier_uniform",
    "model.init={weight: xavier_unifrom}": "did you mean xavier_uniform",
    "model.init={weight: zeros, bias: xavier_normal}": "model.init.bias=xavier_normal: ValueError",
    "model.dropout=1": "model.dropout=1: must be less than 1",
    "loss.delta=2": "loss.delta: give arguments together with the name: 'loss={name: huber",
    "loss=binary_cross_entropy": "outputs are linear: model.output=sigmoid, or loss=bce",
    "loss=cross_entropy": "loss=cross_entropy: needs a target of classes",
    "scheduler=StepLR": "scheduler.step_size: missing; StepLR needs a value",
    "scheduler=Step": "scheduler=Step: no such scheduler; did you mean StepLR",
    "scheduler=CyclicLR,": "scheduler.base_lr: missing",
    "scheduler=ExponentialLR scheduler.gamma=1 scheduler.interval=day": "allowed are step, epoch",
    "scheduler=OneCycleLR scheduler.max_lr=1 scheduler.total_steps=3": "must be at least the 20",
    "scheduler=ReduceLROnPlateau replicas=2": "follows the error of one replica",
    "optimizer=lbfgs replicas=2": "a step of it mixes replicas",
    "optimizer=adafactor replicas=2": "a step of it mixes replicas",
    "optimizer=muon": "optimizer muon: ValueError: Muon only supports 2D",
    "model.dropout=0.1 model.gradient=by_hand": "by_hand is not written for it",
    "model.activation=gelu model.gradient=by_hand": "model.activation=gelu: by_hand is not written",
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_can_not_be_is_refused_in_one_line(tutorial, tmp_path, given):
    words = [given] if "{" in given else given.rstrip(",").split(" ")
    with pytest.raises(ConfigError, match=REFUSED[given]) as error:
        config(tmp_path, "model.hidden=32" if "net" in given else "seed=0", *words)
    assert "\n" not in str(error.value)
