"""Activations, losses, optimisers, outputs and schedules that no experiment has: the kernels
against torch's autograd and torch.optim, and their promise of the same bits."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mlpfit.data.order import Order
from mlpfit.engine.evaluation import known_activation
from mlpfit.engine.steps import CompiledSteps, kernel_name, known_loss, unknown_option
from mlpfit.model.mlp import MLP

SGD, RMSprop = torch.optim.SGD, torch.optim.RMSprop
STEPS, ROWS, INPUTS = 10, 23, 2
TORCHS = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
    "sse": lambda h, y, reduction: F.mse_loss(h, y, reduction=reduction) * h[0].numel(),
}


@dataclass(frozen=True)
class Recipe:
    activation: Any
    loss: Any
    optimizer: type[torch.optim.Optimizer]
    options: dict[str, Any]
    outputs: int = 1
    batches: bool = False  # of 5 rows, the last of 3
    output: str = "identity"


RECIPES = {
    "nesterov": Recipe(
        "sigmoid",
        {"name": "huber", "delta": 0.3},
        SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02},
    ),
    "decay": Recipe("relu", "mse", SGD, {"lr": 0.05, "weight_decay": 0.1}, 3, batches=True),
    "adam": Recipe("sigmoid", "mae", torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.1}),
    "adamw": Recipe(
        {"name": "leaky_relu", "negative_slope": 0.2},
        "mse",
        torch.optim.AdamW,
        {"lr": 0.02, "weight_decay": 0.3},
        2,
    ),
    "rmsprop": Recipe("tanh", "mae", RMSprop, {"lr": 0.003, "alpha": 0.9}, 3, batches=True),
    "momentum": Recipe(
        "leaky_relu",
        {"name": "smooth_l1", "beta": 0.4},
        RMSprop,
        {"lr": 0.002, "momentum": 0.8, "weight_decay": 0.05},
        batches=True,
    ),
    "squashed": Recipe("sigmoid", "sse", SGD, {"lr": 0.05}, output="sigmoid"),
    "bounded": Recipe("relu", "mae", SGD, {"lr": 0.05}, 3, batches=True, output="tanh"),
}
every_recipe = pytest.mark.parametrize("name", RECIPES)
every_net = pytest.mark.parametrize("hidden", [(8,), (6, 5), (33, 30)])


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


def called(functions, named):
    """The function of this name with its arguments."""
    arguments = {"name": named} if isinstance(named, str) else dict(named)
    name = arguments.pop("name")
    function = functions[name] if isinstance(functions, dict) else getattr(functions, name)
    return partial(function, **arguments)


class Training:
    """Some replicas of a recipe, trained by the engine or by torch."""

    def __init__(self, name, hidden, cache, seeds=(0, 1, 2), real=torch.float32, specialise=False):
        self.recipe, self.real = RECIPES[name], real
        units = [INPUTS, *hidden, self.recipe.outputs]
        self.net = MLP(units, self.recipe.activation, len(seeds), output=self.recipe.output).to(
            real
        )
        rngs = [np.random.default_rng([7, seed]) for seed in seeds]
        self.net.load(
            [
                [
                    rng.normal(size=size) / a**0.5
                    for a, b in pairwise(units)
                    for size in ((a, b), (1, b))
                ]
                for rng in rngs
            ]
        )

        def drawn(columns):
            return torch.from_numpy(np.stack([rng.normal(size=(ROWS, columns)) for rng in rngs]))

        self.x, self.y = drawn(INPUTS).to(real), drawn(self.recipe.outputs).to(real)
        self.optimizer = self.recipe.optimizer(self.net.parameters(), **self.recipe.options)
        self.steps = CompiledSteps(self.net, self.recipe.loss, self.optimizer, cache, specialise)

    def order(self, first, last):
        """Slices of 5 rows in their order; the last of each pass has 3."""
        if not self.recipe.batches:
            return None
        number = np.arange(first, last) % 5
        starts, lengths = 5 * number, np.where(number == 4, 3, 5)
        shape = (len(self.x), 1)
        return Order(
            np.tile(np.arange(ROWS), shape),
            np.tile(starts, shape),
            np.tile(lengths, shape),
            5,
            True,
        )

    def take(self, steps=STEPS, first=0, **options):
        losses = self.steps(self.x, self.y, steps, self.order(first, first + steps), **options)
        return losses.numpy()

    def by_torch(self, rates=None):
        """Losses (STEPS, R) of torch's autograd and optimiser from here; rates: learning rates."""
        activation = called(F, self.recipe.activation)
        output = (
            nn.Identity() if self.recipe.output == "identity" else getattr(F, self.recipe.output)
        )
        kind, losses = called(TORCHS, self.recipe.loss), []
        for step in range(STEPS):
            order = self.order(step, step + 1)
            rows = slice(None)
            if order is not None:
                rows = slice(order.starts[0, 0], order.starts[0, 0] + order.lengths[0, 0])
            h = self.x[:, rows]
            for layer, (weight, bias) in enumerate(self.net.layers):
                h = h @ weight + bias
                if layer + 1 < len(self.net.layers):
                    h = activation(h)
            each = kind(output(h), self.y[:, rows], reduction="none").mean((1, 2))
            self.optimizer.zero_grad()
            each.sum().backward()
            if rates is not None:
                self.optimizer.param_groups[0]["lr"] = rates[step]
            self.optimizer.step()
            losses.append(each.detach())
        return torch.stack(losses).numpy()

    def state(self):
        """Parameters, and the optimiser's buffers by torch's names."""
        buffers = [self.optimizer.state[p] for p in self.net.parameters()]
        values = [*self.net.parameters(), *(b[n] for b in buffers for n in self.steps.buffers)]
        return [v.detach().numpy().copy() for v in values]


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@every_net
@every_recipe
@pytest.mark.parametrize("real", [torch.float32, torch.float64])
def test_losses_and_state_are_torchs_but_for_rounding(name, hidden, real, cache):
    """A number of the first step has seen at most this many operations one after the other, with
    half a unit of the last digit each. Later ones by what the recipe makes of inputs changed in the
    last digit."""
    ours, theirs, moved = (Training(name, hidden, cache, real=real) for _ in range(3))
    for values, end in ((moved.x, np.inf), (moved.y, -np.inf)):
        values.copy_(torch.nextafter(values, torch.full_like(values, end)))
    losses, expected = ours.take(), theirs.by_torch()
    spread = np.maximum.accumulate(np.abs(moved.take() - losses))
    unit = torch.finfo(real).eps
    operations = 4 * (ROWS * ours.recipe.outputs + 2 * sum(ours.steps.units))
    np.testing.assert_allclose(losses[0], expected[0], rtol=operations * unit)
    bound = 20 * np.maximum(spread, operations * unit * np.abs(expected))
    assert (np.abs(losses - expected) <= bound).all()
    moves = zip(ours.state(), theirs.state(), moved.state(), strict=True)
    for a, b, c in moves:
        largest = max(np.abs(b).max(), 1e-3)
        assert np.abs(a - b).max() <= 50 * max(np.abs(a - c).max(), operations * unit * largest)


