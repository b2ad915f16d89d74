"""No command deletes or changes what mlpfit did not make, whatever folder it is given."""

import ast
import errno
import os
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, run

from mlpfit import RunError, load_run
from mlpfit.errors import Diverged
from mlpfit.runs import folder as folders
from mlpfit.runs.folder import unfinished_path
from mlpfit.runs.removal import is_hydra_folder, remove
from mlpfit.training.train import train

SHORT = ("experiment=plane/sequential", "trainer.max_steps=5", "logger=none")


def test_folders_are_removed_in_one_place():
    places = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = {getattr(node, "attr", ""), getattr(node, "id", "")}
            names |= {alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")}
            if names & {"rmtree", "removedirs"}:
                places.append(file.name)
    assert places == ["removal.py"]


def everything(folder: Path) -> dict[str, object]:
    """Every path under a folder with its content: bytes, the target of a link, None for a
    folder."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else content
    return found


def lost(before: dict[str, object], folder: Path) -> list[str]:
    after = everything(folder)
    return [path for path, content in before.items() if after.get(path, 0) != content]


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """A user's folders, with the working directory deep in them: sandbox/home/work/here."""
    here = tmp_path / "sandbox/home/work/here"
    for name in (".git/refs", ".hydra", "full/empty", "results", "repository/.git", "neighbour"):
        (here / name).mkdir(parents=True)
    files = [".git/HEAD", ".hydra/config.yaml", "full/data.csv", "full/complete.json", "file"]
    files += ["../notes.txt", "../../notes.txt", "../../../notes.txt", "repository/.git/HEAD"]
    files += ["results.old", "results.partial/x", "neighbour/summary.csv", "neighbour/metrics.csv"]
    files += ["summary.csv", "metrics.csv", "hparams.yaml", "neighbour/job.json"]
    for name in files:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(f"{name}\n")
    (here / "full/complete.json").write_text("{}")
    (here / "link").symlink_to("full")
    (here / "broken").symlink_to("nowhere")
    (here / "loop").symlink_to("loop")
    monkeypatch.setenv("HOME", str(tmp_path / "sandbox/home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "sandbox/home/work/here/full"))
    monkeypatch.chdir(here)
    return tmp_path / "sandbox"


PLACES = [".", "..", "../..", "../../..", "full", "full/", "repository", ".git", "link", "broken"]
PLACES += ["loop", "file", "file/x", "./full/../.", "neighbour", "full/../full", "link/../full"]


def test_a_run_never_replaces_a_users_folder(sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    for place in PLACES:
        code, printed = command(*SHORT, "force=true", f"hydra.run.dir={place}")
        assert code in (1, 2) and printed.count("\n") <= 1, (place, printed)
        assert everything(sandbox) == before, (place, printed)


@pytest.mark.parametrize("place", [".", "..", "full", "repository", "link", "file"])
def test_an_output_dir_is_only_added_to(place, sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    code, printed = command(*SHORT, "force=true", f"output_dir={place}")
    assert code == (2 if place == "file" else 0), printed
    assert not lost(before, sandbox)


SUBDIRS = [".", "results", "neighbour", "..", "link"]
PAIRS = [(place, subdir) for place in (".", "full", "link", "file", "new") for subdir in SUBDIRS]
QUICK = [pair for pair in PAIRS if pair[0] in (".", "new") or pair[1] == "results"]


@pytest.mark.parametrize(
    ("place", "subdir"),
    [pytest.param(*pair, marks=[pytest.mark.slow] * (pair not in QUICK)) for pair in PAIRS],
)
def test_a_sweep_never_writes_over_a_users_files(place, subdir, sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    given = (f"hydra.sweep.dir={place}", f"hydra.sweep.subdir={subdir}", "hydra/launcher=basic")
    code, printed = command("-m", *SHORT, *given)
    assert not lost(before, sandbox), printed
    assert code == 1 or (place == "new" and subdir not in (".", "..")), printed


def test_a_loggers_folder_is_only_added_to(sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    csv = ("experiment=plane/sequential", "trainer.max_steps=5", "logger=csv")
    assert command(*csv, "+logger.csv.save_dir=.")[0] == 0
    assert not lost(before, sandbox)
    for more in (("+logger.csv.name=''", "+logger.csv.version=''"), ("+logger.csv.version=full",)):
        _, printed = command(*csv, "force=true", "+logger.csv.save_dir=.", *more)
        assert not lost(before, sandbox), printed
    _, printed = command(*csv, "seed=1", "+logger.csv.save_dir=.", "+logger.csv.version=''")
    assert not lost(before, sandbox), printed


def test_hydras_own_files_replace_none_of_a_users(sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    for name in ("..", ".", "/tmp/x", "a/b", "config.yaml", "checkpoints", "job.json", "''"):
        code, printed = command(*SHORT, f"hydra.output_subdir={name}")
        assert code == 2 and "hydra.output_subdir" in printed, (name, printed)
    code, printed = command(*SHORT, "~hydra.callbacks", "hydra.run.dir=.")
    assert code == 2 and everything(sandbox) == before


def test_a_run_that_diverges_leaves_its_neighbours_alone(tmp_path, quick):
    config = quick("experiment=parabola/eight_neurons", "optimizer.lr=10", "logger=none")
    for name in ("eight_neurons.old", "eight_neurons.partial", ".eight_neurons"):
        (config.folder.parent / name).mkdir(parents=True)
        (config.folder.parent / name / "x").write_text("x")
    before = everything(tmp_path)
    with pytest.raises(Diverged):
        train(config)
    assert not lost(before, tmp_path) and not config.folder.exists()


def test_a_users_file_in_a_run_keeps_it_from_being_replaced(tmp_path, quick):
    train(config := quick(*SHORT))
    (config.folder / "notes.txt").write_text("mine")
    before = everything(tmp_path)
    assert not train(config)  # up to date
    with pytest.raises(RunError, match=r"holds 'notes.txt', which mlpfit did not write"):
        train(quick(*SHORT, "seed=1"))
    with pytest.raises(RunError, match=r"notes\.txt"):
        remove(config.folder)
    assert everything(tmp_path) == before
    (config.folder / "notes.txt").unlink()
    (config.folder / "checkpoints/mine").symlink_to(tmp_path)
    with pytest.raises(RunError, match="checkpoints/mine"):
        train(quick(*SHORT, "force=true"))
    (config.folder / "checkpoints/mine").unlink()
    assert train(quick(*SHORT, "seed=1")) and load_run(config.folder).seeds == [1]


def test_an_unfinished_folder_with_a_users_file_is_left_alone(tmp_path, quick):
    config = quick(*SHORT)
    partial = unfinished_path(config.folder)
    partial.mkdir(parents=True)
    (partial / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"mine\.txt"):
        train(quick(*SHORT, "force=true"))
    assert (partial / "mine.txt").read_text() == "mine"


def test_there_is_always_the_old_run_or_the_new_one(quick, monkeypatch):
    """Also where the system can't exchange two names at once."""
    train(config := quick(*SHORT))
    assert train(quick(*SHORT, "seed=1")) and load_run(config.folder).seeds == [1]
    monkeypatch.setattr(folders, "exchange", lambda a, b: False)
    assert train(quick(*SHORT, "seed=2")) and load_run(config.folder).seeds == [2]
    replaced = config.folder.with_name(config.folder.name + folders.REPLACED)
    config.folder.rename(replaced)  # as if killed between the two renames
    assert not train(quick(*SHORT, "seed=2")) and not replaced.exists()
    assert [path.name for path in config.folder.parent.iterdir()] == [config.folder.name]


def test_a_run_that_can_not_be_renamed_is_copied_before_it_is_replaced(quick, monkeypatch):
    """As one in the image of a container, whose file system renames files only."""
    train(config := quick(*SHORT))
    rename = os.rename

    def of_files_only(source, target):
        if Path(source) == config.folder:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        rename(source, target)

    monkeypatch.setattr(folders, "exchange", lambda a, b: False)
    monkeypatch.setattr(os, "rename", of_files_only)
    assert train(quick(*SHORT, "seed=1")) and load_run(config.folder).seeds == [1]
    assert [path.name for path in config.folder.parent.iterdir()] == [config.folder.name]
    replaced = config.folder.with_name(config.folder.name + folders.REPLACED)
    shutil.copytree(config.folder, replaced)  # as if killed while the old one was removed
    (config.folder / "history.npz").unlink()
    assert not train(quick(*SHORT, "seed=1")) and not replaced.exists()
    assert load_run(config.folder).history["loss"].shape == (5, 1)
    replaced.mkdir()
    (replaced / "history.npz").write_text("mine")
    with pytest.raises(RunError, match="holds"):
        train(quick(*SHORT, "seed=2"))
    assert (replaced / "history.npz").read_text() == "mine"
    assert load_run(config.folder).seeds == [1]


def test_hydras_documented_folders_work(tmp_path, command):
    (tmp_path / "empty").mkdir()
    os.chdir(tmp_path / "empty")
    assert command(*SHORT, "hydra.run.dir=.")[0] == 0
    assert load_run(".").seeds == [0] and Path(".hydra/hydra.yaml").is_file()
    assert "up to date" in command(*SHORT, "hydra.run.dir=.")[1]
    code, printed = command(*SHORT, "hydra.run.dir=.", "seed=1")
    assert code == 1 and "working directory" in printed and load_run(".").seeds == [0]
    os.chdir(tmp_path)
    given = ("hydra.run.dir=dated/${now:%Y}", "hydra.job.chdir=true", "hydra.output_subdir=null")
    assert command(*SHORT, *given)[0] == 0
    (folder,) = Path("dated").iterdir()
    assert load_run(folder).seeds == [0] and not (folder / ".hydra").exists()


def test_clean_leaves_what_mlpfit_did_not_write(tmp_path, quick):
    train(quick(*SHORT))
    train(other := quick(*SHORT, "name=plane/other"))
    (other.folder / "notes.txt").write_text("mine")
    (tmp_path / "outputs/runs/mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs/runs/link").symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path)
    done = run("mlpfit", "clean", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "notes.txt" in done.stderr
    gone = lost(before, tmp_path)
    assert all("plane/sequential" in path or ".locks" in path or ".cache" in path for path in gone)
    assert (tmp_path / "outputs/runs/link").is_symlink() and other.folder.is_dir()


def test_settings_that_another_process_is_writing_again_are_still_mlpfits(tmp_path):
    """Hydra empties a file before it writes it. Those of another application, complete or with an
    empty file, stay foreign."""
    config, hydra = "target:\n  name: line\n\nckpt_path: null\n", "hydra:\n  run:\n    dir: x\n"
    ours = hydra + "_target_: mlpfit.sweeps.callback.Experiments\n"
    overrides = "- experiment=gradient/line_by_hand\n"
    cases = {  # what config.yaml and hydra.yaml hold -> whether the folder is mlpfit's
        (config, ours): True,
        ("", ours): True,
        (config, ""): True,
        (config, hydra): False,
        ("name: other\n", ""): False,
    }
    for number, ((first, second), expected) in enumerate(cases.items()):
        folder = tmp_path / str(number) / ".hydra"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(first)
        (folder / "hydra.yaml").write_text(second)
        (folder / "overrides.yaml").write_text(overrides)
        assert is_hydra_folder(folder) == expected
