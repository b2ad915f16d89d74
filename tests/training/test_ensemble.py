"""Replica k of a run is the run of seed k alone, bit for bit, whatever its company, block, shard or
chunks; and what the engine computes is what Lightning's own loop does, but for rounding.

Most recipes keep rounding errors small. Three don't: descent at the edge of stability (parabola,
framework) and Adam with a large step (sine_network) multiply a rounding error by up to ten every
few steps, so the two loops are compared in float64, where the same growth starts from 1e-16.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlpfit import load_run
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import as_published, compose
from mlpfit.engine.steps import CompiledSteps
from mlpfit.training.engine import kernel_cache
from mlpfit.training.run import make_data, make_module, train_replicas
from mlpfit.training.shard import Schedule, Shard
from mlpfit.training.train import train

RANDOM = [name for name in experiments() if name != "plane/least_squares"]
SENSITIVE = {"gradient/sine_network", "parabola/eight_neurons", "restoration/framework"}


def trained(tmp_path, name, seeds, precision=None, steps=50, **changes):
    """Every array that a run of these seeds, trained together under the Trainer, leaves: losses
    (steps, R), weights, errors on fresh rows, metrics."""
    config = as_published(name)
    how = {"max_steps": steps, "precision": precision or config.trainer.precision}
    trainer = replace(config.trainer, **how | changes.pop("trainer", {}))
    config = replace(config, seeds=tuple(seeds), trainer=trainer, logger={}, **changes)
    config = replace(config, ensemble=replace(config.ensemble, history_points=1000))
    config = replace(config, output_dir=str(tmp_path))
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    train_replicas(Shard(config, tuple(seeds), folder), lambda step, loss: None)
    run = {}
    for file in ("history", "weights", "validation"):
        with np.load(folder / f"{file}.npz") as arrays:
            run |= {f"{file} {key}": arrays[key] for key in arrays if key != "step"}
    for key, values in json.loads((folder / "metrics.json").read_text()).items():
        run[f"metrics {key}"] = np.array(values, float)
    return run


def replica(run, k):
    """The arrays of one replica at the first and the last step, and all its losses."""
    own = {}
    for name, values in run.items():
        own[name] = values[k] if name.startswith("metrics") else values[:, k]
        if not name.startswith(("metrics", "history")):
            own[name] = own[name][[0, -1]]
    return own


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


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
        if data.batch_size is not None:
            ours, theirs = (rows.order_of(0, 250).numbers() for rows in (data, alone))
            np.testing.assert_array_equal(ours[:, k], theirs[:, 0])


@pytest.mark.parametrize("name", RANDOM)
def test_a_replica_is_the_run_of_its_seed_bit_for_bit_in_any_company(name, tmp_path):
    """One of the first block, its last, and one of the next; alone in other chunks."""
    first = as_published(name).seed
    seeds = [first + 1, first, *range(first + 2, first + 18)]
    together = trained(tmp_path, name, seeds, steps=30)
    for k in (1, 15, 17):
        alone = trained(tmp_path, name, [seeds[k]], steps=30, trainer={"chunk_steps": 7})
        assert_same_bits(replica(together, k), replica(alone, 0))


@pytest.mark.parametrize("name", RANDOM)
def test_the_engine_takes_the_steps_of_lightnings_own_loop(name, tmp_path):
    first = as_published(name).seed
    seeds = [first + 3, first, first + 1]
    ours = trained(tmp_path, name, seeds, "64-true")["history loss"]
    theirs = trained(tmp_path, name, seeds, "64-true", engine=False)["history loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


STEADY = [as_published(name) for name in RANDOM if name not in SENSITIVE]
SINGLE = [config.name for config in STEADY if config.trainer.precision == "32-true"]


@pytest.mark.parametrize("name", SINGLE)
def test_in_single_precision_too_where_the_recipe_keeps_rounding_small(name, tmp_path):
    first = as_published(name).seed
    seeds = [first + 1, first, first + 2]
    ours = trained(tmp_path, name, seeds, "32-true")["history loss"]
    theirs = trained(tmp_path, name, seeds, "32-true", engine=False)["history loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_published_seed_of_the_parabola_agrees_in_single_precision(tmp_path):
    name = "parabola/eight_neurons"
    ours = trained(tmp_path, name, [19, 20], "32-true")["history loss"]
    theirs = trained(tmp_path, name, [19], "32-true", engine=False)["history loss"]
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-5)


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
    np.testing.assert_array_equal(run.history["loss"][:, 4], alone)


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
        steps = Schedule(config).recorded_steps(last).tolist()
        assert published | {1, last} <= set(steps)
        assert len(steps) <= config.ensemble.history_points + 1
    single = as_published("parabola/eight_neurons")
    assert len(Schedule(single).recorded_steps(5000)) == 5000


def test_compiled_steps_leave_torchs_own_optimiser_state(tmp_path):
    """A run checkpointed by compiled steps can be continued by torch.optim and the other way
    round."""
    config = compose(["experiment=tower/small", "trainer.max_steps=40", "replicas=3"])
    states = []
    for order in ((True, False), (False, True), (False, False)):
        module = make_module(config)
        optimizer = module.configure_optimizers()
        data = make_data(config)
        steps = CompiledSteps(module.mlp, module.loss, optimizer, kernel_cache(config))
        for compiled in order:
            if compiled:
                steps(data.x, data.y, 20)
                continue
            for _ in range(20):
                optimizer.zero_grad()
                errors = module(data.x) - data.y
                errors.square().mean((1, 2)).sum().backward()
                optimizer.step()
        states.append([p.detach().clone() for p in module.parameters()])
        assert int(optimizer.state[next(module.parameters())]["step"]) == 40
    for mixed in states[:2]:
        for ours, eager in zip(mixed, states[2], strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-6)


def test_without_a_compiler_training_goes_step_by_step_and_says_so(monkeypatch, capsys, quick):
    compiled = quick(*ENSEMBLE, "force=true")
    train(compiled)
    expected = load_run(compiled.folder).history["loss"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("MLPFIT_KERNEL_CACHE", str(compiled.folder / "none"))
    capsys.readouterr()
    train(replace(compiled, ensemble=replace(compiled.ensemble, shard=6)))
    printed = " ".join(capsys.readouterr().out.split())
    reason = "CXX=no-such-compiler: there is no such program"
    assert f"trained step by step, since {reason}" in printed
    run = load_run(compiled.folder)
    assert run.provenance["outside_engine"] == reason
    np.testing.assert_allclose(run.history["loss"], expected, rtol=1e-5)
