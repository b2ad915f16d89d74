"""hydra/sweeper=optuna in an application that is not mlpfit's."""

import subprocess
from pathlib import Path

import optuna
import pytest
from conftest import run
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.optuna_sweeper import SAMPLERS
from hydra_plugins.optuna_sweeper._space import Space, from_config, from_override, written

APPLICATION = '''
"""Squared distance from (1, -2); with fail the job raises."""
import hydra

def more(config, trial):
    """Draw z within 0.3 of x."""
    x = trial.params["x"]
    trial.suggest_float("+z", x - 0.3, x + 0.3)

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config):
    if config.fail:
        raise RuntimeError("asked to fail")
    assert type(config.flag) is bool and type(config.x) in (int, float), config
    value = (config.x - 1) ** 2 + (config.y + 2) ** 2
    return [value, config.x] if config.two else value

if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore
    ConfigStore.instance().store(
        "config", {"x": 0, "y": 0, "flag": True, "fail": False, "two": False, "name": ""}
    )
    main()
'''


def search(folder: Path, *overrides: str, succeeds: bool = True) -> subprocess.CompletedProcess:
    """Run the application with a search, seeded, without processes of its own."""
    (folder / "app.py").write_text(APPLICATION)
    given = ["hydra/sweeper=optuna", "hydra/launcher=basic", "hydra.sweep.dir=sweep"]
    if not any("sampler=grid" in override for override in overrides):
        given.append("hydra.sweeper.sampler.seed=1")
    done = run("app", "-m", *given, *overrides, cwd=folder)
    assert (done.returncode == 0) == succeeds, done.stderr
    return done


def results(folder: Path):
    return OmegaConf.load(folder / "sweep/optimization_results.yaml")


def parsed(*lines: str):
    return OverridesParser.create().parse_overrides(list(lines))


def test_it_is_found():
    names = [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)]
    assert "Optuna" in names


