"""Run folders: complete or absent, current or trained anew, the same however they were made."""

import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT

from mlpfit import RunError, load_run
from mlpfit.config.catalogue import PACKAGE
from mlpfit.errors import Diverged
from mlpfit.model.regression import Regression
from mlpfit.runs.folder import unfinished_path
from mlpfit.runs.identity import (
    COMPUTING_FOLDERS,
    NOT_COMPUTING,
    computing_files,
    identity,
    is_current,
    published_run,
    target_files,
)
from mlpfit.runs.provenance import provenance
from mlpfit.runs.run import differences
from mlpfit.training.train import train

SMALL = ("experiment=tower/small", "trainer.max_steps=60", "model.hidden=4", "logger=none")
MINI = ("experiment=restoration/framework", "trainer.max_steps=60", "model.hidden=4", "logger=none")


def test_a_run_tells_what_it_is(quick):
    config = quick(*SMALL, "model.hidden=4-3")
    assert train(config)
    run = load_run(config.folder)
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
    run = load_run(config.folder)
    file = config.folder / "checkpoints/last.ckpt"
    module = Regression.load_from_checkpoint(file, weights_only=True)
    x = np.linspace(0, 3, 50)[:, None]
    with torch.no_grad():
        expected = module(torch.from_numpy(x).float()[None]).numpy()
    np.testing.assert_allclose(run.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_the_first_loss_is_the_error_of_the_initial_weights(quick):
    config = quick(*SMALL)
    train(config)
    run = load_run(config.folder)
    initial = run.predict(run.data["x"], step=0)
    error = ((initial - run.data["y"]) ** 2).mean()
    assert run.history["loss"][0, 0] == pytest.approx(error, rel=1e-5)


def test_a_current_run_is_left_alone_and_force_trains_it_again(quick):
    config = quick(*SMALL)
    assert train(config)
    before = (config.folder / "complete.json").stat().st_mtime_ns
    assert not train(config)
    assert (config.folder / "complete.json").stat().st_mtime_ns == before
    assert train(quick(*SMALL, "force=true"))
    assert (config.folder / "complete.json").stat().st_mtime_ns > before


def test_another_setting_makes_another_run_and_words_do_not(quick):
    config = quick(*SMALL)
    train(config)
    assert is_current(quick(*SMALL, "question=Why?"), config.folder)
    for other in ("optimizer.lr=0.002", "seed=1", "target.noise=0.1", "trainer.max_steps=61"):
        assert not is_current(quick(*SMALL, other), config.folder)


def test_same_seed_same_bytes_and_seed_0_is_a_seed(tmp_path, quick):
    first, again, other = (
        quick(*SMALL, f"output_dir={tmp_path}/{name}", f"seed={s}")
        for name, s in (("a", 0), ("b", 0), ("c", 1))
    )
    for config in (first, again, other):
        train(config)
    for name in ("history.npz", "weights.npz", "data.npz", "metrics.json"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    losses = [load_run(config.folder).history["loss"] for config in (first, other)]
    assert not np.array_equal(*losses)


class Stop(Exception):
    pass


def stop_at(step):
    def report(done, loss):
        if done >= step:
            raise Stop

    return report


@pytest.mark.parametrize("setup", [SMALL, MINI])
@pytest.mark.parametrize("step", [1, 20, 30, 50, 60])
def test_a_resumed_run_is_the_uninterrupted_one(setup, step, tmp_path, quick, finished):
    whole = finished(*setup, "recording.checkpoint_every=10")
    cut = quick(*setup, f"output_dir={tmp_path}/cut", "recording.checkpoint_every=10")
    with pytest.raises(Stop):
        train(cut, on_step=stop_at(step))
    assert not cut.folder.exists()
    train(cut)
    for name in ("history.npz", "weights.npz", "metrics.json"):
        assert (cut.folder / name).read_bytes() == (whole.path / name).read_bytes()
    folders = whole.path, cut.folder
    last = [torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in folders]
    assert last[0]["global_step"] == last[1]["global_step"] == 60
    optimizers = [checkpoint["optimizer_states"][0]["state"] for checkpoint in last]
    for ours, theirs in zip(*(state.values() for state in optimizers), strict=True):
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)


def test_an_interrupted_run_with_other_settings_is_not_continued(quick):
    every = (*SMALL, "recording.checkpoint_every=10")
    with pytest.raises(Stop):
        train(quick(*every), on_step=stop_at(20))
    message = r"optimizer.lr: 0.001, now 0.1\): finish it with those, or .* force=true"
    with pytest.raises(RunError, match=message):
        train(quick(*every, "optimizer.lr=0.1"))
    assert train(quick(*every, "optimizer.lr=0.1", "force=true"))


def test_an_interrupted_run_without_a_checkpoint_is_in_nobodys_way(quick):
    with pytest.raises(Stop):
        train(quick(*SMALL), on_step=stop_at(20))
    assert train(quick(*SMALL, "optimizer.lr=0.1"))


def test_a_diverging_run_says_where_and_leaves_nothing(quick):
    config = quick("experiment=parabola/eight_neurons", "optimizer.lr=10", "logger=none")
    with pytest.raises(Diverged, match="diverged at step") as error:
        train(config)
    assert 1 < error.value.step < 100
    assert not config.folder.exists() and not unfinished_path(config.folder).exists()


@pytest.mark.parametrize(
    "name", ["history.npz", "weights.npz", "data.npz", "metrics.json", "config.yaml"]
)
def test_a_damaged_file_is_refused_by_name(name, finished, tmp_path):
    shutil.copytree(finished(*SMALL).path, tmp_path / "run")
    content = bytearray((tmp_path / "run" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run" / name).write_bytes(content)
    run = load_run(tmp_path / "run")
    with pytest.raises(RunError, match=f"{name}: checksum mismatch"):
        _ = run.history, run.snapshots, run.data, run.metrics, run.config


def test_an_incomplete_run_is_no_run(quick):
    config = quick(*SMALL)
    with pytest.raises(RunError, match="no finished run here"):
        load_run(config.folder)
    train(config)
    (config.folder / "complete.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        load_run(config.folder)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_provenance_names_the_commit_and_the_locks():
    content = provenance()
    head = subprocess.check_output(["git", "-C", ROOT, "rev-parse", "HEAD"], text=True).strip()
    assert content["commit"] == head and len(content["lock"]) == 64


def test_differences_name_the_keys():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2, now 3"]


def test_the_code_that_decides_numbers_is_part_of_a_runs_identity(own, quick, monkeypatch):
    """Every file of data, model, engine and training counts but those named as computing nothing,
    the kernels too, and so does the target's."""
    folders = [PACKAGE / name for name in COMPUTING_FOLDERS]
    files = {f for folder in folders for f in folder.rglob("*") if f.suffix in (".py", ".h")}
    spared = {PACKAGE / name for name in NOT_COMPUTING}
    assert spared < files and any(file.suffix == ".h" for file in files)
    assert {*computing_files()} == files - spared
    monkeypatch.setenv("MLPFIT_PATH", own)
    config = quick("experiment=own/ramp")
    before = identity(config)
    with open(target_files(config.target)[0], "a") as file:
        file.write("# another line")
    assert identity(config) == before | {"target": identity(config)["target"]} != before


def test_a_checkpoint_of_another_run_is_refused(quick, tmp_path):
    every = (*SMALL, "recording.checkpoint_every=10")
    cut = [quick(*every, f"seed={k}", f"output_dir={tmp_path / str(k)}") for k in (1, 2)]
    for config in cut:
        with pytest.raises(Stop):
            train(config, on_step=stop_at(40))
    name = "runs/tower/.small.mlpfit-unfinished/checkpoints/last.ckpt"
    shutil.copy(tmp_path / "2" / name, tmp_path / "1" / name)
    message = r"last\.ckpt: damaged, or not a checkpoint of this run; .*force=true"
    with pytest.raises(RunError, match=message):
        train(cut[0])


def test_only_the_experiments_own_run_is_evidence(quick):
    for more in (["seed=3"], ["optimizer.lr=0.5", "replicas=2"]):
        train(config := quick(*SMALL, *more))
    outputs = config.folder.parents[2]
    message = r"runs/tower/small: not the run that experiment=tower/small .*seed: 3, now"
    with pytest.raises(RunError, match=message):
        published_run("tower/small", outputs)
    with pytest.raises(RunError, match=r"ensembles/tower/small: .*optimizer.lr: 0.5, now 0.001"):
        published_run("tower/small", outputs, "ensembles")


def test_a_run_of_a_target_that_has_been_edited_since_is_no_evidence(own, quick, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    train(config := quick("experiment=own/ramp"))
    outputs = config.folder.parents[2]
    assert published_run("own/ramp", outputs).replicas == 1
    with open(target_files(config.target)[0], "a") as file:
        file.write("# another line")
    message = r"own/targets\.py has changed.*: mlpfit reproduce own/ramp trains"
    with pytest.raises(RunError, match=message):
        published_run("own/ramp", outputs)


def test_the_run_of_another_experiment_is_no_evidence(quick):
    train(config := quick("experiment=plane/least_squares"))
    outputs = config.folder.parents[2]
    assert published_run("plane/least_squares", outputs).replicas == 1
    shutil.copytree(config.folder, outputs / "runs/plane/scratch")
    message = r"runs/plane/scratch: not the run that .* \(.*name: plane/least_squares, now plane/s"
    with pytest.raises(RunError, match=message):
        published_run("plane/scratch", outputs)
