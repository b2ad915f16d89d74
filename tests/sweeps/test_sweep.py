"""Multiruns: jobs by content, failures that stay alone, the same bits whichever way a job runs."""

import itertools

import numpy as np
import pytest
from conftest import committed, run, tutorial_folder

from mlpfit import RunError, load_run
from mlpfit.config.catalogue import ready_sweep, ready_sweeps, tutorial
from mlpfit.config.compose import compose
from mlpfit.config.sources import job_folder, sweep_folder
from mlpfit.engine import compiler
from mlpfit.sweeps.closing import answer, draw_sweep
from mlpfit.sweeps.summary import numbers_of_run, objective, read_summary, sharpness_at
from mlpfit.training import engine
from mlpfit.training.train import train

SWEEP = ("-m", "experiment=tower/small", "trainer.max_steps=30", "model.hidden=4", "logger=none")
FILES = ("history.npz", "weights.npz", "metrics.json")

OWN = {
    "targets.py": '''
"""A slope that may take its process along."""
import os, signal, sys
from dataclasses import dataclass
from typing import Literal
from mlpfit.data.targets import Target

@dataclass(frozen=True, kw_only=True)
class Ramp(Target, name="ramp"):
    slope: float
    fault: Literal["none", "fine", "raise", "exit", "kill"]

    def __call__(self, x):
        if self.fault == "raise":
            raise RuntimeError("no such slope")
        if self.fault == "exit":
            sys.exit(5)
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.slope * x
''',
    "conf/target/ramp.yaml": """
{name: ramp, slope: 2.0, fault: none, points: 20, inputs: grid, low: 0.0, high: 1.0, noise: 0.1,
 observed: null, standardise: false, float32: true}
""",
    "conf/experiment/own/ramp.yaml": """# @package _global_
defaults: [override /target: ramp]
name: own/ramp
question: How steep?
model: {hidden: 3}
trainer: {max_steps: 20}
""",
}


@pytest.mark.slow
def test_failing_jobs_of_a_users_own_target_stop_no_other_and_run_again(tmp_path):
    mine = tutorial_folder(tmp_path / "own", OWN)
    command = ("mlpfit", "-m", "experiment=own/ramp", "hydra.launcher.processes=2")
    first = run(*command, "target.fault=kill,raise,none,exit,fine", cwd=tmp_path, MLPFIT_PATH=mine)
    assert first.returncode == 1, first.stderr
    for cause in ("killed by signal 9", "RuntimeError: no such slope", "SystemExit: 5"):
        assert first.stderr.count(cause) == 1
    assert "3 of 5 jobs failed" in first.stderr and "Traceback" not in first.stderr
    folder = tmp_path / "outputs/sweeps/own/ramp/target.fault"
    _, rows = read_summary(folder)
    sound = ("none", "fine")
    assert [r["failure"] == "" for r in rows] == [r["target.fault"] in sound for r in rows]
    assert (folder / "figure.svg").is_file()
    done = sorted(folder.glob("*/complete.json"))
    names = [path.parent.name for path in done]
    assert names == ["ramp,target.fault=fine", "ramp,target.fault=none"]
    times = [path.stat().st_mtime_ns for path in done]
    victim = done[0].with_name("metrics.json")
    content = victim.read_bytes()
    victim.write_bytes(content + b" ")
    again = run(*command, "target.fault=none,raise,fine", cwd=tmp_path, MLPFIT_PATH=mine)
    assert again.returncode == 1 and "3 jobs, 1 of them finished" in again.stdout
    kept = [path.stat().st_mtime_ns == time for path, time in zip(done, times, strict=True)]
    assert kept == [False, True] and victim.read_bytes() == content
    assert [r["target.fault"] for r in read_summary(folder)[1]] == ["none", "raise", "fine"]
    refuses_damaged(folder / "summary.csv")


