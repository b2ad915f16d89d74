"""The main command and what it leaves behind."""

import csv
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, run

from mlpfit import load_run
from mlpfit.config import catalogue
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import compose
from mlpfit.judging import published
from mlpfit.report import table as results
from mlpfit.runs.identity import is_current


def test_every_experiment_trains_with_all_its_files(reproduced):
    for name in experiments():
        run_ = load_run(reproduced[0] / "outputs/runs" / name)
        assert run_.history["loss"].shape == (run_.config["trainer"]["max_steps"], 1)
        if run_.config["trainer"]["max_steps"]:
            names = {path.name for path in (run_.path / "checkpoints").iterdir()}
            assert names == {"last.ckpt", "best.ckpt"}
            assert list(run_.path.glob("events.out.tfevents.*"))


def test_the_closing_table_names_every_experiment_and_figure(reproduced):
    for name in experiments():
        assert re.search(rf"^{name} .*outputs/figures/", reproduced[1], re.MULTILINE)


def test_a_second_time_everything_is_up_to_date(reproduced):
    again = run("mlpfit", "reproduce", cwd=reproduced[0])
    assert again.stdout.startswith("everything is up to date: 14 runs, 22 figures")
    assert again.returncode == 0 and again.stderr == ""


def test_tensorboard_has_the_same_tags_everywhere(reproduced):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("tower/small", "plane/scratch", "restoration/wide"):
        folder, everything = reproduced[0] / "outputs/runs" / name, {"scalars": 0, "images": 0}
        events = EventAccumulator(str(folder), size_guidance=everything).Reload()
        tags = events.Tags()
        assert {"train/loss", "error/truth", "learning_rate", "units/dead"} <= set(tags["scalars"])
        assert {"question/text_summary", "command/text_summary"} <= set(tags["tensors"])
        history = load_run(folder).history["loss"][:, 0]
        for event in events.Scalars("train/loss"):
            assert event.value == pytest.approx(history[event.step - 1], rel=1e-6)


def test_the_published_numbers_are_all_there():
    numbers = [n for t in tutorials() for n in published.tutorial(t.name).numbers]
    assert len(numbers) == len({n.key for n in numbers}) == 101
    assert {n.experiment for n in numbers} - set(experiments()) == {"gradient/check"}


def test_readme_and_results_agree():
    readme = (ROOT / "README.md").read_text()
    assert results.readme_table(ROOT / "outputs") in readme


def test_committed_results_are_those_of_this_code(reproduced):
    texts = [(folder / "outputs/results.csv").read_text() for folder in (ROOT, reproduced[0])]
    tables = [csv.DictReader(text.splitlines()) for text in texts]
    for committed, new in zip(*tables, strict=True):
        assert committed["experiment"] == new["experiment"]
        ratio = float(committed["value"]) / float(new["value"])
        factor = 3 if published.amplifies_rounding(new["experiment"]) else 1.001
        assert 1 / factor < ratio < factor


def test_unknown_names_are_refused(tmp_path):
    done = run("mlpfit", "reproduce", "castle", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpfit: castle: no such tutorial, experiment or figure")


def test_the_makefile_has_a_target_for_every_tutorial():
    command = ["make", "-n", *(t.name for t in tutorials())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    for tutorial in tutorials():
        assert f"-m mlpfit reproduce {tutorial.name}" in done.stdout


def test_editing_one_yaml_makes_that_experiment_alone_stale(reproduced, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    file = tmp_path / "conf/experiment/plane/scratch.yaml"
    file.write_text(file.read_text().replace("lr: 0.01", "lr: 0.02"))
    monkeypatch.setattr(catalogue, "CONF", tmp_path / "conf")
    catalogue._tutorials.cache_clear()
    try:
        given = [f"output_dir={reproduced[0]}/outputs"]
        configs = [compose([f"experiment={name}", *given]) for name in experiments()]
    finally:
        catalogue._tutorials.cache_clear()
    stale = [config.name for config in configs if not is_current(config, config.folder)]
    assert stale == ["plane/scratch"]
