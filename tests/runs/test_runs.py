"""Run folders: complete or absent, current or trained anew, the same however they were made."""

import json
import shutil

import numpy as np
import pytest
import torch

from mlpfit import RunError, load_run
from mlpfit.errors import Diverged
from mlpfit.model.regression import Regression
from mlpfit.runs.identity import COMPUTING_SOURCES, is_current, published_run
from mlpfit.runs.run import differences
from mlpfit.training.train import train

SMALL = (
    "experiment=tower/small",
    "trainer.max_steps=60",
    "model.hidden=4",
    "logger.tensorboard=false",
)
MINI = (
    "experiment=restoration/framework",
    "trainer.max_steps=60",
    "model.hidden=4",
    "logger.tensorboard=false",
)


def test_a_run_tells_what_it_is(quick):
    config = quick(*SMALL, "model.hidden=4-3")
    assert train(config)
    run = load_run(config.run_dir)
    assert run.config == config.plain()
    assert run.history["loss"].shape == (60, 1)
    assert run.snapshots[0] == 0 and run.snapshots[-1] == 60
    x = np.linspace(0, 3, 7)[:, None]
    assert run.predict(x).shape == (1, 7, 1)
    assert [h.shape for h in run.hidden(x)] == [(1, 7, 4), (1, 7, 3)]
    error = run.predict(run.data["x"]) - run.data["y"]
    assert run.metrics["mse"][0] == pytest.approx((error**2).mean(), rel=1e-5)
    assert run.metrics["sse"][0] == pytest.approx((error**2).sum(), rel=1e-5)
    assert run.provenance["seeds"] == [0] and run.provenance["threads"] == 1
    with pytest.raises(ValueError, match=r"allowed are \(n, 1\)"):
        run.predict([[1, 2]])


def test_the_checkpoint_loads_by_itself_and_predicts_the_same(quick):
    config = quick(*SMALL)
    train(config)
    run = load_run(config.run_dir)
    module = Regression.load_from_checkpoint(
        config.run_dir / "checkpoints/last.ckpt", weights_only=True
    )
    x = np.linspace(0, 3, 50)[:, None]
    with torch.no_grad():
        expected = module(torch.from_numpy(x).float()[None]).numpy()
    np.testing.assert_allclose(run.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_the_first_loss_is_the_error_of_the_initial_weights(quick):
    config = quick(*SMALL)
    train(config)
    run = load_run(config.run_dir)
    initial = run.predict(run.data["x"], step=0)
    assert run.history["loss"][0, 0] == pytest.approx(
        ((initial - run.data["y"]) ** 2).mean(), rel=1e-5
    )


def test_a_current_run_is_left_alone_and_force_trains_it_again(quick):
    config = quick(*SMALL)
    assert train(config)
    before = (config.run_dir / "complete.json").stat().st_mtime_ns
    assert not train(config)
    assert (config.run_dir / "complete.json").stat().st_mtime_ns == before
    assert train(quick(*SMALL, "force=true"))
    assert (config.run_dir / "complete.json").stat().st_mtime_ns > before


def test_another_setting_makes_another_run_and_words_do_not(quick):
    config = quick(*SMALL)
    train(config)
    assert is_current(quick(*SMALL, "question=Why?"))
    for other in ("optimizer.lr=0.002", "seed=1", "target.noise=0.1", "trainer.max_steps=61"):
        assert not is_current(quick(*SMALL, other))


def test_same_seed_same_bytes_and_seed_0_is_a_seed(tmp_path, quick):
    first, again, other = (
        quick(*SMALL, f"output_dir={tmp_path}/{name}", f"seed={s}")
        for name, s in (("a", 0), ("b", 0), ("c", 1))
    )
    for config in (first, again, other):
        train(config)
    for name in ("history.npz", "weights.npz", "data.npz", "metrics.json"):
        assert (first.run_dir / name).read_bytes() == (again.run_dir / name).read_bytes()
    assert not np.array_equal(
        load_run(first.run_dir).history["loss"], load_run(other.run_dir).history["loss"]
    )


class Stop(Exception):
    pass


def stop_at(step):
    def report(done, loss):
        if done >= step:
            raise Stop

    return report


@pytest.mark.parametrize("setup", [SMALL, MINI])
@pytest.mark.parametrize("step", [1, 20, 30, 50, 60])
def test_a_resumed_run_is_the_uninterrupted_one(setup, step, tmp_path, quick):
    whole = quick(*setup, f"output_dir={tmp_path}/whole", "checkpoint.every_n_steps=10")
    train(whole)
    cut = quick(*setup, f"output_dir={tmp_path}/cut", "checkpoint.every_n_steps=10")
    with pytest.raises(Stop):
        train(cut, stop_at(step))
    assert not cut.run_dir.exists()
    train(cut)
    for name in ("history.npz", "weights.npz", "metrics.json"):
        assert (cut.run_dir / name).read_bytes() == (whole.run_dir / name).read_bytes()
    last = [
        torch.load(c.run_dir / "checkpoints/last.ckpt", weights_only=True) for c in (whole, cut)
    ]
    assert last[0]["global_step"] == last[1]["global_step"] == 60
    optimizers = [checkpoint["optimizer_states"][0]["state"] for checkpoint in last]
    for ours, theirs in zip(*(state.values() for state in optimizers), strict=True):
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)


