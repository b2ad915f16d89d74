"""The engine's steps against plain loops of torch, and its promise of the same bits.

A step of these recipes sums at most a few hundred products a number, so two orders of summation
differ by some count of operations times the rounding unit. Recipes at the edge of stability then
multiply it, by a factor that depends on the recipe only: the same run with its inputs changed in
the last digit shows it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import as_published, compose
from mlpfit.engine.steps import LOSSES, CompiledSteps, kernel_name
from mlpfit.model import mlp
from mlpfit.training.run import make_data, make_module

NAMES = [name for name in experiments() if name != "plane/least_squares"]
STEPS = 12


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Kernels of this session."""
    return tmp_path_factory.mktemp("kernels")


class Engine:
    """The module, data and optimiser of some replicas of an experiment, trained by the engine."""

    def __init__(self, name, cache, replicas=1, precision=None, specialise=False, seeds=None):
        config = as_published(name)
        precision = precision or config.trainer.precision
        config = replace(
            config,
            seeds=tuple(seeds or range(config.seed, config.seed + replicas)),
            trainer=replace(config.trainer, precision=precision),
        )
        self.data, self.module = make_data(config), make_module(config)
        self.optimizer = self.module.configure_optimizers()
        self.steps = CompiledSteps(
            self.module.mlp, self.module.loss, self.optimizer, cache, specialise
        )
        self.done = 0

    def take(self, steps) -> np.ndarray:
        """Losses (steps, R) of the next steps."""
        order = self.data.order_of(self.done, self.done + steps)
        self.done += steps
        return self.steps(self.data.x, self.data.y, steps, order).numpy()

    def state(self) -> list[np.ndarray]:
        """Parameters and the optimiser's buffers, as they are now."""
        parameters = list(self.module.parameters())
        buffers = [self.optimizer.state[p].get(b) for b in self.steps.buffers for p in parameters]
        return [values.detach().numpy().copy() for values in (*parameters, *buffers)]


def plain_losses(engine: Engine, by_hand: bool, steps: int = STEPS) -> np.ndarray:
    """Losses (steps, R) of a loop of torch from the engine's start, on the same batches."""
    net, data = engine.module.mlp, engine.data
    parameters = [p.detach().clone().requires_grad_() for p in net.parameters()]
    group = {k: v for k, v in engine.optimizer.param_groups[0].items() if k != "params"}
    optimizer = type(engine.optimizer)([{"params": parameters, **group}])
    kind = LOSSES[engine.module.loss]
    scale, slope, mean = kind.scale, kind.slope, kind.mean
    losses = []
    for number in range(steps):
        batch = data.batch(number)
        weights = batch.get("weights", torch.ones(batch["y"].shape[:2], dtype=data.dtype))
        rows = weights.sum(1) if mean else torch.ones(len(weights), dtype=data.dtype)
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        values = mlp.outputs(layers, batch["x"], net.activation)
        error = (values[-1] - batch["y"]) * weights[..., None]
        loss = scale * error.square().sum((1, 2)) / rows
        if by_hand:
            with torch.no_grad():
                upper = slope * error / rows[:, None, None]
                found = mlp.gradients(layers, values, upper, net.activation)[1:]
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
        else:
            optimizer.zero_grad()
            loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_losses_are_those_of_a_plain_loop(name, by_hand, cache):
    """The first by rounding alone: no number of it has seen more operations one after the other
    than the rows and the widths, each with half a unit of the last digit. Later ones by what the
    recipe makes of inputs changed in the last digit."""
    engine = Engine(name, cache, replicas=3)
    expected = plain_losses(engine, by_hand)
    eps = np.finfo(expected.dtype).eps
    moved = Engine(name, cache, replicas=3)
    with torch.no_grad():
        moved.data.x = torch.nextafter(moved.data.x, torch.full_like(moved.data.x, np.inf))
        moved.data.y = torch.nextafter(moved.data.y, torch.full_like(moved.data.y, -np.inf))
    spread = np.abs(moved.take(STEPS) - (losses := engine.take(STEPS)))
    batch = engine.data.batch_size or engine.data.x.shape[1]
    operations = batch + 2 * sum(engine.steps.units)
    np.testing.assert_allclose(losses[0], expected[0], rtol=operations * eps)
    size = np.maximum(np.maximum.accumulate(spread), operations * eps * np.abs(expected))
    assert (np.abs(losses - expected) <= 10 * size).all()


