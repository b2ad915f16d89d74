"""Every command with every key or variable that names a folder, set to a user's folders: no file of
the user's is lost or changed, whatever the command answers."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_nothing_deleted import everything, lost

from mlpfit.__main__ import COMMANDS
from mlpfit.config.compose import compose
from mlpfit.errors import ConfigError, RunError
from mlpfit.files import write_file
from mlpfit.training.train import train

PLACES = [".", "..", "../..", "../../..", "full", "full/new", "full/data.csv/x", "repository"]
PLACES += ["repository/.git", "link", "link/new", "broken", "loop", "file", "outputs", "'a b'"]
SHORT = ("experiment=own/ramp", "trainer.max_steps=3", "force=true")
SWEPT = (*SHORT, "optimizer.lr=0.01,0.02", "hydra/launcher=basic")
SEARCH = (*SWEPT, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2")
MONITOR = "{_target_: lightning.pytorch.callbacks.ModelCheckpoint, save_last: true, dirpath: "
KEYS = {
    "hydra.run.dir": (*SHORT, "hydra.run.dir={}"),
    "of an ensemble": (*SHORT, "replicas=3", "hydra.run.dir={}"),
    "of one that diverges": (*SHORT, "optimizer.lr=1e30", "hydra.run.dir={}"),
    "output_dir": (*SHORT, "output_dir={}"),
    "hydra.sweep.dir": ("-m", *SWEPT, "hydra.sweep.dir={}"),
    "hydra.sweep.subdir": ("-m", *SWEPT, "hydra.sweep.subdir={}"),
    "both": ("-m", *SWEPT, "hydra.sweep.dir={}", "hydra.sweep.subdir={}"),
    "of shards": ("-m", *SHORT, "replicas=3", "hydra/sweeper=shards", "hydra.run.dir={}"),
    "sweep of shards": ("-m", *SHORT, "replicas=3", "hydra/sweeper=shards", "hydra.sweep.dir={}"),
    "named shards": (*SHORT, "replicas=3", "ensemble.only=[0]", "hydra.run.dir={}"),
    "of a search": ("-m", *SEARCH, "hydra.sweep.dir={}"),
    "storage": ("-m", *SEARCH, "hydra.sweeper.storage=sqlite:///{}"),
    "storage within": ("-m", *SEARCH, "hydra.sweeper.storage=sqlite:///{}/data.csv"),
    "trainer.default_root_dir": (*SHORT, "logger=csv", "+trainer.default_root_dir={}"),
    "save_dir of csv": (*SHORT, "logger=csv", "+logger.csv.save_dir={}"),
    "save_dir of TensorBoard": (*SHORT, "logger=tensorboard", "+logger.tensorboard.save_dir={}"),
    "dirpath": (*SHORT, f"+callbacks.mine={MONITOR}{{}}}}"),
    "hydra.output_subdir": (*SHORT, "hydra.output_subdir={}"),
    "ckpt_path": (*SHORT, "ckpt_path={}"),
}
VARIABLES = ["MLPFIT_PATH", "MLPFIT_KERNEL_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TMPDIR", "HOME"]
VARIABLES += ["MPLCONFIGDIR", "XDG_CACHE_HOME"]
OTHERS = {
    "reproduce": ("own",),
    "ensembles": ("own", "replicas=5"),
    "verify": ("own",),
    "figures": ("own",),
    "ledger": ("own",),
    "report": ("own",),
    "playground": (),
    "sweep": ("{}",),
    "tensorboard": ("{}", "--write-only"),
    "clean": (),
}


@pytest.fixture
def here(tmp_path, own, monkeypatch):
    """The working directory, deep in a user's folders: sandbox/home/work/here."""
    here = tmp_path / "sandbox/home/work/here"
    files = ["full/data.csv", "full/last.ckpt", "full/complete.json", "full/empty.csv", "file"]
    files += [
        "full/metrics.csv",
        "full/hparams.yaml",
        "full/summary.csv",
        "full/.hydra/config.yaml",
    ]
    files += ["full/.locks/x", "full/.cache/x", "full/runs/own/ramp/x", "repository/.git/HEAD"]
    files += ["repository/.git/refs/x", "repository/code.py", ".git/HEAD", "results.old"]
    files += ["../notes.txt", "../../notes.txt", "../../../notes.txt", "lightning_logs/version_0/x"]
    for name in files:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(f"{name}\n")
    (here / "full/runs/empty").mkdir(parents=True)
    for name, target in {"link": "full", "broken": "nowhere", "loop": "loop"}.items():
        (here / name).symlink_to(target)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "sandbox/home"))
    monkeypatch.setenv("MLPFIT_PATH", own)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    return here


