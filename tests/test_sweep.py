"""Multiruns: jobs by content, failures that stay alone, the same bits through another launcher."""

import json

import numpy as np
import pytest
from conftest import run

from mlpfit import load_run
from mlpfit.runs import merge

SWEEP = ("-m", "experiment=tower/small", "trainer.max_steps=30", "model.hidden=4", "logger.tensorboard=false")
PREFIX = "outputs/sweeps/tower/small"


def test_a_sweep_runs_every_job_once_and_a_failing_one_stops_no_other(tmp_path):
    command = ("mlpfit.train", *SWEEP, "optimizer.lr=0.001,-1,0.01")
    first = run(*command, cwd=tmp_path)
    assert first.returncode == 1
    assert "ConfigError: optimizer.lr=-1: must be above 0" in first.stderr
    notes = {p.parent.name: json.loads(p.read_text()) for p in (tmp_path / PREFIX).glob("*/job.json")}
    assert len(notes) == 3 and sum(note["error"] is None for note in notes.values()) == 2
    done = [tmp_path / note["run"] for note in notes.values() if note["error"] is None]
    times = [(path / "complete.json").stat().st_mtime_ns for path in done]
    assert run(*command, cwd=tmp_path).returncode == 1
    assert [(path / "complete.json").stat().st_mtime_ns for path in done] == times


def ranges(tmp_path, *overrides: str) -> list:
    done = run("mlpfit.train", *SWEEP, "replicas=2", "seed=range(0,6,2)", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return [load_run(path) for path in sorted((tmp_path / PREFIX).glob("*/ensembles/tower/small"))]


def test_ranges_of_seeds_merge_to_one_run_of_the_same_seeds(tmp_path, quick):
    from mlpfit.train import train

    merged = merge(ranges(tmp_path))
    whole = quick(*SWEEP[1:], "replicas=6")
    train(whole)
    expected = load_run(whole.run_dir)
    order = np.argsort(merged.seeds)
    assert sorted(merged.seeds) == expected.seeds
    np.testing.assert_allclose(merged.history["loss"][:, order], expected.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("launcher, package", [("submitit_local", "submitit"), ("ray", "ray")])
@pytest.mark.slow
def test_other_launchers_give_the_same_bits(tmp_path, launcher, package):
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher", reason=f"pip install hydra-{package}-launcher")
    (tmp_path / "here").mkdir(), (tmp_path / "there").mkdir()
    here, there = ranges(tmp_path / "here"), ranges(tmp_path / "there", f"hydra/launcher={launcher}")
    assert len(here) == len(there) == 3
    for ours, theirs in zip(here, there, strict=True):
        for one, other in zip(ours.parts, theirs.parts, strict=True):
            for name in ("history.npz", "weights.npz", "metrics.json"):
                assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
