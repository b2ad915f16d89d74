"""Jobs of a sweep: composed as Hydra does, in folders of their own, beside another command."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf, open_dict

import mlpfit
from mlpfit.config.compose import compose, plain_values
from mlpfit.config.sources import multirun_overrides, register_with_hydra, sweep_folder
from mlpfit.errors import ConfigError
from mlpfit.sweeps.callback import Experiments
from mlpfit.sweeps.composing import JobLoader
from mlpfit.sweeps.jobs import ROW_SECONDS, Planned, closing_seconds, plan
from mlpfit.sweeps.summary import read_summary

SHORT = ("-m", "experiment=tower/small", "trainer.max_steps=5", "model.hidden=4", "logger=none")


@pytest.mark.parametrize(
    "job",
    [
        ["experiment=tower/small", "seed=1"],
        ["experiment=plane/scratch", "optimizer=sgd", "optimizer.lr=0.3", "seeds=[1,2]"],
        ["experiment=tower/small", "++hydra.job.name=x", "+trainer.min_steps=2"],
        ["experiment=tower/small", "replicas=${ensemble.replicas}", "ensemble.replicas=7"],
    ],
)
def test_a_job_is_composed_as_hydra_composes_it(job):
    register_with_hydra()
    with initialize_config_dir(str(Path(mlpfit.__file__).parent / "config"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        given = ["experiment=tower/small", "seed=0,1", "hydra.sweep.subdir=${hydra.job.num}"]
        master = hydra.compose_config("config", given, RunMode.MULTIRUN)
        theirs, ours = hydra.config_loader, JobLoader(hydra.config_loader)
        expected = theirs.load_sweep_config(master, job)
        for _ in range(2):  # composed, then copied
            composed = ours.load_sweep_config(master, job)
            for resolve in (False, True):
                with_task = (
                    OmegaConf.masked_copy(c, [k for k in c if k != "hydra"])
                    for c in (composed, expected)
                )
                a, b = (OmegaConf.to_container(c, resolve=resolve) for c in with_task)
                assert a == b
            assert OmegaConf.to_container(composed) == OmegaConf.to_container(expected)


def test_a_config_of_the_tests_is_that_of_its_command(quick, tmp_path):
    """The fixture quick composes as a sweep does."""
    for given in (["seed=3"], ["optimizer=sgd", "optimizer.lr=0.3", "replicas=4"], ["loss=huber"]):
        given = ["experiment=tower/small", *given]
        assert quick(*given) == compose([f"output_dir={tmp_path}/outputs", *given])


def test_a_glance_at_a_job_shows_what_hydra_composes():
    """Although jobs that give plain values to the same keys are composed only once."""
    jobs = [["seed=1", "model.hidden=4"], ["seed=2", "model.hidden=8"], ["seed=2"]]
    jobs += [["seed=3", "model.hidden='16-16'"], ["seed=4", "model.hidden=null"]]
    jobs += [["loss=mae"], ["loss={name: huber, delta: 2}"], ["loss={name: huber}"], ["loss=mse"]]
    jobs += [["+trainer.min_steps=2"], ["+trainer.min_steps=3"], ["~recording.snapshots"]]
    jobs += [["seed=3"], ["seed=${replicas}", "replicas=2"], ["seed=4", "replicas=3"]]
    jobs += [["optimizer=sgd", "optimizer.lr=0.1"], ["optimizer=sgd", "optimizer.lr=0.2"]]
    jobs += [["name=other"], ["name=tower/large"], ["replicas=${seed}"], ["logger=mlflow"]]
    register_with_hydra()
    with initialize_config_dir(str(Path(mlpfit.__file__).parent / "config"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        given = ["experiment=tower/small", "seed=0,1"]
        for subdir in ((), ("hydra.sweep.subdir=${hydra.job.num}",)):
            master = hydra.compose_config("config", [*given, *subdir], RunMode.MULTIRUN)
            ours = JobLoader(hydra.config_loader)
            for number, job in enumerate([["experiment=tower/small", *values] for values in jobs]):
                expected = hydra.config_loader.load_sweep_config(master, job)
                with open_dict(expected):
                    expected.hydra.job.num = number
                glanced = ours.glance(master, job, number)
                assert glanced.plain == plain_values(expected, job), job
                assert glanced.experiment == "tower/small" and [*glanced.overrides] == job
                assert glanced.subdir == expected.hydra.sweep.subdir
            assert bool(ours.examples) == (not subdir)


def test_a_sweep_is_named_by_the_sweepers_params_too():
    chosen = {"experiment": "tower/small", "hydra/sweeper": "optuna"}
    given = ["experiment=tower/small"]
    spaces = ("interval(0,1)", "interval(0,2)")
    names = [sweep_folder(given, chosen, {"optimizer.lr": space}) for space in spaces]
    assert names[0] != names[1] and names[0].startswith("tower/small/optimizer.lr,search-")
    assert names[0] == sweep_folder([*given, "optimizer.lr=interval(0,1)"], chosen)


@pytest.mark.slow
def test_the_same_sweep_with_other_values_beside_a_running_one(tmp_path):
    command = [sys.executable, "-m", "mlpfit", *SHORT]
    pair = [
        subprocess.Popen(
            [*command, f"seed={seeds}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for seeds in ("1,2,3", "3,4")
    ]
    printed = [process.communicate()[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    for text, seeds in zip(printed, ("123", "34"), strict=True):
        table = text.partition("\nseed ")[2].splitlines()[1 : 1 + len(seeds)]
        assert [line[0] for line in table] == [*seeds]


@pytest.mark.slow
def test_jobs_in_nested_folders_are_in_the_table(tmp_path):
    given = ("hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.sweep.dir=mine")
    done = run("mlpfit", *SHORT, "hydra.sweeper.params={seed:'1,2'}", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    keys, rows = read_summary(tmp_path / "mine")
    assert keys == ["seed"] and [row["seed"] for row in rows] == ["1", "2"]
    assert all(row["job"].startswith("experiment=tower/small") for row in rows)


@pytest.mark.slow
def test_hydras_files_of_a_job_are_kept(tmp_path):
    given = ("hydra/job_logging=default", "hydra.output_subdir=its")
    sweep = ("seed=1,2", *given, "hydra.sweep.dir=mine")
    done = run("mlpfit", *SHORT, *sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("mlpfit", *SHORT[1:], *given, "hydra.run.dir=mine/alone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    markers = list((tmp_path / "mine").glob("*/complete.json"))
    assert len(markers) == 3
    for marker in markers:
        assert (marker.parent / "its/config.yaml").is_file(), [*marker.parent.iterdir()]
        assert list(marker.parent.glob("*.log"))


def test_launchers_can_send_what_a_job_needs_to_other_machines():
    """joblib and submitit pickle Hydra's context, with its callbacks and its loader."""
    register_with_hydra()
    with initialize_config_dir(str(Path(mlpfit.__file__).parent / "config"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        master = hydra.compose_config(
            "config", ["experiment=tower/small", "seed=0,1"], RunMode.MULTIRUN
        )
        loader, callbacks = JobLoader(hydra.config_loader), Callbacks(master)
        job = ["experiment=tower/small", "seed=1"]
        loader.glance(master, job, 0)
        sent = pickle.loads(pickle.dumps(HydraContext(config_loader=loader, callbacks=callbacks)))
        assert Experiments in map(type, sent.callbacks.callbacks)
        assert sent.config_loader.load_sweep_config(master, job) == loader.load_sweep_config(
            master, job
        )


@pytest.fixture
def plans(tmp_path):
    """Gives the batches of two jobs each of a grid."""

    def plan_of(*given, **options):
        register_with_hydra()
        folder = str(Path(mlpfit.__file__).parent / "config")
        with initialize_config_dir(folder, version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            task = ["experiment=tower/small", f"output_dir={tmp_path}", *given]
            overrides = [*task, "hydra.sweeper.max_batch_size=2"]
            master = hydra.compose_config("config", overrides, RunMode.MULTIRUN)
            loader = JobLoader(hydra.config_loader)
            return plan(loader, master, multirun_overrides(loader, master), **options)

    return plan_of


def test_jobs_are_planned_batch_by_batch(plans):
    batches = list(plans("seed=0,1,2", "model.hidden=4,8"))
    assert [job.number for batch in batches for job in batch] == [*range(6)]
    assert [len(batch) for batch in batches] == [2, 2, 2]
    (last,) = [job for job in batches[2] if "model.hidden=8" in job.overrides]
    assert last.config.seed == 2 and last.config.units == (1, 8, 1) and last.seconds > 0


@pytest.mark.parametrize(
    "given, message",
    [
        (("seed=0,1,2,3,x",), "seed=x: must be a valid integer"),
        (("seed=range(0,9)", "optimizer.lr=0.1,-1"), "optimizer.lr=-1: must be greater than 0"),
        (("seed=range(3,-2,-1)",), "seed=-1"),
        (("seed=0,1,2", "optimizer=adam,sdg"), "sdg"),
        (
            ("seed=0,1", "replicas=2", "callbacks=learning_rate"),
            "LearningRateMonitor needs a logger",
        ),
        (("seed=0", "optimizer.lr=0.1,0.1"), "optimizer.lr=0.1: two jobs share the folder"),
    ],
)
def test_a_wrong_value_of_a_later_batch_is_refused_before_the_first(plans, given, message):
    with pytest.raises(Exception, match=re.escape(message)):
        next(plans(*given))


@pytest.mark.parametrize(
    "given", ["model.activation=sigmoid", "loss=mae", "model.output=tanh", "model.dropout=0.1"]
)
def test_sharpness_of_what_has_none_here_is_refused_before_anything_is_trained(plans, given):
    with pytest.raises(ConfigError, match=rf"{given}: has no sharpness here"):
        next(plans("seed=0,1", given, sharpness=True))
    assert len(next(plans("seed=0,1", given))) == 2


def test_a_wrong_pair_of_values_in_a_later_batch_is_named_when_that_is_planned(plans, capsys):
    batches = plans("replicas=1,2", "optimizer=adam,lbfgs")  # whose steps would mix the two
    assert [job.config is None for job in next(batches)] == [False, False]
    assert [job.config is None for job in next(batches)] == [False, True]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mlpfit: job 3: optimizer.name=lbfgs: a step of it mixes replicas")


def test_jobs_of_a_later_batch_need_folders_of_their_own(plans):
    batches = plans("seed=0,1,2", "model.hidden=4,8", "hydra.sweep.subdir=${model.hidden}")
    next(batches)
    with pytest.raises(ConfigError, match="seed=1: two jobs share the folder"):
        next(batches)


def test_what_a_summary_takes_grows_with_its_rows_and_with_sharpness(quick):
    todo = [Planned(0, (), "", 1.0, quick("experiment=parabola/eight_neurons", "replicas=9"))]
    few, many = (closing_seconds(todo, rows, sharpness=False) for rows in (1, 101))
    assert many == pytest.approx(few + 100 * ROW_SECONDS)
    assert closing_seconds(todo, 101, sharpness=True) > many