@pytest.fixture
def mlpfit(here, monkeypatch, capsys):
    """Runs ``mlpfit ...`` here, in this process; gives exit code and stderr."""

    def give(*arguments: str) -> tuple[int, str]:
        os.chdir(here)
        module, _, function = COMMANDS.get(arguments[0], "commands.train:main").partition(":")
        given = arguments[1:] if arguments[0] in COMMANDS else arguments
        monkeypatch.setattr(sys, "argv", ["mlpfit", *given])
        message = ""
        try:
            code = getattr(importlib.import_module(f"mlpfit.{module}"), function)()
        except SystemExit as error:
            code = error.code
        except (ConfigError, RunError, OSError) as error:
            code, message = 2 if isinstance(error, ConfigError) else 1, f"{error}\n"
        return int(code or 0), capsys.readouterr().err + message

    return give


def check(here: Path, before: dict[str, object], answer: tuple[int, str], given: object) -> None:
    sandbox, (code, printed) = here.parents[2], answer
    assert not lost(before, sandbox), (given, answer)
    assert "Traceback" not in printed, (given, answer)
    assert code == 0 or printed.strip(), (given, answer)


def try_key(key: str, place: str, here: Path, mlpfit, before: dict[str, object]) -> None:
    given = [text.replace("{}", place) for text in KEYS[key]]
    check(here, before, mlpfit(*given), given)


WORST = [
    ("hydra.run.dir", "."),
    ("hydra.run.dir", ".."),
    ("of one that diverges", "full"),
    ("output_dir", "repository"),
    ("both", "full"),
    ("of shards", "link"),
    ("of a search", "."),
    ("storage within", "full"),
    ("trainer.default_root_dir", "full"),
    ("save_dir of csv", "full"),
    ("dirpath", "full"),
]


@pytest.mark.parametrize(("key", "place"), WORST)
def test_the_worst(key, place, here, mlpfit):
    try_key(key, place, here, mlpfit, everything(here.parents[2]))


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_names_a_folder(key, here, mlpfit):
    before = everything(here.parents[2])
    for place in [*PLACES, str(here.parents[2])]:
        try_key(key, place, here, mlpfit, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_names_a_folder(name, here, mlpfit, monkeypatch):
    before = everything(here.parents[2])
    for place in [*PLACES, str(here.parents[2])]:
        monkeypatch.setenv(name, place)
        check(here, before, mlpfit(*SHORT, "logger=csv"), (name, place))
        check(here, before, mlpfit("clean"), (name, place, "clean"))


@pytest.mark.slow
@pytest.mark.parametrize("command", OTHERS)
def test_a_command_whose_outputs_are_a_users(command, here, mlpfit, tmp_path):
    """outputs: a link to a full folder, a file, a repository, a folder with runs and a user's files
    beside and in them."""
    train(compose([*SHORT[:2], f"output_dir={tmp_path}/sound", "logger=none"]))
    train(compose([*SHORT[:2], f"output_dir={tmp_path}/sound", "logger=none", "replicas=5"]))
    for kind in ("link", "file", "repository", "loop", "broken", "mixed", "nothing"):
        outputs = here / "outputs"
        if kind == "mixed":
            shutil.copytree(tmp_path / "sound", outputs)
            for name in ("mine.txt", "runs/mine.txt", "runs/own/mine.txt", ".locks/mine.txt"):
                write_file(outputs / name, b"mine")
            write_file(outputs / "runs/own/ramp/mine.txt", b"mine")
            write_file(outputs / "report.html.txt", b"mine")
        elif kind != "nothing":
            outputs.symlink_to(kind)
        before = everything(here.parents[2])
        ours = ("outputs/runs", "outputs/ensembles", "outputs/.locks", "outputs/.cache")
        users = {
            path: content
            for path, content in before.items()
            if "mine" in path or not any(own in path for own in ours)
        }
        for place in ("outputs", "full", "link", ".") if "{}" in OTHERS[command] else ("",):
            given = [command, *(text.replace("{}", place) for text in OTHERS[command])]
            check(here, users, mlpfit(*given), (kind, given))
        if outputs.is_symlink():
            outputs.unlink()
        elif outputs.is_dir():
            outputs.rename(here / f"outputs-{kind}")


def test_make_removes_only_what_it_made(here):
    shutil.copy(ROOT / "Makefile", here)
    (here / ".venv").symlink_to("full")
    (here / "full/.installed").touch()
    for cache in (".pytest_cache", ".mypy_cache"):
        write_file(here / cache / "mine.txt", b"mine")
    (here / ".ruff_cache").symlink_to("full")
    (here / "full/CACHEDIR.TAG").touch()
    before = everything(here.parents[2])
    subprocess.run(["make", "distclean"], cwd=here, capture_output=True, timeout=60)
    assert not lost(before, here.parents[2])
    (here / ".venv").unlink()
    write_file(here / ".venv/mine.txt", b"mine")  # made by the user, not by make
    python = here / ".venv/bin/python"
    write_file(python, f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode())
    python.chmod(0o755)
    write_file(here / "outputs/runs/own/ramp/mine.txt", b"mine")
    before = everything(here.parents[2])
    subprocess.run(["make", "distclean"], cwd=here, capture_output=True, timeout=60)
    assert not lost(before, here.parents[2])
