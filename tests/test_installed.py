"""The wheel, installed in another environment and used in another folder, is the whole program."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

SHORT = ("experiment=parabola/eight_neurons", "trainer.max_steps=20", "logger=none")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("mlpfit-*.whl"))


@pytest.fixture(scope="module")
def mlpfit(wheel, tmp_path_factory):
    """Runs the installed command in a folder of its own. The environment holds the wheel, and sees
    this one's packages, but not this source."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "venv", with_pip=False, symlinks=True)
    site = next((place / "venv").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as files:
        (metadata,) = (n for n in files.namelist() if n.endswith("dist-info/METADATA"))
    pip = [sys.executable, "-m", "pip", "--python", str(place / "venv/bin/python"), "install"]
    quiet = ["--quiet", "--no-deps", "--no-index", "--no-cache-dir", "--no-compile"]
    subprocess.run([*pip, *quiet, str(wheel)], check=True)
    # Searched after the wheel's own; .pth files in there, as of an editable install, are not read.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert (site / metadata).is_file()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(place / "venv/bin/mlpfit"), *arguments]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)

    where = subprocess.run(
        [place / "venv/bin/python", "-c", "import mlpfit; print(mlpfit.__file__)"],
        **{"cwd": place, "env": environment, "capture_output": True, "text": True},
    )
    assert Path(where.stdout.strip()).is_relative_to(site), where.stderr
    run.folder = place
    return run


def test_the_wheel_holds_every_file_the_program_reads(wheel):
    with zipfile.ZipFile(wheel) as files:
        held = set(files.namelist())
    packages = [ROOT / "src/mlpfit", ROOT / "src/hydra_plugins"]
    source = [f for p in packages for f in p.rglob("*") if f.is_file() and f.suffix != ".pyc"]
    wanted = {str(f.relative_to(ROOT / "src")) for f in source if "egg-info" not in str(f)}
    wanted |= {f"mlpfit/{f.relative_to(ROOT)}" for f in (ROOT / "conf").rglob("*.yaml")}
    assert wanted - held == set()
    assert {"mlpfit/conf/config.yaml", "mlpfit/engine/kernels/common.h"} <= held
    assert not [name for name in held if name.startswith(("tests/", "outputs/", "notebooks/"))]


@pytest.mark.slow
def test_the_installed_command_trains_sweeps_and_reproduces(mlpfit):
    done = mlpfit(*SHORT)
    assert done.returncode == 0, done.stderr
    assert (mlpfit.folder / "outputs/runs/parabola/eight_neurons/complete.json").is_file()
    done = mlpfit("-m", *SHORT, "optimizer.lr=0.01,0.02")
    assert done.returncode == 0, done.stderr
    assert len(list(mlpfit.folder.glob("outputs/sweeps/parabola/**/complete.json"))) == 2
    done = mlpfit("reproduce", "gradient/line_data")
    assert done.returncode == 0, done.stderr
    assert (mlpfit.folder / "outputs/figures/gradient/line_data.svg").is_file()


def test_the_installed_command_refuses_in_one_line(mlpfit):
    for given, named in ((("experiment=nowhere",), "nowhere"), (("reproduce", "no"), "no")):
        done = mlpfit(*given)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("mlpfit: ") and named in done.stderr
