"""A search by Optuna: Hydra's space, a function of the seed, killed or not; nothing lost."""

import math
import signal
import subprocess
import sys

import optuna
import pytest
from conftest import run

from mlpfit.figures.sweep import search_figure
from mlpfit.sweeps.summary import read_summary

SPACE = ("optimizer.lr=tag(log,interval(0.001,0.2))", "model.hidden=choice(2,4,8)")
BASE = ("experiment=parabola/eight_neurons", "trainer.max_steps=5", "replicas=3", "logger=none")
SEARCH = ("-m", *BASE, "hydra/sweeper=optuna", "hydra/launcher=basic")


@pytest.mark.parametrize(
    "overrides, message",
    [
        ((), "nothing to search"),
        (("optimizer.lr=interval(-1,0.1)",), "optimizer.lr=-1"),
        (("model.hidden=choice(4,x)",), "model.hidden=x"),
        (("force=choice(true,false)", *SPACE), "force: changes no result"),
        ((*SPACE, "hydra.sweeper.sampler=annealing"), "hydra.sweeper.sampler=annealing"),
        ((*SPACE, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0"),
        ((*SPACE, "hydra.sweeper.direction=maximize"), "hydra.sweeper.direction=maximize"),
        ((*SPACE, "hydra.sweeper.storage=nowhere://x"), "hydra.sweeper.storage=nowhere://x"),
        ((*SPACE, "hydra/sweeper=basic"), "hydra/sweeper=optuna"),
    ],
)
def test_what_can_not_be_searched_is_refused_before_anything_is_made(refused, overrides, message):
    assert message in refused(*SEARCH, *overrides)


def test_without_optuna_the_command_says_what_to_install(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not there
    assert "pip install 'mlpfit[optuna]'" in refused(*SEARCH, *SPACE)


def test_hydra_finds_the_plugins_without_loading_what_they_need():
    names = ("mlpfit.sweepers", "processes_launcher", "optuna_sweeper")
    imports = "; ".join(f"import hydra_plugins.{name}" for name in names)
    heavy = "{'optuna', 'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys; {imports}; assert not {heavy}"], check=True)


def trials_of(folder):
    """Parameters, value and state of every trial of the only search under this folder."""
    (file,) = (folder / "outputs/sweeps").rglob("study.db")
    storage = f"sqlite:///{file}"
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    return file.parent, [(t.params, t.values and t.values[0], t.state.name) for t in trials]


@pytest.mark.slow
def test_a_search_in_two_commands_is_the_search_in_one(command, tmp_path):
    jobs = (*SEARCH, *SPACE, "hydra.sweeper.n_jobs=3")
    assert command(*jobs, "hydra.sweeper.n_trials=6", "output_dir=one/outputs")[0] == 0
    one, at_once = trials_of(tmp_path / "one")
    assert command(*jobs, "hydra.sweeper.n_trials=3", "output_dir=two/outputs")[0] == 0
    code, printed = command(*jobs, "hydra.sweeper.n_trials=6", "output_dir=two/outputs")
    assert code == 0 and "trial 2:" not in printed and "trial 5:" in printed
    two, in_two = trials_of(tmp_path / "two")
    assert in_two == at_once and one.name == two.name
    assert len({params["optimizer.lr"] for params, _, _ in at_once}) == 6
    keys, rows = read_summary(two)
    assert keys == ["optimizer.lr", "model.hidden"] and len(rows) == 6
    values = [value for _, value, _ in at_once]
    assert [float(row["mse_median"]) for row in rows] == pytest.approx(values, rel=1e-5)
    assert (two / "figure.svg").read_bytes() == (one / "figure.svg").read_bytes()
    again = command(*jobs, "hydra.sweeper.n_trials=6", "output_dir=two/outputs")
    assert again[0] == 0 and "\ntrial " not in again[1] and trials_of(tmp_path / "two")[1] == in_two


@pytest.mark.slow
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, own):
    command = ("mlpfit", "-m", "experiment=own/ramp", "hydra/sweeper=optuna", SPACE[0])
    more = ("hydra/launcher=basic", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    whole = run(*command, *more, cwd=folders[0], MLPFIT_PATH=own)
    assert whole.returncode == 0, whole.stderr
    (folders[1] / "fault").write_text("4 kill")  # in the second batch
    killed = run(*command, *more, cwd=folders[1], MLPFIT_PATH=own)
    assert killed.returncode == -signal.SIGKILL
    states = [state for _, _, state in trials_of(folders[1])[1]]
    assert states == ["COMPLETE"] * 3 + ["RUNNING"] * 3
    (folders[1] / "fault").unlink()
    assert run(*command, *more, cwd=folders[1], MLPFIT_PATH=own).returncode == 0
    assert trials_of(folders[1])[1] == trials_of(folders[0])[1]


@pytest.mark.slow
def test_a_job_that_fails_is_a_failed_trial_and_tried_again(tmp_path, own):
    command = ("mlpfit", "-m", "experiment=own/ramp", "hydra/sweeper=optuna", SPACE[0])
    more = ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "hydra/launcher=basic")
    (tmp_path / "fault").write_text("1 raise")
    first = run(*command, *more, cwd=tmp_path, MLPFIT_PATH=own)
    assert first.returncode == 1 and "Traceback" not in first.stderr
    assert "1 of 2 jobs failed; the same command runs them again" in first.stderr
    _, (one, other) = trials_of(tmp_path)
    assert sorted([one[2], other[2]]) == ["COMPLETE", "FAIL"]
    (tmp_path / "fault").unlink()
    again = run(*command, *more, cwd=tmp_path, MLPFIT_PATH=own)
    assert again.returncode == 0, again.stderr
    folder, trials = trials_of(tmp_path)
    failed = next(trial for trial in trials if trial[2] == "FAIL")
    assert len(trials) == 3 and trials[2][0] == failed[0] and math.isfinite(trials[2][1])
    assert len(read_summary(folder)[1]) == 2