@pytest.mark.parametrize("name", NAMES)
def test_in_double_precision_they_agree_to_eleven_digits(name, cache):
    engine = Engine(name, cache, replicas=2, precision="64-true")
    expected = plain_losses(engine, by_hand=False)
    np.testing.assert_allclose(engine.take(STEPS), expected, rtol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_has_the_bits_of_its_seed_alone(name, cache):
    """Of the first, a middle and the last place of 18, which fill one call of a kernel and begin
    another."""
    many = Engine(name, cache, replicas=18)
    losses, state = many.take(STEPS), many.state()
    for k in (0, 7, 15, 17):
        alone = Engine(name, cache, seeds=[many.data.seeds[k]])
        np.testing.assert_array_equal(alone.take(STEPS)[:, 0], losses[:, k])
        for ours, theirs in zip(alone.state(), state, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[k])


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_for_any_shape_has_the_bits_of_the_one_made_for_a_problem(name, cache):
    general, special = (Engine(name, cache, replicas=5, specialise=s) for s in (False, True))
    np.testing.assert_array_equal(general.take(STEPS), special.take(STEPS))
    for ours, theirs in zip(general.state(), special.state(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_of_any_length_are_one_call(name, cache):
    whole, parts = Engine(name, cache, replicas=2), Engine(name, cache, replicas=2)
    losses = whole.take(STEPS)
    np.testing.assert_array_equal(np.concatenate([parts.take(n) for n in (1, 4, 2, 5)]), losses)
    for ours, theirs in zip(whole.state(), parts.state(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_steps_go_on_from_the_saved_state_of_module_and_optimiser(name, cache):
    whole, first, rest = (Engine(name, cache, replicas=2) for _ in range(3))
    losses = whole.take(STEPS)
    first.take(5)
    rest.module.load_state_dict(first.module.state_dict())
    rest.optimizer.load_state_dict(first.optimizer.state_dict())
    rest.done = 5
    np.testing.assert_array_equal(rest.take(STEPS - 5), losses[5:])
    for ours, theirs in zip(whole.state(), rest.state(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("units", ["64-64-64", "70-33"])
@pytest.mark.parametrize(
    "given", [[], ["data.batch_size=7", "data.order=shuffle", "streams=spawned", "loss=huber"]]
)
def test_any_number_of_threads_gives_the_same_bits(given, units, cache):
    """Also more threads than a layer has vectors or a batch has rows."""
    results = []
    for threads in (1, 2, 3, 40):
        data, module, _, steps = small(cache, *given, units=units)
        assert kernel_name(steps.units) == "wide"
        steps.threads = threads
        losses = steps(data.x, data.y, 12, data.order_of(0, 12))
        results.append([losses, *(p.detach() for p in module.parameters())])
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


def small(cache, *overrides, units="8"):
    config = compose(["experiment=parabola/eight_neurons", f"model.hidden={units}", *overrides])
    data, module = make_data(config), make_module(config)
    optimizer = module.configure_optimizers()
    return data, module, optimizer, CompiledSteps(module.mlp, module.loss, optimizer, cache)


@pytest.mark.parametrize("units", ["8", "40-40"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_subnormal_momenta_become_zero_and_no_result_changes(optimizer, units, cache):
    """A unit that no row reaches has no gradient, so its momentum halves at every step, from just
    above the smallest normal number; in float64, where it stays normal, the weights are the same
    to float32's rounding."""
    decay = ["optimizer.momentum=0.5"] if optimizer == "sgd" else []
    decay += ["optimizer.beta1=0.5", "optimizer.beta2=0.5"] if optimizer == "adam" else []
    given = [f"optimizer={optimizer}", "optimizer.lr=0.0001", *decay, "replicas=1"]
    states = {}
    for precision in ("32-true", "64-true"):
        data, module, state, steps = small(
            cache, *given, f"trainer.precision={precision}", units=units
        )
        assert kernel_name(steps.units) == ("narrow" if units == "8" else "wide")
        with torch.no_grad():
            module.mlp.bias_0[..., 0] = -1e6  # dead
        steps(data.x, data.y, 1)
        dead = module.mlp.weight_0
        for name in steps.buffers:
            state.state[dead][name][..., 0] = 2.0**-124
        steps(data.x, data.y, 4)
        states[precision] = [p.detach().double().numpy().copy() for p in module.parameters()]
        for name in steps.buffers:
            value = state.state[dead][name][0, 0, 0].item()
            assert value == (0 if precision == "32-true" else 2.0**-128)
    for ours, exact in zip(*states.values(), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("units", ["8", "40-40"])
def test_rows_that_fill_up_a_shorter_batch_do_not_count(units, cache):
    """Batches of 64 of the 100 rows, so every second one is filled up from 36: it has the losses
    of one call on these rows."""
    given = ["data.order=sequential", "data.batch_size=64", "streams=spawned", "optimizer.lr=0.001"]
    data, module, _, steps = small(cache, *given, units=units)
    losses = steps(data.x, data.y, 2, data.order_of(0, 2))
    _, other, _, alone = small(cache, *given, units=units)
    rows = data.order_of(0, 2).numbers()[:, 0]
    for step in range(2):
        chosen = rows[step][rows[step] >= 0]
        (loss,) = alone(data.x[:, chosen].contiguous(), data.y[:, chosen].contiguous(), 1)
        torch.testing.assert_close(loss, losses[step], rtol=1e-6, atol=0)
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
