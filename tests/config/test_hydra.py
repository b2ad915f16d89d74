"""Hydra's own flags work as its documentation says."""

import os
import subprocess
import sys

import pytest
import yaml
from conftest import run

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
    assert again.stdout == "here/there is up to date (force=true trains it again)\n"


def test_a_run_that_diverges_leaves_nothing_of_hydra_either(tmp_path):
    given = ("experiment=parabola/eight_neurons", "optimizer.lr=10", "logger=none")
    done = run("mlpfit", *given, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("mlpfit: diverged at step")
    assert not (tmp_path / "outputs/runs").exists()


@pytest.mark.parametrize("preset", ["one_step", "overfit", "profiler"])
def test_debug_presets_compose(preset):
    config = compose(["experiment=tower/small", f"debug={preset}"])
    assert config.output_dir == "outputs/debug" and config.trainer.arguments != {}
