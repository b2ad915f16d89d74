"""Hydra's own flags work as its documentation says."""

import os
import subprocess
import sys

import pytest
import yaml
from conftest import run

from mlpfit import load_run
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose


def shown(tmp_path, *arguments):
    done = run("mlpfit", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "outputs").exists()
    return done.stdout


def test_the_config_is_shown_as_job_hydra_and_all(tmp_path):
    job = yaml.safe_load(shown(tmp_path, "--cfg", "job", "experiment=tower/small", "seed=3"))
    assert job["seed"] == 3 and job["target"]["levels"] == [0.3, 0.8, 0.4] and "hydra" not in job
    hydra = yaml.safe_load(shown(tmp_path, "--cfg", "hydra", "experiment=tower/small"))
    assert list(hydra) == ["hydra"]
    assert {*yaml.safe_load(shown(tmp_path, "--cfg", "all", "experiment=tower/small"))} > {"hydra"}


def test_interpolations_are_resolved_and_packages_cut_out(tmp_path):
    given = ("experiment=tower/small", "replicas=5", "--resolve", "--cfg", "all")
    text = shown(tmp_path, *given, "--package", "hydra.run")
    assert yaml.safe_load(text) == {"dir": "outputs/ensembles/tower/small"}


def test_help_info_and_version(tmp_path):
    text = shown(tmp_path, "--help")
    assert all(name in text for name in experiments())
    assert "== Flags ==" in shown(tmp_path, "--hydra-help") or "Hydra" in text
    assert "mlpfit://" in shown(tmp_path, "--info", "searchpath", "experiment=tower/small")
    assert "Hydra" in shown(tmp_path, "--version")


def test_another_folder_and_file_of_configs(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "quick.yaml").write_text("defaults: [config, _self_]\nseed: 5\n")
    given = ("--config-dir", "mine", "--config-name", "quick", "--cfg", "job")
    assert yaml.safe_load(shown(tmp_path, *given, "experiment=tower/small"))["seed"] == 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(shell, tmp_path):
    assert "COMP" in shown(tmp_path, "--shell-completion", f"install={shell}").upper()


def test_completion_names_experiments_and_keys(tmp_path):
    def completed(line):
        asked = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        command = [sys.executable, "-m", "mlpfit", "--shell-completion", "query=bash"]
        done = subprocess.run(command, cwd=tmp_path, env=asked, capture_output=True, text=True)
        return done.stdout.split()

    names = ["experiment=tower/large", "experiment=tower/small"]
    assert completed("mlpfit experiment=tower/")[:2] == names
    assert completed("mlpfit experiment=tower/small optimizer.l") == ["optimizer.lr="]