def test_a_diverged_trial_is_infinite_and_no_failure(command, tmp_path):
    for replicas, folder in (("1", "one"), ("3", "many")):
        given = (
            f"replicas={replicas}",
            f"output_dir={folder}/outputs",
            "hydra/sweeper/sampler=grid",
        )
        tried = (*SEARCH, "optimizer.lr=choice(0.01,1e30)", "hydra.sweeper.n_trials=2", *given)
        assert command(*tried)[0] == 0
        _, trials = trials_of(tmp_path / folder)
        values = {float(params["optimizer.lr"]): value for params, value, _ in trials}
        assert values[1e30] == math.inf and math.isfinite(values[0.01])


def test_a_study_of_another_search_is_not_gone_on_with(command, tmp_path):
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/all.db"
    given = (*SEARCH, storage, "hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=1")
    assert command(*given, "optimizer.lr=interval(0.001,0.2)")[0] == 0
    code, printed = command(*given, "optimizer.lr=interval(0.001,0.1)")
    assert code == 1 and "study mine is of another search (space.optimizer.lr" in printed
    assert command(*given, "optimizer.lr=interval(0.001,0.1)", "force=true")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "qmc", "gp"])
def test_other_samplers_search_too(command, tmp_path, name):
    given = (f"hydra/sweeper/sampler={name}", "hydra.sweeper.n_trials=13", "metric=truth_mse")
    code, printed = command(*SEARCH, SPACE[0], *given, "trainer.max_steps=1")
    assert code == 0, printed
    folder, trials = trials_of(tmp_path)
    assert len({params["optimizer.lr"] for params, _, _ in trials}) == 13
    medians = [float(row["truth_mse_median"]) for row in read_summary(folder)[1]]
    assert medians == pytest.approx([value for _, value, _ in trials], rel=1e-5)


def trial(lr, hidden, value):
    failed = value is None
    numbers = {"mse_median": "" if failed else str(value), "failure": "killed" if failed else ""}
    return {"optimizer.lr": str(lr), "model.hidden": hidden, **numbers}


def test_the_figure_shows_the_least_so_far_and_every_trial_over_each_key():
    values = [3.0, None, 2.0, math.inf, 40.0, 1.0]
    rows = [trial(10.0**-k, f"{k}-{k}", value) for k, value in enumerate(values)]
    figure = search_figure(rows, ["optimizer.lr", "model.hidden"], "mse")
    first, rate, width = figure.axes
    (least,) = (line for line in first.lines if line.get_label() == "least so far")
    assert list(least.get_ydata()) == [3.0, 3.0, 2.0, 2.0, 2.0, 1.0]
    for ax in figure.axes:
        assert ax.get_yscale() == "log" and len(ax.collections[0].get_offsets()) == 4
        (ring,) = (line for line in ax.lines if line.get_markerfacecolor() == "none")
        assert list(ring.get_ydata()) == [1.0]
        assert [len(x.get_xdata()) for x in ax.lines if x.get_marker() == "x"] == [2]
    assert rate.get_xscale() == "log" and width.get_xlabel() == "model.hidden"
    assert [label.get_text() for label in width.get_xticklabels()][:2] == ["0-0", "1-1"]


def test_a_search_without_any_number_has_a_figure():
    rows = [trial(0.1, "2", None), trial(0.2, "2", math.inf)]
    figure = search_figure(rows, ["optimizer.lr"], "mse")
    figure.draw_without_rendering()
    assert [len(ax.collections[0].get_offsets()) for ax in figure.axes] == [0, 0]
