"""What several tests use. The process that distributes the tests imports this, too, so torch and
mlpfit, which take seconds, are imported where they are used."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forked import run_module

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mlpfit.config.schema import Config
    from mlpfit.data.targets import Target
    from mlpfit.runs.run import Run
    from mlpfit.sweeps.composing import JobLoader

# Background commands of a shell ignore SIGINT, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(1_000_000, 50, 1000)  # as in mlpfit.process.collect_garbage_seldom
ROOT = Path(__file__).parents[1]
BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next((path for path in BROWSERS if path), None)
MODULES = [
    ROOT / "src/playground/node_modules",
    *map(Path, filter(None, [os.environ.get("NODE_PATH")])),
]
AXE = next((f for folder in MODULES if (f := folder / "axe-core/axe.min.js").is_file()), None)
for setting in ("MLPFIT_PATH", "HYDRA_FULL_ERROR"):  # tests that need one set it
    os.environ.pop(setting, None)
# Compile each kernel once for all tests, also of the next time.
os.environ.setdefault("MLPFIT_KERNEL_CACHE", str(ROOT / "outputs/.cache/kernels"))
# Likewise matplotlib's list of fonts.
os.environ.setdefault("MPLCONFIGDIR", str(ROOT / "outputs/.cache/matplotlib"))

LONGEST = (  # the first makes the reproduced runs, and of the others the first don't need them
    *("test_page.py", "test_optuna_sweeper.py", "test_portable.py", "test_numbers.py"),
    *("test_nothing_deleted.py", "test_hydra.py", "test_page_in_browser.py", "test_config.py"),
    *("test_lightning.py", "test_reproduce.py", "test_steps.py", "test_ensemble.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that both processes end at the same time; of the others,
    those that read the reproduced runs come last: while one process makes the runs, the other need
    not wait for them."""
    fixtures = ((item, getattr(item, "fixturenames", ())) for item in items)
    readers = {item.path for item, names in fixtures if "reproduced" in names}
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: item.path in readers)
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Leave what was imported, half a million objects, out of every garbage collection."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """There are as many test processes as cores."""
    import torch

    torch.set_num_threads(1)


def committed(path: str) -> bytes:
    """Content of a file in the last commit: kept outputs are read so, since those of the working
    tree are the user's to change."""
    done = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m arguments`` in a folder."""
    module, *rest = arguments
    return run_module(module, rest, cwd, os.environ | environment)


def parabola(**changes: object) -> Target:
    """x^2 with noise at 30 uniform points of [-2, 3]."""
    from mlpfit.config.catalogue import load_targets
    from mlpfit.data.targets import TARGETS

    load_targets()
    fields = {"curvature": 1.0, "points": 30, "inputs": "uniform", "low": -2.0, "high": 3.0}
    fields |= {"noise": 0.5, "observed": None, "standardise": False, "float32": False}
    return TARGETS["parabola"](**{**fields, **changes})


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder for all test processes to read, which make(folder) fills once: in that which comes
    first, while the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    made = folder.with_name(f"{name}.made")
    with open(folder.with_name(f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which everything was reproduced once, to read, and what was printed."""

    def reproduce(folder: Path) -> None:
        (folder / "outputs").mkdir()  # so that what is composed is kept for the next commands
        done = run("mlpfit", "reproduce", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        folder.with_name("reproduced.txt").write_text(done.stdout)

    folder = shared(tmp_path_factory, "reproduced", reproduce)
    return folder, folder.with_name("reproduced.txt").read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: pages are not opened in a browser")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright opens pages in chromium"
    )
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@cache
def job_loader() -> tuple[JobLoader, DictConfig]:
    """What a sweep composes its jobs with, and the config of a multirun that it needs: ten times as
    fast as Hydra alone, with which tests/sweeps/test_jobs.py compares it."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    import mlpfit.config
    from mlpfit.config.sources import register_with_hydra
    from mlpfit.sweeps.composing import JobLoader

    register_with_hydra()
    folder = str(Path(mlpfit.config.__file__).parent)
    with initialize_config_dir(folder, version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        master = hydra.compose_config("config", ["experiment=tower/small"], RunMode.MULTIRUN)
        return JobLoader(hydra.config_loader), master


@pytest.fixture
def quick(tmp_path: Path):
    """Composes configs that write into this test's own folder."""
    from mlpfit.config.compose import checked_config, compose

    def config(*overrides: str) -> Config:
        given = [f"output_dir={tmp_path}/outputs", *overrides]
        if "MLPFIT_PATH" in os.environ:  # whose files may have changed
            return compose(given)
        loader, multirun = job_loader()
        try:
            return checked_config(loader.load_sweep_config(multirun, given))
        except Exception:
            return compose(given)  # says in one line what is wrong

    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """Runs of configs for all tests of a file to read, each trained once."""
    from mlpfit.config.compose import compose
    from mlpfit.runs.run import load_run
    from mlpfit.training.train import train

    folder, runs = tmp_path_factory.mktemp("finished"), {}

    def run(*overrides: str) -> Run:
        if overrides not in runs:
            config = compose([*overrides, f"output_dir={folder}/{len(runs)}"])
            train(config)
            runs[overrides] = load_run(config.folder)
        return runs[overrides]

    return run


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs ``mlpfit ...`` in this test's folder; gives the exit code and what was printed."""
    from mlpfit.commands.train import main
    from mlpfit.errors import ConfigError, RunError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command sets it for Hydra; not beyond it

    def give(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mlpfit", *arguments])
        try:
            code, message = main(), ""
        except SystemExit as error:
            code, message = error.code, ""
        except (ConfigError, RunError) as error:
            code, message = 2 if isinstance(error, ConfigError) else 1, str(error)
        printed = capsys.readouterr()
        return int(code or 0), printed.out + printed.err + message

    return give


@pytest.fixture
def refused(command, tmp_path):
    """The line with which ``mlpfit ...`` refuses what it is given before it makes anything."""

    def line(*arguments: str) -> str:
        code, printed = command(*arguments)
        assert code == 2 and "\n" not in printed.rstrip("\n"), printed
        assert list(tmp_path.iterdir()) == []
        return printed

    return line


TARGET = '''
"""A slope. Where a file "fault" says "3 kill", whoever asks for it once three runs or shards are
finished is killed."""
import os, signal
from dataclasses import dataclass
from pathlib import Path
from mlpfit.data.targets import Target

@dataclass(frozen=True, kw_only=True)
class Ramp(Target, name="ramp"):
    slope: float

    def __call__(self, x):
        if (file := Path("fault")).is_file():
            count, how = file.read_text().split()
            done = len(list(Path("outputs").rglob("complete.json"))) >= int(count)
            if done and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if done:
                raise RuntimeError("no such slope")
        return self.slope * x
'''
CONF = {
    "target/ramp": "{name: ramp, slope: 2.0, points: 20, inputs: grid, low: 0.0, high: 1.0, "
    "noise: 0.1, observed: null, standardise: false, float32: true}",
    "experiment/own/ramp": "# @package _global_\n"
    "defaults: [override /target: ramp, override /optimizer: sgd, override /logger: none]\n"
    "name: own/ramp\nquestion: How steep?\nmodel: {hidden: 3}\ntrainer: {max_steps: 20}\n",
}


def tutorial_folder(folder: Path, files: Mapping[str, str]) -> str:
    """Write the files of a user's tutorial. Returns its folder, for MLPFIT_PATH."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(folder)


@pytest.fixture
def own(tmp_path_factory):
    """MLPFIT_PATH with a tutorial of the user's own: experiment=own/ramp."""
    files = {f"conf/{name}.yaml": text for name, text in CONF.items()} | {"targets.py": TARGET}
    return tutorial_folder(tmp_path_factory.mktemp("users") / "own", files)


@pytest.fixture
def sixth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's tutorial that has nothing else."""
    (folder := tmp_path / "sixth").mkdir()
    monkeypatch.setenv("MLPFIT_PATH", str(folder))
    return folder
