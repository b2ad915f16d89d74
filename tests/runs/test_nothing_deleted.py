"""No command deletes or changes what mlpfit did not make, whatever folder it is given."""

import ast
import os
from pathlib import Path

import pytest
from conftest import ROOT

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
        content = os.readlink(path) if path.is_symlink() else None
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else content
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


@pytest.mark.parametrize("key", ["hydra.run.dir", "output_dir"])
@pytest.mark.parametrize("more", [(), ("force=true",), ("optimizer.lr=1e9",)])
def test_a_run_never_replaces_a_users_folder(key, more, sandbox, command):
    os.chdir(sandbox / "home/work/here")
    before = everything(sandbox)
    for place in PLACES:
        code, printed = command(*SHORT, *more, f"{key}={place}")
        assert not lost(before, sandbox), (place, printed)
        if key == "hydra.run.dir":
            assert code in (1, 2) and printed.count("\n") <= 1, (place, printed)
            assert everything(sandbox).keys() == before.keys(), place