def refuses_damaged(summary):
    """A summary that is no summary is not drawn, and the older figure stays."""
    before, figure = summary.read_text(), summary.with_name("figure.svg").read_bytes()
    header = before.splitlines(keepends=True)[0]
    for damaged in ("", header, before.replace(",job,", ",jab,", 1)):
        assert damaged != before
        summary.write_text(damaged)
        with pytest.raises(RunError, match=r"summary\.csv: damaged; run the sweep again"):
            draw_sweep(summary.parent)
    assert summary.with_name("figure.svg").read_bytes() == figure


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["experiment=tower/small", "optimizer.lr=range(0,0)"], "optimizer.lr=range(0,0)"),
        (["optimizer.lr=1,2"], "experiment=...: choose one of tower/small, "),
        (["experiment=tower/small", "optimizer.lr=1,,2"], "optimizer.lr=1,,2"),
        (["experiment=tower/small", "optimizer.lr=0.1,abc"], "optimizer.lr=abc: must be"),
        (["experiment=tower/small", "output_dir=a,b"], "output_dir: changes no result"),
        (["experiment=tower/small", "seed=range(0,1000000000)"], "more than 10000 jobs"),
        (["experiment=glob(towel/*)"], "experiment=glob(towel/*)"),
        (["experiment=tower/small", "seed=1,1"], "seed=1: two jobs share the folder"),
        (
            ["experiment=tower/small", "seed=1,2", "hydra.sweep.subdir=same"],
            "seed=2: two jobs share the folder",
        ),
    ],
)
def test_a_sweep_that_can_not_be_run_is_refused_whole(overrides, message, refused):
    assert message in refused("-m", *overrides)


