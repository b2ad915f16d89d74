"""Multiruns: jobs by content, failures that stay alone, the same bits whichever way a job runs."""

import csv
import itertools
import shutil

import numpy as np
import pytest
from conftest import ROOT, run
from mlpfit.sweeps.sweep import combinations, expand_ready, plan, without_globs

from mlpfit import ConfigError, RunError, load_run
from mlpfit.config.catalogue import ready_sweep, ready_sweeps
from mlpfit.config.compose import compose
from mlpfit.figures.sweep import by_keys, curves, draw_sweep
from mlpfit.runs.run import merge
from mlpfit.sweeps.answers import answer
from mlpfit.sweeps.sharpness import sharpness
from mlpfit.sweeps.summary import FRESH, FRESH_SEED, measured, read, stability_of
from mlpfit.training.train import train

SWEEP = (
    "-m",
    "experiment=tower/small",
    "trainer.max_steps=30",
    "model.hidden=4",
    "logger.tensorboard=false",
)
FILES = ("history.npz", "weights.npz", "metrics.json")

OWN_TARGET = '''
"""A slope that may take its process along."""
import os, signal, sys
from dataclasses import dataclass
from typing import Literal
from mlpfit.targets import Target

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
'''
OWN_YAML = """
name: ramp
slope: 2.0
fault: none
points: 20
inputs: grid
low: 0.0
high: 1.0
noise: 0.1
observed: null
standardise: false
float32: true
"""
OWN_EXPERIMENT = """
# @package _global_
defaults:
  - override /target: ramp
name: own/ramp
question: How steep?
model: {hidden: 3}
trainer: {max_steps: 20}
"""


def own_folder(tmp_path):
    """A user's own target and experiment, outside the package."""
    folder = tmp_path / "mine"
    for name, text in {
        "target/ramp.yaml": OWN_YAML,
        "experiment/own/ramp.yaml": OWN_EXPERIMENT,
    }.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "targets.py").write_text(OWN_TARGET)
    return str(folder)


def rows_of(file):
    with open(file, newline="") as table:
        return list(csv.DictReader(table))


def test_failing_jobs_of_a_users_own_target_stop_no_other_and_run_again(tmp_path):
    mine = own_folder(tmp_path)
    command = ("mlpfit", "-m", "experiment=own/ramp", "ensemble.processes=2")
    first = run(*command, "target.fault=kill,raise,none,exit,fine", cwd=tmp_path, MLPFIT_PATH=mine)
    assert first.returncode == 1
    for cause in ("killed by signal 9", "RuntimeError: no such slope", "SystemExit: 5"):
        assert first.stderr.count(cause) == 1
    assert "3 of 5 jobs failed" in first.stderr and "Traceback" not in first.stderr
    folder = tmp_path / "outputs/sweeps/own/ramp/target.fault"
    rows = rows_of(folder / "summary.csv")
    assert [row["failure"] == "" for row in rows] == [
        row["target.fault"] in ("none", "fine") for row in rows
    ]
    assert (folder / "figure.svg").is_file()
    done = sorted(folder.glob("*/runs/own/ramp/complete.json"))
    assert [path.parents[3].name for path in done] == [
        "ramp,target.fault=fine",
        "ramp,target.fault=none",
    ]
    times = [path.stat().st_mtime_ns for path in done]
    victim = done[0].with_name("metrics.json")
    sound = victim.read_bytes()
    victim.write_bytes(sound + b" ")
    again = run(*command, "target.fault=none,raise,fine", cwd=tmp_path, MLPFIT_PATH=mine)
    assert again.returncode == 1 and "3 jobs, 1 need no training" in again.stdout
    assert [path.stat().st_mtime_ns == time for path, time in zip(done, times, strict=True)] == [
        False,
        True,
    ]
    assert victim.read_bytes() == sound
    refuses_damaged(folder / "summary.csv")
    unknown = run("mlpfit", "experiment=own/ramp", cwd=tmp_path)
    assert unknown.returncode == 2 and "no such choice" in unknown.stderr


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["experiment=tower/small", "optimizer.lr=range(0,0)"], "the sweep has no jobs"),
        (["optimizer.lr=1,2"], "experiment=...: say which one is swept"),
        (["experiment=tower/small", "optimizer.lr=1,,2"], "optimizer.lr=1,,2"),
        (["experiment=tower/small", "optimizer.lr=0.1,abc"], "optimizer.lr=abc: must be a number"),
    ],
)
def test_a_sweep_without_jobs_is_refused(overrides, message):
    with pytest.raises(ConfigError) as error:
        plan(overrides, None)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_ready_sweep_with_other_values_is_another_sweep():
    name, given = expand_ready(["sweep=parabola/hidden_units", "output_dir=x"])
    assert name == "parabola/hidden_units" and plan(given[:-1], name)[1].name == "hidden_units"
    name, given = expand_ready(["sweep=parabola/hidden_units", "model.hidden=4-4", "replicas=2,3"])
    jobs, folder = plan(given, name)
    assert (
        name is None
        and str(folder) == "outputs/sweeps/parabola/eight_neurons/replicas,model.hidden=4-4"
    )
    assert [job.config.replicas for job in jobs] == [2, 3]


