"""The main command and what it leaves behind."""

import csv
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import ROOT, run

from mlpfit import load_run
from mlpfit.commands.verify import SENSITIVE
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import compose
from mlpfit.figures.draw import draw_all, pictures
from mlpfit.judging import published
from mlpfit.report import table as results
from mlpfit.runs.identity import is_current

PUBLISHED_FIGURES = {
    "tower": "target small_fit large_fit",
    "plane": "scratch sequential least_squares",
    "gradient": "line_data line_loss line_fit line_autograd_fit "
    "sine_data sine_line_loss sine_line_fit sine_network_fit",
    "parabola": "samples loss prediction neurons",
    "restoration": "narrow wide framework linear",
}


def test_every_published_figure_appears_and_is_sound(reproduced):
    folder = reproduced[0] / "outputs/figures"
    for tutorial, names in PUBLISHED_FIGURES.items():
        assert {p.stem for p in (folder / tutorial).iterdir()} == set(names.split())
    for file in folder.rglob("*.svg"):
        root = ET.parse(file).getroot()
        assert root.tag.endswith("svg") and len(list(root.iter())) > 50


def test_every_experiment_trains_with_all_its_files(reproduced):
    for name in experiments():
        run_ = load_run(reproduced[0] / "outputs/runs" / name)
        assert run_.history["loss"].shape == (run_.config["trainer"]["max_steps"], 1)
        if run_.config["trainer"]["max_steps"]:
            assert {"last.ckpt", "best.ckpt"} == {
                p.name for p in (run_.path / "checkpoints").iterdir()
            }
            assert list(run_.path.glob("events.out.tfevents.*"))


def test_the_closing_table_names_every_experiment_and_figure(reproduced):
    for name in experiments():
        assert re.search(rf"^{name} .*outputs/figures/", reproduced[1], re.MULTILINE)


def test_a_second_time_everything_is_up_to_date(reproduced):
    again = run("mlpfit", "reproduce", cwd=reproduced[0])
    assert again.stdout.startswith("everything is up to date: 14 runs, 22 figures")
    assert again.returncode == 0 and again.stderr == ""


def test_figures_drawn_again_have_the_same_bytes(reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs/runs", tmp_path / "runs")
    drawn, current = draw_all([], tmp_path)
    assert (drawn, current) == (22, 0)
    for picture in pictures():
        ours, theirs = (
            o / f"figures/{picture.name}.svg" for o in (tmp_path, reproduced[0] / "outputs")
        )
        assert ours.read_bytes() == theirs.read_bytes()
    assert draw_all(["tower"], tmp_path) == (0, 3)


def test_tensorboard_has_the_same_tags_everywhere(reproduced):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("tower/small", "plane/scratch", "restoration/wide"):
        events = EventAccumulator(
            str(reproduced[0] / "outputs/runs" / name), size_guidance={"scalars": 0, "images": 0}
        )
        events.Reload()
        tags = events.Tags()
        assert {"loss", "error/truth", "learning_rate", "units/dead"} <= set(tags["scalars"])
        assert {"question/text_summary", "command/text_summary"} <= set(tags["tensors"])
        history = load_run(reproduced[0] / "outputs/runs" / name).history["loss"][:, 0]
        for event in events.Scalars("loss"):
            assert event.value == pytest.approx(history[event.step - 1], rel=1e-6)


def test_the_published_numbers_are_all_there():
    numbers = [n for t in tutorials() for n in published.tutorial(t.name).numbers]
    assert len(numbers) == len({n.key for n in numbers}) == 101
    assert {n.experiment for n in numbers} - set(experiments()) == {"gradient/check"}


def test_readme_and_results_agree():
    readme = (ROOT / "README.md").read_text()
    assert results.readme_table(ROOT / "outputs") in readme


def test_committed_results_are_those_of_this_code(reproduced):
    with (
        (ROOT / "outputs/results.csv").open() as ours,
        (reproduced[0] / "outputs/results.csv").open() as theirs,
    ):
        for committed, new in zip(csv.DictReader(ours), csv.DictReader(theirs), strict=True):
            assert committed["experiment"] == new["experiment"]
            ratio = float(committed["value"]) / float(new["value"])
            assert (
                1 / 3 < ratio < 3
                if new["experiment"] in SENSITIVE
                else ratio == pytest.approx(1, rel=1e-3)
            )


def test_unknown_names_are_refused(tmp_path):
    done = run("mlpfit", "reproduce", "castle", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(
        "mlpfit: castle: no such tutorial, experiment or figure"
    )


def test_figures_without_runs_say_what_to_do(tmp_path):
    done = run("mlpfit", "figures", "tower", cwd=tmp_path)
    assert done.returncode == 1 and "train first (make reproduce)" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_the_makefile_knows_every_tutorial():
    line = next(
        line
        for line in (ROOT / "Makefile").read_text().splitlines()
        if line.startswith("TUTORIALS")
    )
    assert line.split(":= ")[1].split() == [p.stem for p in map(Path, tutorials())]


def test_editing_one_yaml_makes_that_experiment_alone_stale(reproduced, tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    file = tmp_path / "conf/experiment/plane/scratch.yaml"
    file.write_text(file.read_text().replace("lr: 0.01", "lr: 0.02"))
    configs = [
        compose([f"experiment={name}", f"output_dir={reproduced[0]}/outputs"], tmp_path / "conf")
        for name in experiments()
    ]
    assert [config.name for config in configs if not is_current(config)] == ["plane/scratch"]
