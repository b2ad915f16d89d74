"""A sweep that was killed: one command shows how far it has come."""

import pytest
from conftest import run

from mlpfit.sweeps.summary import read_summary


@pytest.mark.slow
def test_a_killed_sweep_is_closed_by_one_command(tmp_path, own):
    (tmp_path / "fault").write_text("1 kill")  # the whole command, with the second job
    given = ("-m", "experiment=own/ramp", "target.slope=1,2,3", "hydra/launcher=basic")
    killed = run("mlpfit", *given, cwd=tmp_path, MLPFIT_PATH=own)
    folder = tmp_path / "outputs/sweeps/own/ramp/target.slope"
    assert killed.returncode == -9 and not (folder / "summary.csv").exists()
    (tmp_path / "fault").unlink()
    named = run("mlpfit", "sweep", cwd=tmp_path, MLPFIT_PATH=own)
    relative = str(folder.relative_to(tmp_path))
    assert named.returncode == 2 and relative in named.stderr
    closed = run("mlpfit", "sweep", f"{relative}/", cwd=tmp_path, MLPFIT_PATH=own)
    assert closed.returncode == 1 and "2 of 3 jobs failed" in closed.stderr
    keys, rows = read_summary(folder)
    assert keys == ["target.slope"] and [row["target.slope"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["failure"] == "" and all("killed" in row["failure"] for row in rows[1:])
    assert (folder / "figure.svg").is_file()
    again = run("mlpfit", *given, cwd=tmp_path, MLPFIT_PATH=own)
    assert again.returncode == 0, again.stderr
    summary = (folder / "summary.csv").read_bytes()
    assert run("mlpfit", "sweep", relative, cwd=tmp_path, MLPFIT_PATH=own).returncode == 0
    assert (folder / "summary.csv").read_bytes() == summary


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    done = run("mlpfit", "sweep", "nowhere", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("mlpfit: nowhere: no sweep here")
    assert list(tmp_path.iterdir()) == []