def test_a_sweep_whose_every_job_fails_says_why_and_a_forced_one_too(tmp_path):
    command = (*SWEEP, "optimizer=sgd", "optimizer.lr=1e30,1e31", f"output_dir={tmp_path}")
    before = plan(list(command[1:]), None)[1] / "figure.svg"
    before.parent.mkdir(parents=True)
    before.write_text("of an earlier sweep")
    done = run("mlpfit", *command, "force=true", cwd=tmp_path)
    assert (
        done.returncode == 1
        and done.stderr.count("diverged at step") == 2
        and "Traceback" not in done.stderr
    )
    assert "no figure: no job has finished" in done.stdout and not before.exists()
    keys, rows = read(before.parent)
    assert keys == ["optimizer.lr"] and all("diverged at step" in row["failure"] for row in rows)


def test_glob_finds_experiments_in_folders():
    given = without_globs(
        ["experiment=glob(tower/*)", "optimizer=glob(*,exclude=least*)", "seed=1"]
    )
    assert given == ["experiment=tower/small,tower/large", "optimizer=adam,sgd", "seed=1"]
    with pytest.raises(ConfigError, match=r"glob\(towel/\*\): finds none of tower/small, "):
        without_globs(["experiment=glob(towel/*)"])


def test_what_decides_nothing_is_not_swept_and_huge_sweeps_are_refused_at_once():
    with pytest.raises(ConfigError, match="output_dir: decides nothing"):
        plan(["experiment=tower/small", "output_dir=a,b"], None)
    with pytest.raises(ConfigError, match="more than 10000 jobs"):
        plan(["experiment=tower/small", "seed=range(0,1000000000)"], None)


def refuses_damaged(summary):
    """A summary that is not as it was written is not drawn, and the older figure stays."""
    before, figure = summary.read_text(), summary.with_name("figure.svg").read_bytes()
    lines = before.splitlines(keepends=True)
    for damaged in (
        "".join(lines[:-1]),
        lines[0],
        before.replace(",1,", ",3,", 1),
        before.replace("mse_p5", "mse_p6"),
    ):
        assert damaged != before
        summary.write_text(damaged)
        with pytest.raises(RunError, match=r"summary\.csv: not as it was written"):
            draw_sweep(summary.parent)
    assert summary.with_name("figure.svg").read_bytes() == figure


def test_the_same_keys_with_other_fixed_settings_are_another_sweep():
    given = ["experiment=tower/small", "seed=0,1"]
    names = [
        str(plan([*given, *more], None)[1])
        for more in ([], ["replicas=2"], ["replicas=3"], ["force=true"])
    ]
    assert (
        names[1].endswith("/tower/small/seed,replicas=2")
        and names[0] == names[3]
        and len(set(names)) == 3
    )


def test_grids_ranges_choices_and_globs_are_hydras():
    given = [
        "experiment=tower/small,tower/large",
        "seed=range(0,2)",
        "optimizer=glob(*,exclude=least*)",
        "output_dir=x",
    ]
    jobs, folder = plan(given, None)
    assert (
        len(jobs) == 2 * 2 * 2 and str(folder) == "x/sweeps/tower/small/experiment+seed+optimizer"
    )
    assert len({job.config.output_dir for job in jobs}) == 8
    assert {job.config.optimizer.name for job in jobs} == {"adam", "sgd"}
    assert {job.config.name for job in jobs} == {"tower/small", "tower/large"}