def test_a_run_goes_where_hydra_is_told_and_hydras_files_stay_with_it(tmp_path):
    given = ("experiment=plane/sequential", "trainer.max_steps=5", "hydra.run.dir=here/there")
    done = run("mlpfit", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "here/there"
    names = {file.name for file in (folder / ".hydra").iterdir()}
    assert names == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert yaml.safe_load((folder / ".hydra/overrides.yaml").read_text()) == list(given[:2])
    again = run("mlpfit", *given, cwd=tmp_path)
    told = again.stdout.splitlines()  # on a slow machine also that it is loading
    assert told[-1] == "here/there is up to date (force=true trains it again)"


def test_a_run_that_diverges_leaves_nothing_of_hydra_either(tmp_path):
    given = ("experiment=parabola/eight_neurons", "optimizer.lr=10", "logger=none")
    done = run("mlpfit", *given, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("mlpfit: diverged at step")
    assert not (tmp_path / "outputs/runs").exists()


@pytest.mark.parametrize("preset", ["one_step", "overfit", "profiler"])
def test_debug_presets_compose(preset):
    config = compose(["experiment=tower/small", f"debug={preset}"])
    assert config.output_dir == "outputs/debug" and config.trainer.arguments != {}


def test_overrides_stand_on_either_side_of_flags(tmp_path):
    swept = shown(tmp_path, "experiment=tower/small", "--cfg", "job", "seed=3", "-c", "job")
    assert yaml.safe_load(swept)["seed"] == 3
    given = ("experiment=plane/sequential", "-m", "trainer.max_steps=2,3", "logger=none")
    done = run("mlpfit", *given, "hydra/launcher=basic", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.glob("outputs/sweeps/plane/**/complete.json")]) == 2


SHORT = ("experiment=plane/sequential", "trainer.max_steps=5", "logger=none")


@pytest.mark.parametrize("given", ["null", "auto", "1"])
def test_one_device_may_be_said_in_several_ways(given, command):
    code, printed = command(*SHORT, f"trainer.devices={given}")
    assert code == 0, printed


def test_devices_may_be_left_out(command):
    code, printed = command(*SHORT, "~trainer.devices")
    assert code == 0, printed


@pytest.mark.parametrize("flags", [["--nothing"], ["-x"], ["--cfg", "nothing"], ["--cfg"]])
def test_a_flag_that_hydra_does_not_have_is_refused_in_one_line(flags, refused):
    assert "mlpfit --hydra-help lists Hydra's flags" in refused("experiment=tower/small", *flags)


def test_wrong_settings_of_hydras_logs_leave_no_folder(refused):
    logs = ("hydra/job_logging=default", "hydra.job_logging.handlers=nothing")
    assert "handler" in refused("experiment=tower/small", *logs)


@pytest.mark.parametrize("given", ["nan", "0", "-1", "2", "1.5", "[]", "{a:1}", "many"])
def test_no_other_number_of_devices_is_taken(given, refused):
    assert "devices" in refused(*SHORT, f"trainer.devices={given}")


def test_a_run_is_evaluated_and_cut_short_and_says_so(command, tmp_path):
    assert command(*SHORT)[0] == 0
    kept = "outputs/runs/plane/sequential/checkpoints/last.ckpt"
    code, printed = command(*SHORT, "train=false", f"ckpt_path={kept}", "output_dir=judged")
    assert code == 0 and "evaluated" in printed and "loss" not in printed
    assert (tmp_path / "judged/runs/plane/sequential/complete.json").is_file()
    code, printed = command(*SHORT, "train=false", "ckpt_path=none.ckpt", "output_dir=other")
    assert code == 2 and "ckpt_path=none.ckpt: no checkpoint" in printed
    assert not (tmp_path / "other").exists()
    long = (SHORT[0], "logger=none", "trainer.max_steps=1000000")
    code, printed = command(*long, "trainer.max_time=00:00:00:01", "output_dir=short")
    assert code == 0 and "(trainer.max_time)" in printed, printed
    assert "1000000 steps" not in printed


@pytest.mark.parametrize(
    "preset, words",
    [
        ("one_step", "ended at step 1 of 5 (trainer.fast_dev_run)"),
        ("overfit", "    5 steps"),
        ("profiler", "simple profile"),
    ],
)
def test_debug_presets_run(preset, words, command):
    code, printed = command(*SHORT, f"debug={preset}")
    assert code == 0 and words in printed, printed


def test_overfitting_takes_the_same_batch_in_every_step(command, tmp_path):
    batches = ("data.order=sequential", "data.batch_size=10", "loss=mse", "logger=none")
    given = (*batches, "trainer.max_steps=40", "debug=overfit")
    code, printed = command("experiment=plane/sequential", *given)
    assert code == 0, printed
    run = load_run(tmp_path / "outputs/debug/runs/plane/sequential")
    x, y = (run.data[name][0, :10] for name in "xy")
    assert run.data["x"].shape[1] > 40 and len(run.snapshots) > 10
    for step in run.snapshots[:-1]:
        mse = ((run.predict(x, step)[0] - y) ** 2).mean()
        assert run.history["loss"][step, 0] == pytest.approx(mse, rel=1e-5)
