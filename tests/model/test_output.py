"""An activation of the outputs, and options that the biases have of their own, against torch's
modules and groups of parameters."""

import numpy as np
import pytest
import torch
from torch import nn

from mlpfit.config.compose import compose
from mlpfit.errors import ConfigError
from mlpfit.model.regression import Regression

DECAY = {"name": "sgd", "lr": 0.1, "weight_decay": 0.3, "bias": {"weight_decay": 0.0}}


def by_torch(module: Regression) -> nn.Sequential:
    """The same net of layers of torch."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    for layer, (weight, bias) in zip(net[::2], module.mlp.layers, strict=True):
        layer.weight.data, layer.bias.data = weight[0].T.clone(), bias[0, 0].clone()
    return net


def test_outputs_and_steps_are_those_of_torchs_layers():
    module = Regression([2, 4, 1], DECAY, activation="tanh", output="sigmoid")
    net = by_torch(module)
    weights, biases = ([getattr(net[i], n) for i in (0, 2)] for n in ("weight", "bias"))
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    theirs, ours = torch.optim.SGD(groups, lr=0.1, weight_decay=0.3), module.configure_optimizers()
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.normal(size=(5, n))).float() for n in (2, 1))
    for _ in range(3):
        torch.testing.assert_close(module(x), net(x))
        for outputs, optimizer in ((module(x), ours), (net(x), theirs)):
            optimizer.zero_grad()
            (outputs - y).square().mean().backward()
            optimizer.step()
    for layer, (weight, bias) in zip(net[::2], module.mlp.layers, strict=True):
        torch.testing.assert_close(weight[0].T, layer.weight)
        torch.testing.assert_close(bias[0, 0], layer.bias)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["loss=bce", "target=moons", "model.output=sigmoid"], "bce has it itself"),
        (["model.output=sigmoit"], "model.output=sigmoit: did you mean sigmoid"),
        (["model.output=sigmoid", "model.gradient=by_hand"], "by_hand is not written for it"),
        (["optimizer=sgd", "+optimizer.bias={momentun: 0.1}"], "bias.momentun of sgd: no such key"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(["target=parabola", "name=own/x", "trainer.max_steps=5", *overrides])


def test_the_engine_and_the_loop_train_the_same_outputs(tmp_path):
    import mlpfit

    settings = {"model": {"output": "tanh", "hidden": 3}, "trainer": {"max_steps": 20}}
    engine, loop = (
        mlpfit.fit("parabola/eight_neurons", engine=on, output_dir=str(tmp_path), **settings)
        for on in (True, False)
    )
    np.testing.assert_allclose(engine.history["loss"], loop.history["loss"], rtol=1e-5)
    x = engine.data["x"]
    np.testing.assert_allclose(engine.predict(x), loop.predict(x), atol=1e-5)
    error = engine.predict(x).astype(float) - engine.data["y"]
    np.testing.assert_allclose(engine.metrics["mse"], np.square(error).mean(axis=(1, 2)), rtol=1e-6)
    assert np.abs(engine.predict(x)).max() <= 1
