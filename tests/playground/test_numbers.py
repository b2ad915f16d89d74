"""The playground's numbers are mlpfit's: of published runs, of any seed and any command."""

import shlex
import shutil
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from conftest import run
from playground_page import needs_browser, until, visit

from mlpfit import mlp
from mlpfit.config import compose
from mlpfit.datamodule import draw
from mlpfit.runs import load_run
from mlpfit.streams import streams

SEEDS = 8  # of the small ensembles here
COMPARED = ["parabola/eight_neurons", "tower/small", "gradient/sine_network", "restoration/narrow"]


@pytest.fixture(scope="module")
def made(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, two small ensembles, the page, and runs in double precision."""
    folder = tmp_path_factory.mktemp("playground")
    shutil.copytree(reproduced[0] / "outputs", folder / "outputs")
    jobs = [
        [f"experiment={name}", "trainer.precision=64-true", "output_dir=double"]
        for name in COMPARED
    ]
    jobs += [[f"experiment={name}", f"replicas={SEEDS}"] for name in (COMPARED[0], COMPARED[-1])]
    for job in jobs:
        done = run("mlpfit.train", *job, "trainer.compile=false", cwd=folder)
        assert done.returncode == 0, done.stderr
    done = run("mlpfit.report.playground", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def deviation(losses: list[float], history: np.ndarray) -> np.ndarray:
    return np.abs(np.array(losses) / history[:, 0].astype(float) - 1)


@needs_browser
@pytest.mark.parametrize("name", COMPARED)
def test_the_losses_are_those_of_the_run_and_of_one_in_double_precision(name, made, page):
    published, double = (
        load_run(made / "outputs/runs" / name),
        load_run(made / "double/runs" / name),
    )
    steps = published.config["trainer"]["max_steps"]
    visit(page, made, f"#experiment={name}&step={steps}")
    assert (
        deviation(page.evaluate("playground.losses()"), published.history["loss"])[:500].max()
        < 1e-3
    )
    # The start of a run in double precision is not rounded; its key is part of the state.
    rounding = (
        ""
        if published.config["trainer"]["precision"] == "64-true"
        else "&trainer.precision=64-true"
    )
    visit(page, made, f"#experiment={name}{rounding}&step={steps}")
    losses = page.evaluate("playground.losses()")
    assert len(losses) == steps
    assert deviation(losses, double.history["loss"]).max() < 1e-9


@needs_browser
@pytest.mark.parametrize("seed", [0, 77, 2**32 - 101])
@pytest.mark.parametrize("name", [*COMPARED, "gradient/line_autograd", "tower/large"])
def test_another_seed_draws_the_rows_and_weights_that_mlpfit_draws(name, seed, made, page):
    config = compose([f"experiment={name}", f"seed={seed}", "trainer.precision=64-true"])
    rows, _ = draw(config, seed)
    generators = streams(seed, config.streams)
    weights = np.concatenate(
        [w.ravel() for w in mlp.initial(config.units, config.model.init, generators.weights)]
    )
    visit(page, made, f"#experiment={name}&seed={seed}&trainer.precision=64-true")
    drawn = page.evaluate("playground.rows()")
    np.testing.assert_allclose(drawn["x"], rows.x[:, 0], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(drawn["y"], rows.y[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        page.evaluate("playground.weights()"), weights, rtol=1e-13, atol=1e-14
    )


CHANGES = [
    "target.f=sin(2*x) - x^2/9&target.noise=0.3&model.activation=tanh&model.hidden=6-5&seed=5"
    "&optimizer=adam&data.order=shuffle&data.batch_size=16&streams=spawned",
    "target=tower&optimizer.momentum=0.8&model.init=ones&loss=half_mse&target.points=40"
    "&data.order=slices&data.batch_size=5&data.start_below=30&streams=legacy",
    "experiment=restoration/framework&optimizer=adam&target=line&data.macro_batch=20&seed=3",
    "experiment=gradient/sine_network&target.observed=&target.inputs=normal&model.hidden=none"
    "&data.order=blocks&data.batch_size=8&data.macro_batch=30&optimizer.lr=1e-7",
]


@needs_browser
@pytest.mark.parametrize("change", CHANGES)
def test_the_command_trains_the_same(change, made, page, tmp_path):
    fragment = "&".join(
        f"{k}={quote(v)}" for k, v in (pair.split("=", 1) for pair in change.split("&"))
    )
    visit(page, made, f"#{fragment}&trainer.precision=64-true&trainer.max_steps=60&step=60")
    command = shlex.split(page.inner_text("#command"))
    assert command[0] == "mlpfit"
    done = run("mlpfit.train", *command[1:], f"output_dir={tmp_path}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (complete,) = (tmp_path / "runs").glob("*/*/complete.json")
    assert (
        deviation(
            page.evaluate("playground.losses()"), load_run(complete.parent).history["loss"]
        ).max()
        < 1e-9
    )


@needs_browser
def test_a_hundred_seeds_are_the_replicas_of_the_ensemble(made, page):
    name = COMPARED[-1]
    replicas = load_run(made / "outputs/ensembles" / name)
    visit(page, made, f"#experiment={name}")
    page.click("#hundred")
    until(page, "playground.seeds().length === 100")
    seeds = page.evaluate("playground.seeds()")
    assert [s["seed"] for s in seeds[:SEEDS]] == replicas.seeds
    np.testing.assert_allclose(
        [s["final"] for s in seeds[:SEEDS]], replicas.metrics["mse"] / 2, rtol=1e-9
    )
    np.testing.assert_array_equal(
        [s["dead"] for s in seeds[:SEEDS]], replicas.metrics["dead_units"]
    )
    assert "100 seeds (1234 to 1333)" in page.inner_text("#hundred-words")
    assert "Diverged: 0.0 %" in page.inner_text("#hundred-words")
    assert f"The {SEEDS} published seeds" in page.inner_text("#thousand-words")
    assert "seeds=100" in page.evaluate("location.hash")


@needs_browser
def test_the_percentile_is_the_place_among_the_replicas(made, page):
    name = COMPARED[0]
    replicas = load_run(made / "outputs/ensembles" / name)
    order = np.argsort(np.argsort(replicas.final("mse")))
    for k in (0, 3):  # of eight: the percentile is between those of its neighbours
        visit(page, made, f"#experiment={name}&seed={replicas.seeds[k]}&step=5000")
        shown = int(page.inner_text("#percentile").removeprefix("percentile "))
        assert 100 * (order[k] - 1) / SEEDS - 1 <= shown <= 100 * (order[k] + 1) / SEEDS + 1


@needs_browser
def test_training_takes_at_least_20_000_steps_a_second(made, page):
    """1-8-1 on 100 rows, by the clock and with pictures drawn; best of five tries."""
    visit(page, made, "#trainer.max_steps=200000")
    page.select_option("#pace", "full")
    speeds = []
    for _ in range(5):
        page.click("#play")
        until(page, "playground.losses().length > 2000")
        measure = "[performance.now(), playground.losses().length]"
        (t0, n0) = page.evaluate(measure)
        page.wait_for_timeout(700)
        (t1, n1) = page.evaluate(measure)
        page.click("#play")
        page.click("#rewind")
        speeds.append(1000 * (n1 - n0) / (t1 - t0))
    assert max(speeds) >= 20_000