@pytest.mark.parametrize(
    "text, expected",
    [
        ("choice(1,2)", CategoricalDistribution([1, 2])),
        ("choice(true,false)", CategoricalDistribution([True, False])),
        ("choice('hello','world')", CategoricalDistribution(["hello", "world"])),
        ("choice(0.5,a)", CategoricalDistribution([0.5, "a"])),
        ("choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
        ("4,8", CategoricalDistribution([4, 8])),
        ("shuffle(range(1,3))", CategoricalDistribution([1, 2])),
        ("range(1,3)", IntDistribution(1, 3)),
        ("range(1,10,3)", IntDistribution(1, 10, step=3)),
        ("range(9,0,-4)", IntDistribution(1, 9, step=4)),
        ("range(0.5,5.5,step=1)", FloatDistribution(0.5, 5.5, step=1)),
        ("interval(1,5)", FloatDistribution(1, 5)),
        ("int(interval(1,5))", IntDistribution(1, 5)),
        ("tag(log,interval(1,5))", FloatDistribution(1, 5, log=True)),
        ("tag(log,int(interval(1,5)))", IntDistribution(1, 5, log=True)),
        ("tag(int,log,interval(1,9))", IntDistribution(1, 9, log=True)),
    ],
)
def test_the_space_is_hydras_sweep_grammar(text, expected):
    (override,) = parsed(f"key={text}")
    assert from_override(override)[0] == expected


@pytest.mark.parametrize(
    "text", ["tag(log,interval(0,1))", "tag(cubic,interval(1,2))", "range(3,3)"]
)
def test_a_space_that_is_none_is_refused_by_its_key(text):
    with pytest.raises(ValueError, match=r"^key=") as error:
        from_override(*parsed(f"key={text}"))
    assert text in str(error.value)


@pytest.mark.parametrize(
    "config, expected",
    [
        ({"type": "categorical", "choices": [1, 2]}, CategoricalDistribution([1, 2])),
        ({"type": "int", "low": 0, "high": 10}, IntDistribution(0, 10)),
        ({"type": "int", "low": 0, "high": 10, "step": 2}, IntDistribution(0, 10, step=2)),
        ({"type": "int", "low": 1, "high": 99, "log": True}, IntDistribution(1, 99, log=True)),
        ({"type": "float", "low": 0, "high": 1}, FloatDistribution(0, 1)),
        ({"type": "float", "low": 0, "high": 10, "step": 2}, FloatDistribution(0, 10, step=2)),
        ({"type": "float", "low": 1, "high": 9, "log": True}, FloatDistribution(1, 9, log=True)),
    ],
)
def test_the_older_search_space_is_read(config, expected):
    assert from_config("key", config) == expected


@pytest.mark.parametrize("config", [{"type": "int", "low": 0}, {"type": "x"}, {"tpye": "int"}])
def test_an_older_search_space_that_is_none_is_refused_by_its_key(config):
    with pytest.raises(ValueError, match=r"^hydra\.sweeper\.search_space\.key"):
        from_config("key", config)


@pytest.mark.parametrize("value", [True, None, 3, 0.1, 1e-7, "a", "a,b", "1", "it's", "", "[x]"])
def test_a_value_survives_being_written_as_an_override(value):
    (override,) = parsed(f"key={written(value)}")
    again = override.value()
    assert getattr(again, "text", again) == value and not override.is_sweep_override()


def test_the_last_of_each_key_counts_and_deletions_and_additions_pass():
    space = Space.of(parsed("x=choice(1,2)", "y=5", "x=3", "y=choice('a b',c)", "~w", "+v=1"))
    assert list(space.distributions) == ["y"]
    assert space.overrides({"y": "a b"}) == ["x=3", "~w", "+v=1", r"y=a\ b"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_searches(tmp_path, name):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    space = ("x=choice(0,1)", "y=range(-3,0)", "flag=choice(true,false)")
    search(tmp_path, f"hydra/sweeper/sampler={name}", *space, "hydra.sweeper.n_trials=4")
    found = results(tmp_path)
    assert found.name == "optuna" and type(found.best_params.flag) is bool
    assert type(found.best_params.x) is int and type(found.best_value) is float
    assert (tmp_path / "sweep/multirun.yaml").is_file()
    assert sorted(path.name for path in (tmp_path / "sweep").glob("[0-9]")) == [*"0123"]


def test_a_grid_is_searched_whole_and_once(tmp_path):
    space = ("x=choice(-1,0,1)", "y=range(-2,0)", "hydra.sweeper.n_trials=99")
    search(tmp_path, "hydra/sweeper/sampler=grid", *space)
    assert len(list((tmp_path / "sweep").glob("[0-9]"))) == 6
    assert results(tmp_path).best_params == {"x": 1, "y": -2} and results(tmp_path).best_value == 0


def test_a_study_is_kept_and_gone_on_with(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    given = (f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=mine", "y=-2")
    for _ in range(2):
        search(tmp_path, *given, "x=interval(-5,5)", "hydra.sweeper.n_trials=2")
    study = optuna.load_study(study_name="mine", storage=storage)
    assert len(study.trials) == 4 and study.best_value == results(tmp_path).best_value
    assert {*study.best_trial.params} == {"x"}


def test_the_largest_value_is_found_if_it_is_wanted(tmp_path):
    given = ("hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=6")
    search(tmp_path, *given, "x=choice(1,2,9)", "y=-2")
    assert results(tmp_path).best_params.x == 9


def test_several_objectives_give_a_front_in_which_none_dominates(tmp_path):
    given = ("two=true", "hydra.sweeper.direction=[minimize,maximize]", "hydra.sweeper.n_trials=8")
    search(tmp_path, *given, "x=range(0,5)", "y=range(-3,0)", "hydra/sweeper/sampler=random")
    front = [solution["values"] for solution in results(tmp_path).solutions]
    assert front
    for a in front:
        assert not any(b[0] <= a[0] and b[1] >= a[1] and list(b) != list(a) for b in front)


def test_a_function_may_add_to_the_space(tmp_path):
    given = ("hydra.sweeper.custom_search_space=app.more", "hydra.sweeper.n_trials=3")
    search(tmp_path, *given, "x=interval(0,1)")
    params = results(tmp_path).best_params
    assert abs(params["x"] - params["+z"]) <= 0.3


def test_a_fixed_key_that_the_function_adds_is_refused(tmp_path):
    given = ("hydra.sweeper.custom_search_space=app.more", "x=interval(0,1)", "+z=1")
    assert "Overlapping fixed" in search(tmp_path, *given, succeeds=False).stderr


def test_params_and_the_older_search_space_come_from_the_config(tmp_path):
    older = "hydra.sweeper.search_space={x:{type:categorical,choices:[1]}}"
    few = "hydra.sweeper.n_trials=2"
    first = search(tmp_path, older, "y=choice(-2,0)", few)
    assert "deprecated" in first.stderr and results(tmp_path).best_params.x == 1
    both = search(tmp_path, older, "hydra.sweeper.params={x:'choice(2,3)'}", few)
    assert "Both hydra.sweeper.params" in both.stderr and results(tmp_path).best_params.x in (2, 3)


@pytest.mark.parametrize("rate, succeeds", [(0.5, False), (1.0, True)])
def test_too_many_failures_end_the_search(tmp_path, rate, succeeds):
    given = ("fail=true", "x=interval(0,1)", "hydra.sweeper.n_trials=2")
    done = search(tmp_path, *given, f"hydra.sweeper.max_failure_rate={rate}", succeeds=succeeds)
    assert ("RuntimeError: asked to fail" in done.stderr) == (not succeeds)


def test_what_is_no_number_fails(tmp_path):
    done = search(tmp_path, "two=true", "x=choice(0,1)", "hydra.sweeper.n_trials=1", succeeds=False)
    assert "Return value must be float-castable" in done.stderr


@pytest.mark.parametrize(
    "override, message",
    [
        ("hydra.sweeper.n_trials=0", "must be a whole number above 0"),
        ("hydra.sweeper.direction=down", "allowed are minimize and maximize"),
        ("hydra.sweeper.max_failure_rate=2", "must be from 0 to 1"),
        ("hydra.sweeper.resume=true", "needs hydra.sweeper.storage"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path, override, message):
    assert message in search(tmp_path, "x=choice(0,1)", override, succeeds=False).stderr
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "qmc", "nsgaii", "grid"])
def test_a_search_in_two_commands_is_the_search_in_one(tmp_path, name):
    trials = []
    for counts in ([6], [4, 6]):
        storage = f"sqlite:///{tmp_path}/{len(counts)}.db"
        given = (f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=mine")
        given += ("hydra.sweeper.resume=true", f"hydra/sweeper/sampler={name}")
        given += ("hydra.sweeper.sampler.seed=3", "x=range(0,8)", "y=choice(-2,-1,0)")
        for count in counts:
            search(tmp_path, *given, f"hydra.sweeper.n_trials={count}")
        study = optuna.load_study(study_name="mine", storage=storage)
        trials.append([(trial.params, trial.value) for trial in study.trials])
    assert trials[0] == trials[1] and len(trials[0]) == 6
