"""An ensemble trained in shards by jobs of a multirun is the ensemble trained at once."""

import json
import subprocess
import sys

import pytest
from conftest import run

from mlpfit import RunError, load_run
from mlpfit.config.compose import compose
from mlpfit.runs.folder import seal
from mlpfit.training.train import train

ENSEMBLE = ("experiment=tower/small", "trainer.max_steps=20", "model.hidden=4", "logger=none")
FIVE = ("replicas=9", "ensemble.shard=2")  # shards of 2, 2, 2, 2 and 1 replicas
SHARDS = ("-m", "hydra/sweeper=shards", "hydra/launcher=basic")


def at_once(folder, *overrides):
    """The ensemble as one command trains it."""
    config = compose([f"output_dir={folder}", *ENSEMBLE, *overrides])
    train(config)
    return load_run(config.folder)


def times(folder):
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/complete.json")}


def test_shards_as_jobs_are_the_ensemble_and_are_trained_once(command, tmp_path, finished):
    whole = finished(*ENSEMBLE, *FIVE)
    code, printed = command(*SHARDS, *ENSEMBLE, *FIVE, "hydra.sweeper.shards_per_job=2")
    assert code == 0 and "complete, 5 shards" in printed
    final = tmp_path / "outputs/ensembles/tower/small"
    ours = load_run(final)
    ours.check_files()
    assert ours.number_hashes() == whole.number_hashes() and ours.identity == whole.identity
    assert (final / ".hydra/overrides.yaml").is_file()
    assert (
        not (tmp_path / "outputs/sweeps").exists()
        and not final.with_name(".small.mlpfit-unfinished").exists()
    )
    before = times(final / "shards")
    assert command(*SHARDS, *ENSEMBLE, *FIVE)[0] == 0
    assert command(*ENSEMBLE, *FIVE) == (0, _up_to_date)
    assert times(final / "shards") == before


_up_to_date = "outputs/ensembles/tower/small is up to date (force=true trains it again)\n"


def test_shards_that_are_finished_are_not_trained_again(command, tmp_path, finished):
    code, printed = command(*ENSEMBLE, *FIVE, "ensemble.only=[0,3]")
    assert code == 0 and "trained shards 0, 3 of 5" in printed
    final = tmp_path / "outputs/ensembles/tower/small"
    partial = final.with_name(".small.mlpfit-unfinished") / "shards"
    before = times(partial)
    assert set(before) == {"0000", "0003"} and not final.exists()
    code, printed = command(*SHARDS, *ENSEMBLE, *FIVE)
    assert code == 0 and "5 shards, 3 to be trained" in printed
    assert times(final / "shards").items() >= before.items()
    assert load_run(final).number_hashes() == finished(*ENSEMBLE, *FIVE).number_hashes()


def test_a_part_of_a_finished_ensemble_leaves_nothing(tmp_path):
    whole = at_once(tmp_path, *FIVE)
    config = compose([f"output_dir={tmp_path}", *ENSEMBLE, *FIVE, "ensemble.only=[1]"])
    train(config, config.folder)
    assert [path.name for path in whole.path.parent.iterdir()] == ["small"]


def test_a_part_of_another_ensemble_is_refused(tmp_path):
    given = [f"output_dir={tmp_path}", *ENSEMBLE, *FIVE, "ensemble.only=[1]"]
    train(compose(given), compose(given).folder)
    other = compose([*given, "optimizer.lr=0.5"])
    with pytest.raises(RunError, match=r"interrupted run with other settings .*optimizer.lr"):
        train(other, other.folder)


def test_two_experiments_are_two_ensembles(command, tmp_path, finished):
    two = ("experiment=tower/small,tower/large", *ENSEMBLE[1:], *FIVE)
    code, printed = command(*SHARDS, *two)
    assert code == 0 and "10 shards" in printed
    for name in ("tower/small", "tower/large"):
        ours = load_run(tmp_path / "outputs/ensembles" / name)
        theirs = finished(f"experiment={name}", *ENSEMBLE[1:], *FIVE)
        assert ours.number_hashes() == theirs.number_hashes()


@pytest.mark.slow
def test_two_commands_at_once_make_one_sound_ensemble(tmp_path):
    arguments = [sys.executable, "-m", "mlpfit", *SHARDS, *ENSEMBLE, *FIVE]
    pair = [subprocess.Popen(arguments, cwd=tmp_path) for _ in range(2)]
    # and parts that know of neither, as jobs that have outlived their command
    part = [sys.executable, "-m", "mlpfit", *ENSEMBLE, *FIVE, "ensemble.only=[0,1,2,3,4]"]
    pair.append(subprocess.Popen(part, cwd=tmp_path))
    assert [process.wait() for process in pair] == [0, 0, 0]
    final = tmp_path / "outputs/ensembles/tower/small"
    ours = load_run(final)
    ours.check_files()
    assert ours.number_hashes() == at_once(tmp_path / "other", *FIVE).number_hashes()
    assert [path.name for path in final.parent.iterdir()] == ["small"]


@pytest.mark.parametrize(
    "overrides, message",
    [
        (("replicas=1",), "has one replica"),
        ((*FIVE, "seed=1,2"), "seed: hydra/sweeper=shards sweeps experiment=... only"),
        ((*FIVE, "ensemble.only=[1]"), "sets ensemble.only itself"),
        ((*FIVE, "hydra.sweeper.shards_per_job=0"), "must be a whole number above 0"),
        ((*FIVE, "optimizer.lr=-1"), "optimizer.lr=-1"),
        ((*FIVE, "hydra.run.dir=x", "experiment=tower/small,tower/large"), "share a folder"),
    ],
)
def test_what_has_no_shards_is_refused_before_anything_is_made(refused, overrides, message):
    assert message in refused(*SHARDS, *ENSEMBLE, *overrides)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (("ensemble.only=[5]", *FIVE), r"of the 5 from 0 to 4"),
        (("ensemble.only=[]", *FIVE), r"of the 5 from 0 to 4"),
        (("ensemble.only=[1,1]", *FIVE), r"each once"),
        (("ensemble.only=[0]",), r"needs replicas > 1"),
    ],
)
def test_a_part_that_there_is_not_is_refused(refused, overrides, message):
    assert message in refused(*ENSEMBLE, *overrides)


def test_shards_are_in_order_however_many(tmp_path):
    for name in ("9999", "10000", "0001"):
        (tmp_path / "shards" / name).mkdir(parents=True)
    seal(tmp_path, {})
    order = json.loads((tmp_path / "complete.json").read_text())["shards"]
    assert order == ["0001", "9999", "10000"]


@pytest.mark.slow
def test_a_killed_job_leaves_its_shards_to_the_same_command(tmp_path, own):
    command = ("mlpfit", "-m", "hydra/sweeper=shards", "experiment=own/ramp", *FIVE)
    (tmp_path / "fault").write_text("2 kill")
    first = run(*command, cwd=tmp_path, MLPFIT_PATH=own)
    assert first.returncode == 1 and "killed by signal 9" in first.stderr
    assert "shards are missing" in first.stderr and first.stderr.count("\n") == 1
    (tmp_path / "fault").unlink()
    partial = tmp_path / "outputs/ensembles/own/.ramp.mlpfit-unfinished/shards"
    before = times(partial)
    assert 0 < len(before) < 5
    assert run(*command, cwd=tmp_path, MLPFIT_PATH=own).returncode == 0
    final = tmp_path / "outputs/ensembles/own/ramp"
    assert times(final / "shards").items() >= before.items() and load_run(final).replicas == 9