def test_a_sweep_whose_every_job_fails_says_why_and_a_forced_one_too(tmp_path):
    command = (*SWEEP, "optimizer=sgd", "optimizer.lr=1e30,1e31")
    name = sweep_folder(command[2:], {"experiment": "tower/small"})
    before = tmp_path / "outputs/sweeps" / name / "figure.svg"
    before.parent.mkdir(parents=True)
    before.write_text("of an earlier sweep")
    before.with_name("sweep.json").write_text('{"keys": ["optimizer.lr"], "started": "earlier"}')
    done = run("mlpfit", *command, "force=true", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("diverged at step") == 2
    assert "Traceback" not in done.stderr
    assert "no figure: no job has finished" in done.stdout and not before.exists()
    keys, rows = read_summary(before.parent)
    assert keys == ["optimizer.lr"] and all("diverged at step" in row["failure"] for row in rows)


def test_sweeps_are_named_by_keys_and_by_what_is_fixed():
    chosen = {"experiment": "tower/small"}
    given = ["experiment=tower/small", "seed=0,1"]
    more = ([], ["replicas=2"], ["replicas=3"], ["force=true"], ["output_dir=x"])
    names = [sweep_folder([*given, *fixed], chosen) for fixed in more]
    assert names[1] == "tower/small/seed,replicas=2" and names[0] == names[3] == names[4]
    assert len(set(names)) == 3
    ready = {"experiment": "parabola/eight_neurons", "sweep": "parabola/hidden_units"}
    assert sweep_folder(["sweep=parabola/hidden_units"], ready) == "parabola/hidden_units"
    other = sweep_folder(["sweep=parabola/hidden_units", "replicas=2"], ready)
    assert other == "parabola/hidden_units,replicas=2"
    both = sweep_folder(["experiment=tower/small,tower/large", "seed=0,1"], {})
    assert both == "tower/experiment+seed"


def test_a_misspelt_sweep_or_setting_of_its_callback_says_what_is_allowed(tmp_path):
    given = ("seed=1,2", "+hydra.callbacks.experiments.figur=1")
    done = run("mlpfit", *SWEEP, *given, cwd=tmp_path)
    allowed = "no such key; did you mean figure? allowed are question, figure, sharpness"
    assert done.stderr == f"mlpfit: hydra.callbacks.experiments.figur: {allowed}\n"
    folder = tmp_path / "outputs/sweeps/tower/width"
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text("")
    for name in ("tower/widht", "../sweeps/tower"):
        done = run("mlpfit", "figures", f"sweep={name}", cwd=tmp_path)
        assert done.returncode == 2 and "no such sweep" in done.stderr
        assert done.stderr.endswith("allowed are tower/width\n")


def test_jobs_are_named_by_content_and_stay_short():
    names = [job_folder(["model.hidden=4", f"seeds={s}"], "tower/small") for s in ("[1,2]", "[3]")]
    assert names[0].startswith("small,model.hidden=4,seeds=_1,2_-") and names[0] != names[1]
    assert len(job_folder(["model.hidden=" + "-".join("4" * 90)], "tower/small")) < 140


@pytest.mark.slow
def test_grids_ranges_choices_and_globs_are_hydras(tmp_path):
    given = ("experiment=glob(plane/*,exclude=*squares)", "seed=range(0,2)", "trainer.max_steps=3")
    done = run("mlpfit", "-m", *given, "optimizer=choice(adam,sgd)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name = "plane/experiment+seed+optimizer,trainer.max_steps=3"
    keys, rows = read_summary(tmp_path / "outputs/sweeps" / name)
    assert keys == ["experiment", "seed", "optimizer"]
    jobs = {(row["experiment"], row["seed"], row["optimizer"]) for row in rows}
    names = ("plane/scratch", "plane/sequential")
    assert jobs == set(itertools.product(names, "01", ("adam", "sgd")))


def ranges(folder, *overrides: str) -> list:
    """Three jobs of two replicas each."""
    done = run("mlpfit", *SWEEP, "replicas=2", "seed=range(0,6,2)", *overrides, cwd=folder)
    assert done.returncode == 0, done.stderr
    markers = (folder / "outputs/sweeps").glob("tower/small/*/*/complete.json")
    return [load_run(marker.parent) for marker in sorted(markers)]


@pytest.mark.parametrize(
    "launcher", [(), pytest.param(("hydra/launcher=basic",), marks=pytest.mark.slow)]
)
def test_ranges_of_seeds_are_the_runs_alone_and_merge_to_one(tmp_path, quick, launcher):
    jobs = ranges(tmp_path, *launcher)
    alone = quick(*SWEEP[1:], "replicas=2", "seed=2")
    train(alone)
    for name in FILES:
        ours, theirs = (r.shards[0].path / name for r in (jobs[1], load_run(alone.folder)))
        assert ours.read_bytes() == theirs.read_bytes()
    seeds = [seed for job in jobs for seed in job.seeds]
    whole = quick(*SWEEP[1:], "replicas=6")
    train(whole)
    assert sorted(seeds) == load_run(whole.folder).seeds
    expected = load_run(whole.folder).history["loss"]
    losses = np.concatenate([job.history["loss"] for job in jobs], axis=1)
    np.testing.assert_allclose(losses[:, np.argsort(seeds)], expected, rtol=1e-5)


@pytest.mark.slow
def test_a_sweep_goes_where_hydra_is_told(tmp_path):
    given = ("seed=0,1", "hydra.sweep.dir=mine", "hydra.sweep.subdir=${hydra.job.num}")
    done = run("mlpfit", *SWEEP, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("summary.csv", "multirun.yaml", "0/complete.json", "1/.hydra/overrides.yaml"):
        assert (tmp_path / "mine" / name).is_file()


def test_the_number_for_a_sweeper_is_the_median_and_a_diverged_replica_is_infinite(quick):
    config = quick("experiment=restoration/framework", "trainer.max_steps=200", "replicas=24")
    train(config)
    run_ = load_run(config.folder)
    assert run_.diverged.any()
    expected = np.sort(np.where(run_.diverged, np.inf, run_.metrics["mse"]))[11]
    assert objective(run_, "mse") == expected


def test_a_summary_says_what_the_runs_hold(quick):
    config = quick("experiment=parabola/eight_neurons", "trainer.max_steps=50", "replicas=7")
    train(config)
    run_ = load_run(config.folder)
    row = numbers_of_run(run_, sharpness=True)
    for name in ("mse", "truth_mse", "val_mse"):
        expected = np.sort(run_.metrics[name])[3]
        assert row[f"{name}_median"] == pytest.approx(expected, rel=1e-5)
    assert row["parameters"] == 25 and row["layers"] == 1 and row["diverged"] == 0


def test_sharpness_of_a_linear_unit_is_that_of_its_design(quick):
    """Half the mean square has the Hessian X^T X / n, and the mean square twice that, whatever the
    weights."""
    given = ("experiment=plane/scratch", "model.hidden=none", "trainer.max_steps=3")
    train(config := quick(*given, "replicas=3"))
    run_ = load_run(config.folder)
    for largest, x in zip(sharpness_at(run_, None), run_.data["x"], strict=True):
        design = np.hstack([x, np.ones((len(x), 1))])
        expected = np.linalg.eigvalsh(2 * design.T @ design / len(x))[-1]
        assert largest == pytest.approx(expected, rel=1e-9)


def test_descent_is_stable_below_two_over_the_sharpness_and_not_above(quick):
    losses = []
    given = ("experiment=gradient/line_autograd", "trainer.max_steps=600", "loss=mse")
    for factor in (0.98, 1.02):
        config = quick(*given)
        train(config)
        limit = 2 / sharpness_at(load_run(config.folder), None)[0]
        config = quick(*given, f"optimizer.lr={limit * factor}")
        train(config)
        history = load_run(config.folder).history["loss"][:, 0]
        losses.append(history[-1] / history[0])
    assert losses[0] < 1 < 100 < losses[1]


def test_every_ready_sweep_composes_and_has_its_question_and_an_answer():
    for name in ready_sweeps():
        answers = tutorial(name).module("answers", "ANSWERS")
        assert answers is not None and name.split("/")[1] in answers.ANSWERS
        assert ready_sweep(name).question.endswith("?")


def kept_summary(name, tmp_path):
    """A folder with the summary of a ready sweep that the repository keeps."""
    folder = tmp_path / "sweeps" / name
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_bytes(committed(f"outputs/sweeps/{name}/summary.csv"))
    return folder


def test_width_is_held_against_depth_at_equal_parameters(tmp_path):
    _, rows = read_summary(kept_summary("tower/width_and_depth", tmp_path))
    counts = np.array([row["parameters"] for row in rows])
    for group in counts.reshape(3, 3):
        assert group.max() < 1.1 * group.min()


@pytest.mark.parametrize("name", ready_sweeps())
def test_the_kept_summaries_are_of_the_sweeps_and_answer_them(name, tmp_path):
    folder = kept_summary(name, tmp_path)
    keys, rows = read_summary(folder)
    params = ready_sweep(name).params
    assert keys == list(params)
    values = itertools.product(*(value.split(",") for value in params.values()))
    for row, job in zip(rows, values, strict=True):
        assert [row[key] for key in keys] == [value.strip() for value in job]
    assert answer(name, rows).endswith(".")
    draw_sweep(folder)
    assert (folder / "figure.svg").read_bytes() == committed(f"outputs/sweeps/{name}/figure.svg")


def test_runs_that_differ_in_the_learning_rate_share_their_kernels(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(engine, "COMPILING", 0)  # also the one made for the problem
    short = ("experiment=parabola/eight_neurons", "trainer.max_steps=20", "replicas=5")
    loaded = []
    for lr in (0.01, 0.02):
        losses = []
        for way in ("true", "false"):
            place = f"output_dir={tmp_path}/{way}{lr}"
            config = quick(*short, f"engine={way}", f"optimizer.lr={lr}", place)
            train(config)
            losses.append(load_run(config.folder).history["loss"])
        np.testing.assert_allclose(*losses, rtol=1e-4)
        loaded.append(compiler._load.cache_info().misses)
    assert 2 <= loaded[0] == loaded[1]


def test_ready_sweeps_compose_every_job():
    for name in ready_sweeps():
        first = [f"{key}={value.split(',')[0]}" for key, value in ready_sweep(name).params.items()]
        assert compose([f"sweep={name}", *first]).replicas == 64
