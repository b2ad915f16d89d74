"""Replica k of a run is the run of seed k alone, whatever its company and however it is computed.

Most recipes keep rounding errors small, so replicas agree to 1e-5 in float32. Three don't: descent
at the edge of stability (parabola, framework) and Adam with a large step (sine_network) blow a
rounding error up by a factor of ten every few steps. In float64, where the same growth starts from
1e-16, every recipe agrees to 1e-10: what differs is rounding, not the recipe.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlpfit import load_run
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import as_published, compose
from mlpfit.model.regression import Regression
from mlpfit.training.run import make_data, make_module, train_into
from mlpfit.training.shard import Shard
from mlpfit.training.train import train

RANDOM = [name for name in experiments() if name != "plane/least_squares"]
SENSITIVE = {"gradient/sine_network", "parabola/eight_neurons", "restoration/framework"}


def trace(tmp_path, name, seeds, compiled, precision, steps=100):
    """Losses (steps, R) of these seeds, trained together under the Trainer."""
    config = as_published(name)
    how = {"max_steps": steps, "compile": compiled, "precision": precision}
    config = replace(config, seeds=tuple(seeds), trainer=replace(config.trainer, **how), logger={})
    config = replace(config, ensemble=replace(config.ensemble, history_points=1000))
    folder = tmp_path / f"{'-'.join(map(str, seeds))}-{compiled}"
    config = replace(config, output_dir=str(tmp_path))
    folder.mkdir()
    train_into(Shard(config, tuple(seeds), folder), lambda step, loss: None)
    with np.load(folder / "history.npz") as arrays:
        return arrays["loss"]


@pytest.mark.parametrize("name", RANDOM)
def test_data_and_initial_weights_of_a_replica_are_those_of_its_seed_bit_for_bit(name):
    many = replace(as_published(name), seeds=(1, 4, 2))
    data, net = make_data(many), make_module(many)
    for k, seed in enumerate((1, 4, 2)):
        one = replace(as_published(name), seed=seed)
        alone, single = make_data(one), make_module(one)
        assert torch.equal(data.x[k], alone.x[0]) and torch.equal(data.y[k], alone.y[0])
        for ours, theirs in zip(net.parameters(), single.parameters(), strict=True):
            assert torch.equal(ours[k], theirs[0])
        if data.order is not None:
            ours, theirs = (rows.order.numbers() for rows in (data, alone))
            np.testing.assert_array_equal(ours[:, k], theirs[:, 0])


@pytest.mark.parametrize("name", RANDOM)
def test_a_replica_is_the_single_run_of_its_seed(name, tmp_path):
    """Eager alone against compiled in company of five in another order, in double precision."""
    first = as_published(name).seed
    seeds = [first + 3, first, first + 1, first + 4, first + 2]
    together = trace(tmp_path, name, seeds, compiled=True, precision="64-true")
    for k in (1, 3):
        alone = trace(tmp_path, name, [seeds[k]], compiled=False, precision="64-true")
        np.testing.assert_allclose(together[:, k], alone[:, 0], rtol=1e-10)


STEADY = [as_published(name) for name in RANDOM if name not in SENSITIVE]
SINGLE = [config.name for config in STEADY if config.trainer.precision == "32-true"]


@pytest.mark.parametrize("name", SINGLE)
def test_in_single_precision_too_where_the_recipe_keeps_rounding_small(name, tmp_path):
    first = as_published(name).seed
    seeds = [first + 1, first, first + 2]
    together = trace(tmp_path, name, seeds, compiled=True, precision="32-true")
    alone = trace(tmp_path, name, [first], compiled=False, precision="32-true")
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=1e-5)


def test_the_published_seed_of_the_parabola_agrees_in_single_precision(tmp_path):
    name = "parabola/eight_neurons"
    together = trace(tmp_path, name, [19, 20], compiled=True, precision="32-true")
    alone = trace(tmp_path, name, [19], compiled=False, precision="32-true")
    np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-5)


@pytest.mark.parametrize("name", ["parabola/eight_neurons", "restoration/narrow"])
def test_compiled_replicas_of_narrow_nets_are_the_same_bits_in_any_company(name, tmp_path):
    """Also where the recipe blows rounding errors up: with the replica axis last every replica has
    its own lane."""
    first = as_published(name).seed
    precision = as_published(name).trainer.precision
    three = [first + 1, first, first + 2]
    together = trace(tmp_path, name, three, compiled=True, precision=precision)
    alone = trace(tmp_path, name, [first], compiled=True, precision=precision)
    np.testing.assert_array_equal(together[:, 1], alone[:, 0])


ENSEMBLE = ("experiment=tower/small", "replicas=6", "ensemble.shard=2")
ENSEMBLE += ("trainer.max_steps=40", "model.hidden=4")


def test_an_ensemble_reads_as_one_run(quick):
    config = quick(*ENSEMBLE)
    assert train(config)
    run = load_run(config.folder)
    assert config.folder.parts[-3:] == ("ensembles", "tower", "small")
    assert run.seeds == [0, 1, 2, 3, 4, 5]
    assert run.history["loss"].shape == (40, 6)
    assert run.metrics["mse"].shape == (6,)
    assert run.predict([[0.5], [1.5]]).shape == (6, 2, 1)
    assert run.data["x"].shape == (6, 301, 1)
    assert not train(config)
    single = quick("experiment=tower/small", "seed=4", *ENSEMBLE[3:])
    train(single)
    alone = load_run(single.folder).history["loss"][:, 0]
    np.testing.assert_allclose(run.history["loss"][:, 4], alone, rtol=1e-5)


def test_least_squares_has_replicas_too(quick):
    config = quick("experiment=plane/least_squares", "replicas=5")
    train(config)
    run = load_run(config.folder)
    for k in range(5):
        design = np.hstack([run.data["x"][k], np.ones((200, 1))])
        _, residual, *_ = np.linalg.lstsq(design, run.data["y"][k], rcond=None)
        assert run.metrics["sse"][k] == pytest.approx(residual[0])


def test_a_diverging_replica_is_counted_and_leaves_its_neighbours_alone(quick, tmp_path):
    overrides = ("experiment=restoration/framework", "trainer.max_steps=300", "logger=none")
    config = quick(*overrides, "replicas=12")
    train(config)
    run = load_run(config.folder)
    assert 0 < run.diverged.sum() < 12
    lost = {name: run.metrics[name][run.diverged] for name in ("mse", "diverged_at")}
    assert np.isnan(lost["mse"]).any() or np.isfinite(lost["diverged_at"]).all()
    assert np.isfinite(run.history["loss"][:, ~run.diverged]).all()


def test_published_steps_are_always_kept():
    from mlpfit.judging.published import tutorial

    for name in RANDOM:
        config = replace(as_published(name), replicas=2)
        numbers = tutorial(name.split("/")[0]).numbers
        published = {n.step for n in numbers if n.experiment == name and n.step}
        last = config.trainer.max_steps
        steps = Shard(config, config.replica_seeds, Path()).recorded_steps(last).tolist()
        assert published | {1, last} <= set(steps)
        assert len(steps) <= config.ensemble.history_points + 1
    single = as_published("parabola/eight_neurons")
    assert len(Shard(single, (19,), Path()).recorded_steps(5000)) == 5000


def test_compiled_steps_leave_torchs_own_optimiser_state():
    """A run checkpointed by compiled steps can be continued by torch.optim and the other way
    round."""
    config = compose(["experiment=tower/small", "trainer.max_steps=40", "replicas=3"])
    states = []
    for order in ((True, False), (False, True), (False, False)):
        module = make_module(config)
        optimizer = module.configure_optimizers()
        data = make_data(config)
        for compiled in order:
            advance(module, optimizer, data.x, data.y, compiled)
        states.append([p.detach().clone() for p in module.parameters()])
        assert int(optimizer.state[next(module.parameters())]["step"]) == 40
    for mixed in states[:2]:
        for ours, eager in zip(mixed, states[2], strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-6)


def advance(module: Regression, optimizer, x, y, compiled: bool) -> None:
    """Twenty steps on these rows."""
    from mlpfit.model.compiled import CompiledSteps

    if compiled:
        steps = CompiledSteps(module.mlp, module.loss, optimizer)
        steps(x.expand(20, *x.shape), y.expand(20, *y.shape))
    else:
        for _ in range(20):
            module._step(optimizer, x, y, None)


def test_without_a_compiler_the_steps_run_uncompiled_and_say_so(monkeypatch, capsys, quick):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    config = quick(*ENSEMBLE, "trainer.compile=true")
    train(replace(config, ensemble=replace(config.ensemble, shard=6)))
    assert capsys.readouterr().out.startswith("no C++ compiler")
    assert load_run(config.folder).provenance["compiled"] is False