def test_folders_are_named_by_content_and_stay_short():
    jobs, _ = plan(["experiment=tower/small", "seeds=[1,2],[3,4]", "model.hidden=4"], None)
    names = [job.config.output_dir.split("/")[-1] for job in jobs]
    assert names[0].startswith("small,model.hidden=4,seeds=_1,2_-") and names[0] != names[1]
    long, _ = plan(["experiment=tower/small", "model.hidden=" + "-".join("4" * 90) + ",5"], None)
    assert max(len(job.config.output_dir.split("/")[-1]) for job in long) < 140
    twice, _ = plan(["experiment=tower/small", "seed=1,1,2"], None)
    assert len(twice) == 2


def ranges(folder, *overrides: str) -> list:
    """Three jobs of two replicas each."""
    done = run("mlpfit", *SWEEP, "replicas=2", "seed=range(0,6,2)", *overrides, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [
        load_run(path)
        for path in sorted((folder / "outputs/sweeps").rglob("ensembles/tower/small"))
    ]


def test_ranges_of_seeds_are_the_runs_alone_and_merge_to_one(tmp_path, quick):
    jobs = ranges(tmp_path)
    alone = quick(*SWEEP[1:], "replicas=2", "seed=2")
    train(alone)
    for name in FILES:
        ours, theirs = (r.parts[0].path / name for r in (jobs[1], load_run(alone.run_dir)))
        assert ours.read_bytes() == theirs.read_bytes()
    merged = merge(jobs)
    whole = quick(*SWEEP[1:], "replicas=6")
    train(whole)
    order = np.argsort(merged.seeds)
    assert sorted(merged.seeds) == load_run(whole.run_dir).seeds
    np.testing.assert_allclose(
        merged.history["loss"][:, order], load_run(whole.run_dir).history["loss"], rtol=1e-5
    )


def test_a_summary_says_what_the_runs_hold(quick):
    config = quick("experiment=parabola/eight_neurons", "trainer.max_steps=50", "replicas=7")
    train(config)
    run_, row = load_run(config.run_dir), measured(config, sharpness=True)
    assert float(row["mse_median"]) == pytest.approx(np.sort(run_.metrics["mse"])[3], rel=1e-5)
    assert row["parameters"] == "25" and row["layers"] == "1" and row["diverged"] == "0"
    x = np.random.default_rng(FRESH_SEED).uniform(-5, 5, (FRESH, 1))  # the parabola has no noise
    fresh = ((run_.predict(x) - x**2) ** 2).mean((1, 2))
    assert float(row["fresh_mse_median"]) == pytest.approx(np.sort(fresh)[3], rel=1e-4)


def test_sharpness_of_a_linear_unit_is_that_of_its_design(quick):
    """Half the mean square has the Hessian X^T X / n, and the mean square twice that, whatever the
    weights."""
    config = quick(
        "experiment=plane/scratch", "model.hidden=none", "trainer.max_steps=3", "replicas=3"
    )
    train(config)
    run_ = load_run(config.run_dir)
    for found, x in zip(sharpness(run_, None), run_.data["x"], strict=True):
        design = np.hstack([x, np.ones((len(x), 1))])
        expected = np.linalg.eigvalsh(2 * design.T @ design / len(x))[-1]
        assert found == pytest.approx(expected, rel=1e-9)


def test_descent_is_stable_below_two_over_the_sharpness_and_not_above(quick):
    losses = []
    for factor in (0.98, 1.02):
        config = quick("experiment=gradient/line_autograd", "trainer.max_steps=600", "loss=mse")
        train(config)
        limit = 2 / sharpness(load_run(config.run_dir), None)[0]
        config = quick(
            "experiment=gradient/line_autograd",
            "trainer.max_steps=600",
            "loss=mse",
            f"optimizer.lr={limit * factor}",
        )
        train(config)
        history = load_run(config.run_dir).history["loss"][:, 0]
        losses.append(history[-1] / history[0])
    assert losses[0] < 1 < 100 < losses[1]


def grid(*keys):
    """Rows as summary.csv holds them, over these keys."""
    jobs = itertools.product(*(["1", "2", "8"] for _ in keys))
    numbers = {
        f"{q}_{w}": "0.5"
        for q in ("mse", "truth_mse", "fresh_mse")
        for w in ("p5", "median", "p95")
    }
    return [
        dict(zip(keys, job, strict=True))
        | numbers
        | {"job": "", "failure": "", "diverged": "0.1", "parameters": "9"}
        for job in jobs
    ]


@pytest.mark.parametrize("keys, panels", [(("a",), 1), (("a", "b"), 1), (("a", "b", "c"), 3)])
def test_the_figure_suits_the_number_of_swept_keys(keys, panels):
    figure = by_keys(grid(*keys), list(keys))
    assert len(figure.axes) == panels
    lines, images = len(figure.axes[0].lines), len(figure.axes[0].images)
    assert (lines > 0, images) == ((True, 0) if len(keys) == 1 else (False, 1))


def test_a_curve_marks_lost_jobs():
    rows = grid("a")
    rows[2] |= {"mse_median": "inf", "mse_p95": "inf", "diverged": "0.9"}
    (ax,) = curves(rows, "a").axes
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    assert list(crosses.get_xdata()) == [8.0]


def test_stability_is_read_from_the_gentlest_job():
    rows = [
        r | {"lr": lr, "diverged": lost}
        for r, lr, lost in zip(grid("a"), "123", ("0", "0", "0.5"), strict=True)
    ]
    for row, value in zip(rows, (4.0, 8.0, 16.0), strict=True):
        row |= {f"sharpness_{q}": str(value) for q in ("p5", "median", "p95")}
    assert stability_of(rows, "lr") == (0.5, 0.5, 0.5, 2.0)


def test_every_ready_sweep_composes_and_has_its_question():
    for name in ready_sweeps():
        _, combined = combinations(ready_sweep(name)["overrides"])
        for job in (combined[0], combined[-1]):
            assert compose(job).replicas == 64
        assert ready_sweep(name)["question"].endswith("?")


def test_width_is_held_against_depth_at_equal_parameters():
    jobs, _ = plan(ready_sweep("tower/width_and_depth")["overrides"], None)
    counts = np.array(
        [sum((a + 1) * b for a, b in itertools.pairwise(job.config.units)) for job in jobs]
    )
    for group in counts.reshape(3, 3):
        assert group.max() < 1.1 * group.min()


@pytest.mark.parametrize("name", ready_sweeps())
def test_the_kept_summaries_are_of_the_sweeps_and_answer_them(name, tmp_path):
    kept = ROOT / "outputs/sweeps" / name
    folder = tmp_path / "sweeps" / name
    folder.mkdir(parents=True)
    shutil.copy(kept / "summary.csv", folder)
    keys, rows = read(folder)
    swept, combined = combinations(ready_sweep(name)["overrides"])
    assert keys == swept
    for row, job in zip(rows, combined, strict=True):
        assert {f"{key}={row[key]}" for key in keys} <= set(job)
    assert answer(name, rows).endswith(".")
    draw_sweep(folder)
    assert (folder / "figure.svg").read_bytes() == (kept / "figure.svg").read_bytes()


def test_runs_that_differ_in_the_learning_rate_share_a_compiled_graph(tmp_path, quick):
    from mlpfit.model import compiled

    known = set(compiled._GRAPHS)
    for lr in (0.01, 0.02):
        config = quick(
            "experiment=parabola/eight_neurons", "trainer.max_steps=20", "replicas=3", "trainer.compile=true",
            f"optimizer.lr={lr}", f"output_dir={tmp_path}/{lr}",
        )  # fmt: skip
        train(config)
        loss = load_run(config.run_dir).history["loss"]
        eager = quick(*[f"{k}" for k in ("experiment=parabola/eight_neurons", "trainer.max_steps=20", "replicas=3")],
                      f"optimizer.lr={lr}", f"output_dir={tmp_path}/eager{lr}")  # fmt: skip
        train(eager)
        np.testing.assert_allclose(loss, load_run(eager.run_dir).history["loss"], rtol=1e-4)
    assert len(set(compiled._GRAPHS) - known) <= 1


LAUNCHERS = {"joblib": "joblib", "basic": "", "submitit_local": "submitit", "ray": "ray"}


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.slow
def test_other_launchers_give_the_same_bits(tmp_path, launcher):
    if package := LAUNCHERS[launcher]:
        pytest.importorskip(
            f"hydra_plugins.hydra_{package}_launcher",
            reason=f"pip install hydra-{package}-launcher",
        )
    (tmp_path / "here").mkdir(), (tmp_path / "there").mkdir()
    here, there = (
        ranges(tmp_path / "here"),
        ranges(tmp_path / "there", f"hydra/launcher={launcher}"),
    )
    assert len(here) == len(there) == 3
    for ours, theirs in zip(here, there, strict=True):
        for one, other in zip(ours.parts, theirs.parts, strict=True):
            for name in FILES:
                assert (one.path / name).read_bytes() == (other.path / name).read_bytes()


@pytest.mark.slow
def test_a_worker_of_joblib_that_is_killed_does_not_sink_the_rest(tmp_path):
    pytest.importorskip(
        "hydra_plugins.hydra_joblib_launcher", reason="pip install hydra-joblib-launcher"
    )
    mine = own_folder(tmp_path)
    command = (
        "mlpfit",
        "-m",
        "experiment=own/ramp",
        "target.fault=none,raise,kill,exit",
        "target.slope=1,2,3",
    )
    done = run(*command, "hydra/launcher=joblib", cwd=tmp_path, MLPFIT_PATH=mine)
    assert done.returncode == 1
    rows = rows_of(tmp_path / "outputs/sweeps/own/ramp/target.fault+target.slope/summary.csv")
    failures = {(row["target.fault"], row["failure"]) for row in rows}
    assert failures == {
        ("none", ""),
        ("raise", "ConfigError: target ramp: RuntimeError: no such slope"),
        ("exit", "ConfigError: target ramp: SystemExit: 5"),
        ("kill", "its process ended early (killed by signal 9)"),
    }


def failed(row, *keys):
    """The row of a failed job, as summary.csv holds it."""
    return {k: v if k in keys else "" for k, v in row.items()} | {"failure": "diverged at step 3"}


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_failed_jobs_are_in_the_figure():
    rows = grid("a")
    (ax,) = by_keys([*rows[:2], failed(rows[2], "a")], ["a"]).axes
    assert [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "x"] == [[8.0]]
    assert "job failed" in [text.get_text() for text in ax.get_legend().get_texts()]
    rows = grid("a", "b")
    assert texts(by_keys([failed(rows[0], "a", "b"), *rows[1:]], ["a", "b"])).count("failed") == 1
    rows = [row | {"mse_median": "inf", "mse_p95": "inf", "diverged": "1"} for row in grid("a")]
    assert texts(by_keys(rows, ["a"])) == ["no job has a median:\nall replicas diverged"]


def test_categories_are_not_joined_and_their_names_do_not_overlap():
    names = [
        "restoration/framework",
        "restoration/sine_network",
        "parabola/eight_neurons",
        "tower/small",
    ]
    figure = by_keys([grid("a")[0] | {"a": name} for name in names], ["a"])
    (ax,) = figure.axes
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {40}


@pytest.mark.parametrize("columns, lines, bar", [(3, 3, False), (18, 12, False), (40, 30, True)])
def test_the_text_in_a_map_stays_in_its_cell(columns, lines, bar):
    jobs = itertools.product(range(columns), range(lines))
    rows = [grid("a")[0] | {"a": str(a), "b": str(b), "mse_median": "123.4"} for a, b in jobs]
    rows[0] |= {"mse_median": "inf", "diverged": "0.75"}
    figure = by_keys(rows, ["a", "b"])
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert len(figure.axes) == 1 + bar and ("120" in "".join(texts(figure))) != bar
    width, height = ax.get_window_extent().size / (columns, lines)
    for text in ax.texts:
        assert text.get_window_extent().width <= width and text.get_window_extent().height <= height


def test_every_column_of_panels_has_its_labels_below():
    jobs = itertools.product("12345", repeat=3)
    rows = [grid("a")[0] | dict(zip("abc", job, strict=True)) for job in jobs]
    shown = [ax.xaxis.get_tick_params()["labelbottom"] for ax in by_keys(rows, list("abc")).axes]
    assert shown == [False, False, True, True, True]


def test_whole_numbers_have_whole_ticks():
    rows = [grid("a")[0] | {"a": str(seed)} for seed in range(40)]
    (ax,) = by_keys(rows, ["a"]).axes
    assert all(float(tick).is_integer() for tick in ax.get_xticks())
