"""Figures of tutorials: each is drawn once, from finished runs, with the same bytes."""

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import run, tutorial_folder

from mlpfit import RunError, load_run
from mlpfit.config.catalogue import tutorials
from mlpfit.errors import ConfigError
from mlpfit.figures.distribution import draw_histogram, overview
from mlpfit.figures.draw import draw_all, draw_overview, drawings, poorer_ensembles
from mlpfit.figures.parts import (
    fill_between_quantiles,
    fit_panels,
    log_ticks,
    narrow_screens,
    new_axes,
)
from mlpfit.figures.save import is_wide, narrow_file, size_of
from mlpfit.judging import published
from mlpfit.runs.identity import replicas_to_lose
from mlpfit.training.train import train

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


@pytest.mark.parametrize("names", [["tower"], pytest.param([], marks=pytest.mark.slow)])
def test_figures_drawn_again_have_the_same_bytes(names, reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs/runs", tmp_path / "runs")
    chosen = [drawing for drawing in drawings() if not names or drawing.tutorial in names]
    assert draw_all(names, tmp_path) == (len(chosen), 0)
    for drawing in chosen:
        file = f"figures/{drawing.name}.svg"
        theirs = reproduced[0] / "outputs" / file
        assert (tmp_path / file).read_bytes() == theirs.read_bytes()
    assert draw_all(["tower"], tmp_path) == (0, 3)


def test_a_figure_that_was_cut_short_is_drawn_again(reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs/runs/parabola", tmp_path / "runs/parabola")
    assert draw_all(["parabola/loss"], tmp_path) == (1, 0)
    file = tmp_path / "figures/parabola/loss.svg"
    sound = file.read_bytes()
    file.write_bytes(sound[:-100])
    assert draw_all(["parabola/loss"], tmp_path) == (1, 0) and file.read_bytes() == sound


def test_names_of_drawings_are_unique_and_of_their_tutorial():
    names = [drawing.name for drawing in drawings()]
    assert len(names) == len(set(names))
    for drawing in drawings():
        assert drawing.tutorial == drawing.experiment.split("/")[0]


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="castle: no such tutorial, experiment or figure"):
        draw_all(["tower", "castle"], tmp_path)


def test_figures_without_runs_say_what_to_do(tmp_path):
    done = run("mlpfit", "figures", "tower", cwd=tmp_path)
    assert done.returncode == 1 and "mlpfit reproduce tower" in done.stderr
    assert not (tmp_path / "outputs").exists()


FIGURES_PY = """
from mlpfit.figures.parts import Drawing, new_axes

def line(run):
    figure, ax = new_axes()
    ax.plot(run.data["x"][0, :, 0], run.data["y"][0, :, 0])
    return figure

FIGURES = [Drawing("mine/line", "mine/first", "A line", line)]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's tutorial with one experiment, and neither figures nor published numbers."""
    first = (
        "# @package _global_\ndefaults: [override /target: parabola]\n"
        "name: mine/first\nquestion: How?\nmodel: {hidden: 2}\ntrainer: {max_steps: 5}\n"
    )
    files = {"conf/experiment/mine/first.yaml": first}
    monkeypatch.setenv("MLPFIT_PATH", tutorial_folder(tmp_path / "mine", files))
    return tmp_path / "mine"


def test_a_users_tutorial_has_its_figures_and_its_distribution(mine, quick, tmp_path):
    outputs = tmp_path / "outputs"
    assert tutorials()[-1].name == "mine" and draw_all(["mine"], outputs) == (0, 0)
    train(quick("experiment=mine/first"))
    train(quick("experiment=mine/first", "replicas=3"))
    assert draw_all(["mine/first"], outputs) == (2, 0)  # the distribution and the portrait
    assert draw_all(["mine"], outputs) == (0, 2)
    (mine / "figures.py").write_text(FIGURES_PY)
    assert draw_all(["mine"], outputs) == (1, 2)
    assert draw_all(["mine/line"], outputs) == (0, 3)
    names = {f.stem for f in outputs.glob("figures/mine/*.svg")}
    assert names == {"line", "distribution", "portrait"}


def test_a_users_figures_that_list_none_are_named(mine):
    (mine / "figures.py").write_text("PICTURES = []\n")
    with pytest.raises(ConfigError, match=r"mine/figures\.py: needs FIGURES, a list of Drawing"):
        drawings()


def test_a_missing_run_is_named_before_anything_is_drawn(reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs/runs/tower/small", tmp_path / "runs/tower/small")
    with pytest.raises(RunError, match="no finished run of tower/large"):
        draw_all(["tower"], tmp_path)
    assert not (tmp_path / "figures").exists()


def test_what_the_page_does_not_show_is_marked(reproduced):
    folder = reproduced[0] / "outputs/figures"
    marked = {d.name for d in drawings() if "not shown" in (folder / f"{d.name}.svg").read_text()}
    assert marked == {d.name for d in drawings() if d.ours}
    assert "gradient/sine_line_loss" in marked and "tower/small_fit" not in marked


def test_the_overview_needs_the_ensembles_of_all_that_print_a_trace(mine, quick, tmp_path):
    (mine / "published.yaml").write_text(
        "author: A\ntitle: T\nyear: null\npage: null\nsummary: S\nnumbers:\n"
        "  - {experiment: mine/first, quantity: mse, update: before, convention: c,"
        " steps: [1, 5], values: [3.0, 2.0]}\n"
    )
    assert [n.step for n in published.printed_trace("mine/first")] == [1, 5]
    config = quick("experiment=mine/first", "replicas=20")
    train(config)
    assert draw_overview(tmp_path / "outputs") == []
    trained = load_run(config.folder)
    (ax,) = overview(trained).axes
    assert ax.lines[-1].get_ydata().tolist() == [3, 2]
    median = np.sort(trained.history["loss"], axis=1)[[0, 4], 9]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), median)
    beyond = replace(published.printed_trace("mine/first")[0], step=10**6)
    with pytest.raises(RunError, match=r"mse@1000000: not a step of this run, which took \d+$"):
        published.values_in(trained, beyond)
    sparse = {"history": {"step": np.array([1, 2, 4])}, "data": trained.data, "path": trained.path}
    sparse["config"] = trained.config
    between = replace(beyond, step=3)
    with pytest.raises(RunError, match=r"mse@3: .* has not kept .*history_points=4 keeps all"):
        published.values_in(SimpleNamespace(**sparse), between)


