"""Other launchers give the same bits, and lose nothing with a worker or a machine. Slow: they need
``make test-launchers``."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import run

from mlpfit import load_run
from mlpfit.config.compose import compose
from mlpfit.sweeps.summary import read_summary
from mlpfit.training.train import train

pytestmark = pytest.mark.slow
SWEEP = ("experiment=tower/small", "trainer.max_steps=30", "model.hidden=4", "logger=none")
SHARDS = ("hydra/sweeper=shards", "replicas=9", "ensemble.shard=2")
PACKAGES = {"basic": "", "joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}
# A local cluster of this test alone, whose workers are not nicer than the other tests.
OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


def needs(launcher):
    if package := PACKAGES[launcher]:
        name = f"hydra_plugins.hydra_{package}_launcher"
        pytest.importorskip(name, reason=f"pip install hydra-{package}-launcher")


def at_once(folder, *overrides):
    """The ensemble as one command trains it."""
    config = compose([f"output_dir={folder}/outputs", *overrides])
    train(config)
    return load_run(config.folder)


@pytest.mark.parametrize("launcher", PACKAGES)
def test_jobs_are_the_same_bits_whatever_launches_them(tmp_path, launcher):
    needs(launcher)
    given = ("mlpfit", "-m", *SWEEP, "replicas=2", "seed=range(0,6,2)")
    done = run(*given, f"hydra/launcher={launcher}", cwd=tmp_path, **OPEN)
    assert done.returncode == 0, done.stderr
    markers = sorted((tmp_path / "outputs/sweeps").glob("tower/small/*/*/complete.json"))
    assert len(markers) == 3
    for seed, marker in zip((0, 2, 4), markers, strict=True):
        alone = at_once(tmp_path / f"alone{seed}", *SWEEP, "replicas=2", f"seed={seed}")
        assert load_run(marker.parent).number_hashes() == alone.number_hashes()


@pytest.mark.parametrize("launcher", PACKAGES)
def test_an_ensemble_is_the_same_bits_whatever_trains_its_shards(tmp_path, launcher):
    needs(launcher)
    done = run("mlpfit", "-m", *SWEEP, *SHARDS, f"hydra/launcher={launcher}", cwd=tmp_path, **OPEN)
    assert done.returncode == 0, done.stderr
    ours = load_run(tmp_path / "outputs/ensembles/tower/small")
    assert ours.number_hashes() == at_once(tmp_path / "other", *SWEEP, *SHARDS[1:]).number_hashes()


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_a_search_is_the_same_whatever_launches_it(tmp_path, launcher):
    needs(launcher)
    given = ("mlpfit", "-m", *SWEEP, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4")
    tables = []
    for name in ("basic", launcher):
        (tmp_path / name).mkdir()
        space = ("optimizer.lr=interval(0.001,0.1)", f"hydra/launcher={name}")
        done = run(*given, *space, cwd=tmp_path / name, **OPEN)
        assert done.returncode == 0, done.stderr
        (summary,) = (tmp_path / name).rglob("summary.csv")
        tables.append([row | {"seconds": ""} for row in read_summary(summary.parent)[1]])
    assert tables[0] == tables[1] and len(tables[0]) == 4


def test_a_worker_of_joblib_that_is_killed_costs_no_more_than_its_shard(tmp_path, own):
    """joblib gives up all jobs with one; those left are launched again while some finish."""
    needs("joblib")
    given = ("mlpfit", "-m", "experiment=own/ramp", *SHARDS, "hydra/launcher=joblib")
    (tmp_path / "fault").write_text("2 kill")
    first = run(*given, "hydra.launcher.n_jobs=2", cwd=tmp_path, MLPFIT_PATH=own)
    assert first.returncode == 1
    last = first.stderr.splitlines()[-1]  # two may have finished together
    assert re.search("[23] of 5 shards are missing .TerminatedWorkerError.*the same command", last)
    (tmp_path / "fault").unlink()
    assert run(*given, cwd=tmp_path, MLPFIT_PATH=own).returncode == 0
    assert load_run(tmp_path / "outputs/ensembles/own/ramp").replicas == 9


def wait_for(folder, count, process):
    """Until so many shards are finished, or the command has ended."""
    partial = folder / "outputs/ensembles/tower/.small.mlpfit-unfinished/shards"
    while process.poll() is None and len(list(partial.glob("*/complete.json"))) < count:
        time.sleep(0.2)
    assert process.poll() is None


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster of two nodes on this machine, one core each; gives it and its second node."""
    needs("ray")
    from ray.cluster_utils import Cluster

    for key, value in OPEN.items():
        monkeypatch.setenv(key, value)
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes, second
    nodes.shutdown()


LONGER = ("experiment=tower/small", "trainer.max_steps=300", "replicas=96", "ensemble.shard=8")


def test_a_machine_that_is_lost_costs_no_more_than_its_shard(tmp_path, cluster):
    """Ray runs the jobs of a lost node elsewhere: the same command ends, complete and bit-equal."""
    nodes, second = cluster
    there = (f"hydra.launcher.ray.init.address={nodes.address}", "hydra/launcher=ray_cluster")
    given = (*LONGER, "hydra/sweeper=shards", *there)
    process = subprocess.Popen([sys.executable, "-m", "mlpfit", "-m", *given], cwd=tmp_path)
    wait_for(tmp_path, 3, process)
    nodes.remove_node(second, allow_graceful=False)
    assert process.wait() == 0
    ours = load_run(tmp_path / "outputs/ensembles/tower/small")
    ours.check_files()
    assert ours.number_hashes() == at_once(tmp_path / "other", *LONGER).number_hashes()


def test_a_killed_command_is_gone_on_with_although_its_jobs_live(tmp_path):
    """SIGKILL for the command alone; its processes may still be at their shards."""
    given = [sys.executable, "-m", "mlpfit", "-m", *LONGER, "hydra/sweeper=shards"]
    process = subprocess.Popen(given, cwd=tmp_path)
    wait_for(tmp_path, 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(given, cwd=tmp_path).returncode == 0
    ours = load_run(tmp_path / "outputs/ensembles/tower/small")
    ours.check_files()
    assert ours.number_hashes() == at_once(tmp_path / "other", *LONGER).number_hashes()


def test_a_sweep_whose_worker_of_joblib_is_killed_has_a_summary(tmp_path, own):
    needs("joblib")
    given = ("-m", "experiment=own/ramp", "target.slope=1,2,3", "hydra/launcher=joblib")
    (tmp_path / "fault").write_text("1 kill")
    command = (*given, "hydra.launcher.n_jobs=2")
    broken = run("mlpfit", *command, cwd=tmp_path, MLPFIT_PATH=own)
    assert broken.returncode == 1 and "Traceback" not in broken.stderr
    *_, lost, count, reason = broken.stderr.splitlines()
    assert re.match("mlpfit: target.slope=[123]: no exit status recorded", lost)
    assert re.match("mlpfit: [123] of 3 jobs failed; the same command runs them again", count)
    assert reason.startswith("mlpfit: TerminatedWorkerError: ") and len(reason) < 150
    folder = tmp_path / "outputs/sweeps/own/ramp/target.slope"
    keys, rows = read_summary(folder)
    assert keys == ["target.slope"] and [row["target.slope"] for row in rows] == ["1", "2", "3"]
    (tmp_path / "fault").unlink()
    again = run("mlpfit", *given, cwd=tmp_path, MLPFIT_PATH=own)
    assert again.returncode == 0, again.stderr