def test_an_interrupted_run_with_other_settings_is_not_continued(quick):
    with pytest.raises(Stop):
        train(quick(*SMALL), stop_at(20))
    with pytest.raises(
        RunError, match=r"optimizer.lr: 0.001, now 0.1\): finish it with those, or .* force=true"
    ):
        train(quick(*SMALL, "optimizer.lr=0.1"))
    assert train(quick(*SMALL, "optimizer.lr=0.1", "force=true"))


def test_a_diverging_run_says_where_and_leaves_nothing(quick):
    config = quick(
        "experiment=parabola/eight_neurons", "optimizer.lr=10", "logger.tensorboard=false"
    )
    with pytest.raises(Diverged, match="diverged at step") as error:
        train(config)
    assert 1 < error.value.step < 100
    assert not config.run_dir.exists() and not config.run_dir.with_suffix(".partial").exists()


@pytest.mark.parametrize(
    "name", ["history.npz", "weights.npz", "data.npz", "metrics.json", "config.yaml"]
)
def test_a_damaged_file_is_refused_by_name(name, quick):
    config = quick(*SMALL)
    train(config)
    content = bytearray((config.run_dir / name).read_bytes())
    content[len(content) // 2] ^= 1
    (config.run_dir / name).write_bytes(content)
    run = load_run(config.run_dir)
    with pytest.raises(RunError, match=f"{name}: not as it was written"):
        _ = run.history, run.snapshots, run.data, run.metrics, run.config


def test_an_incomplete_run_is_no_run(quick):
    config = quick(*SMALL)
    with pytest.raises(RunError, match="no finished run here"):
        load_run(config.run_dir)
    train(config)
    (config.run_dir / "complete.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        load_run(config.run_dir)


def test_differences_name_the_keys():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2, now 3"]


def test_the_code_that_decides_numbers_is_all_hashed(tmp_path):
    """Whatever mlpfit module training imports is either hashed or known not to touch a number."""
    import subprocess
    import sys

    script = "import sys, json, mlpfit.training; print(json.dumps([m for m in sys.modules if m.startswith('mlpfit.')]))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    imported = {m.removeprefix("mlpfit.") for m in json.loads(done.stdout)}
    harmless = {
        "config",
        "errors",
        "ranges",
        "runs",
        "provenance",
        "progress",
        "tensorboard",
        "fitting",
        "typed",
    }
    assert imported - harmless == set(COMPUTING_SOURCES)


def test_a_checkpoint_of_another_run_is_refused(quick, tmp_path):
    cut = {
        seed: quick(
            *SMALL,
            f"seed={seed}",
            f"output_dir={tmp_path / str(seed)}",
            "checkpoint.every_n_steps=10",
        )
        for seed in (1, 2)
    }
    for config in cut.values():
        with pytest.raises(Stop):
            train(config, stop_at(40))
    name = "runs/tower/small.partial/checkpoints/last.ckpt"
    shutil.copy(tmp_path / "2" / name, tmp_path / "1" / name)
    with pytest.raises(
        RunError, match=r"last\.ckpt: damaged, or not a checkpoint of this run; .*force=true"
    ):
        train(cut[1])


def test_only_the_experiments_own_run_is_evidence(quick):
    for more in (["seed=3"], ["optimizer.lr=0.5", "replicas=2"]):
        train(config := quick(*SMALL, *more))
    outputs = config.run_dir.parents[2]
    with pytest.raises(
        RunError, match=r"runs/tower/small: not the run that experiment=tower/small .*seed: 3, now"
    ):
        published_run("tower/small", outputs)
    with pytest.raises(RunError, match=r"ensembles/tower/small: .*optimizer.lr: 0.5, now 0.001"):
        published_run("tower/small", outputs, "ensembles")