@pytest.mark.parametrize("lost", [0, 100, 2000])
def test_a_histogram_counts_what_it_does_not_show(lost):
    values = np.concatenate([np.linspace(1, 2, 2000 - lost), np.full(lost, np.inf)])
    ensemble = SimpleNamespace(final=lambda name: values, diverged=np.isinf(values))
    _, ax = new_axes()
    draw_histogram(ax, ensemble, None)
    if lost == 2000:
        assert [text.get_text() for text in ax.texts] == ["all replicas diverged"]
        return
    label = next(text for text in ax.get_legend_handles_labels()[1] if "replicas" in text)
    counts = [int(number) for number in re.findall(r"\d+", label.replace(",", ""))]
    assert counts[0] == 2000 == sum(counts[1:]) + sum(bar.get_height() for bar in ax.patches)
    assert counts[1] in (2, 3) and (f"{lost} diverged" in label) == (lost > 0)


def test_a_band_is_of_the_finite_replicas_and_says_how_many_are_not():
    values = np.tile(np.linspace(0, 1, 101), (2, 1))
    values[1, :20] = np.nan  # these have diverged by the second step
    _, ax = new_axes()
    fill_between_quantiles(ax, np.array([0.0, 1.0]), values)
    finite = np.sort(values[0, 20:])
    ninety = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert ninety.min() == finite[int(np.ceil(0.05 * 81)) - 1]
    assert ninety.max() == finite[int(np.ceil(0.95 * 81)) - 1]
    labels = " ".join(ax.get_legend_handles_labels()[1])
    assert "81 finite replicas" in labels and "20 diverged" in labels
    _, ax = new_axes()
    fill_between_quantiles(ax, np.array([0.0, 1.0]), np.full((2, 3), np.inf))
    assert ax.get_legend_handles_labels()[1] == ["all 3 replicas diverged"]