@every_net
@every_recipe
def test_a_replica_has_the_bits_of_its_seed_alone(name, hidden, cache):
    many = Training(name, hidden, cache, seeds=range(18))
    losses, state = many.take(), many.state()
    for k in (0, 7, 15, 17):
        alone = Training(name, hidden, cache, seeds=[k])
        np.testing.assert_array_equal(alone.take()[:, 0], losses[:, k])
        assert_equal([values[0] for values in alone.state()], [values[k] for values in state])


@every_recipe
def test_the_kernel_for_any_shape_has_the_bits_of_the_one_made_for_a_problem(name, cache):
    general, special = (Training(name, (6,), cache, specialise=s) for s in (False, True))
    np.testing.assert_array_equal(general.take(), special.take())
    assert_equal(general.state(), special.state())


@every_recipe
def test_steps_of_the_engine_and_of_torch_follow_one_another(name, cache):
    """In the middle of a training each goes on from the other's state."""
    first, expected = Training(name, (6,), cache), Training(name, (6,), cache)
    expected.take(5)
    expected.take(5, first=5)
    first.take(5)
    second = Training(name, (6,), cache)
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.take(5, first=5)
    assert_equal(second.state(), expected.state())
    first.optimizer.step()  # by torch: the state is complete


@every_recipe
def test_a_table_of_learning_rates_is_that_of_each_step(name, cache):
    ours, theirs = (Training(name, (6,), cache, real=torch.float64) for _ in range(2))
    rates = ours.recipe.options["lr"] * 0.8 ** np.arange(STEPS)
    np.testing.assert_allclose(ours.take(rates=rates), theirs.by_torch(rates), rtol=1e-11)
    constant, table = (Training(name, (6,), cache) for _ in range(2))
    rates = np.full(STEPS, ours.recipe.options["lr"])
    np.testing.assert_array_equal(constant.take(), table.take(rates=rates))


def test_several_outputs_are_trained_by_both_kernels():
    assert [kernel_name([2, *hidden, 3]) for hidden in ((8,), (6, 5), (33, 30))] == [
        "narrow",
        "narrow",
        "wide",
    ]


@pytest.mark.parametrize("hidden", [(8,), (33, 30)])
@pytest.mark.parametrize("name", ["adam", "nesterov", "momentum"])
def test_a_parameter_that_decays_becomes_zero_before_it_is_subnormal(name, hidden, cache):
    training = Training(name, hidden, cache, seeds=[0])
    training.optimizer.param_groups[0] |= {"weight_decay": 0.5, "lr": 1.0}
    with torch.no_grad():
        for weight, bias in training.net.layers:
            weight.zero_(), bias.zero_()
        training.net.weight_0[..., 0] = 2.0**-124  # no gradient reaches it through zeros
    training.take(40)
    value = training.net.weight_0[0, 0, 0].item()
    assert value == 0 or abs(value) >= 2.0**-126


def test_what_the_kernels_do_not_have():
    def unknown(kind, **options):
        return unknown_option(kind([nn.Parameter(torch.zeros(1))], lr=0.1, **options))

    assert unknown(SGD, momentum=0.9, nesterov=True, weight_decay=0.1) is None
    assert unknown(torch.optim.AdamW, betas=(0.8, 0.9)) is None
    assert unknown(RMSprop, alpha=0.9, momentum=0.5) is None
    assert unknown(SGD, momentum=0.9, dampening=0.1) == "dampening"
    assert unknown(torch.optim.Adam, amsgrad=True) == "amsgrad"
    assert unknown(torch.optim.Adam, eps=1e-20) == "eps"
    assert unknown(torch.optim.Adam, decoupled_weight_decay=True) == "decoupled_weight_decay"
    assert unknown(RMSprop, centered=True) == "centered"
    assert known_loss("log_cosh") is None
    assert known_loss({"name": "huber", "delta": 0.5}).delta == 0.5
    assert known_loss({"name": "smooth_l1", "beta": 0.0}) is None
    assert known_loss({"name": "mse", "weight": 2.0}) is None
    assert known_activation("gelu") is None
    assert known_activation({"name": "leaky_relu", "negative_slope": -0.1}) is None
    assert known_activation({"name": "relu", "inplace": True}) is None
    assert known_activation({"name": "leaky_relu", "negative_slope": 0.2}) == ("leaky_relu", 0.2)