def test_a_wide_figure_has_another_version_for_narrow_screens(reproduced, tmp_path):
    for kind in ("runs", "figures"):
        shutil.copytree(reproduced[0] / "outputs" / kind, tmp_path / kind)
    with narrow_screens():
        draw_all(["parabola"], tmp_path)
        assert draw_all(["parabola"], tmp_path)[0] == 0
    for name in ("samples", "loss", "prediction", "neurons"):
        file = tmp_path / "figures/parabola" / f"{name}.svg"
        assert (
            file.read_bytes()
            == (reproduced[0] / "outputs/figures/parabola" / file.name).read_bytes()
        )
        assert narrow_file(file).is_file() == is_wide(file) == (name in ("loss", "neurons"))
        if is_wide(file):
            assert size_of(narrow_file(file).read_bytes())[0] < 300 < size_of(file.read_bytes())[0]


@pytest.mark.parametrize("high, count", [(3, (1, 3)), (100, (4, 7)), (1e9, (5, 12))])
def test_a_logarithmic_axis_has_some_labels_and_not_too_many(high, count):
    figure, ax = new_axes()
    ax.set(xscale="log", xlim=(1, high))
    log_ticks(ax.xaxis)
    figure.draw_without_rendering()
    labels = [t for t in ax.get_xticklabels() if 1 <= t.get_position()[0] <= high]
    assert count[0] <= len(labels) <= count[1]


@pytest.mark.parametrize("experiment", ["parabola/eight_neurons", "plane/sequential"])
def test_the_panels_of_a_fit_add_up(experiment, quick):
    config = quick(f"experiment={experiment}", "trainer.max_steps=20")
    train(config)
    trained = load_run(config.folder)
    panels = fit_panels(trained, 41)
    bias = np.array([trained.parameters(s)[-1][1][0, 0, 0] for s in trained.snapshots.tolist()])
    total = panels.shares.sum(axis=2) + bias[:, None]
    np.testing.assert_allclose(total, panels.prediction, rtol=1e-4, atol=1e-5)
    assert panels.prediction.shape == (len(trained.snapshots), len(panels.x))
    mse = (panels.residual[-1] ** 2).mean()
    assert mse == pytest.approx(trained.metrics["mse"][0], rel=1e-5)
    if experiment.startswith("parabola"):
        # between the pool's inputs
        np.testing.assert_allclose(panels.truth, panels.x**2, atol=0.05)
        np.testing.assert_array_equal(panels.kinks[-1], trained.kinks()[0])
    else:
        assert panels.kinks.shape[1] == 0 and len(panels.x) == len(panels.rows_y)


BANDS_PY = """
from functools import partial
from mlpfit.figures.parts import Drawing, draw_band, draw_loss, new_axes

def fit(run, replicas=None):
    figure, ax = new_axes()
    draw_band(ax, replicas, run.data["x"][0])
    return figure

loss = partial(draw_loss, title="Loss", xlabel="step", ylabel="loss")
FIGURES = [Drawing("loss", "first", "Loss", loss, band=True),
           Drawing("fit", "first", "Fit", fit, band=True)]
"""


def test_figures_of_more_seeds_are_kept_unless_asked(mine, quick, tmp_path):
    (mine / "figures.py").write_text(BANDS_PY)
    name, outputs = "mine/first", tmp_path / "outputs"
    train(quick(f"experiment={name}"))
    bands, drawn = ["loss_band", "fit_band", "portrait", "distribution"], {}
    for replicas in (4, 2):
        config = quick(f"experiment={name}", f"replicas={replicas}", "logger=none")
        assert replicas_to_lose(config, config.folder) == (4 if replicas == 2 else None)
        train(config)
        kept = poorer_ensembles([name], outputs)
        assert [*kept] == ([name] if replicas == 2 else [])
        draw_all(["mine"], outputs, [*kept])
        files = [outputs / f"figures/mine/{stem}.svg" for stem in bands]
        drawn[replicas] = [file.read_bytes() for file in files]
    assert "drawn from 4 seeds; now there are 2" in kept[name]
    assert drawn[4] == drawn[2]
    draw_all(["mine"], outputs)
    assert all(file.read_bytes() != kept for file, kept in zip(files, drawn[4], strict=True))
    assert poorer_ensembles([name], outputs) == {}
