"""The playground's numbers are mlpfit's: of published runs, of any seed and any command."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from playground_page import make_page, opened, until, visit, watched

from mlpfit.config.compose import as_published, compose
from mlpfit.data.datamodule import draw
from mlpfit.data.streams import streams
from mlpfit.model import mlp
from mlpfit.runs.run import Run, load_run
from mlpfit.training.run import losses_from_perturbed_weights
from mlpfit.training.train import train

SEEDS = 8  # of the small ensemble here
COMPARED = ["parabola/eight_neurons", "tower/small", "gradient/sine_network", "restoration/narrow"]
QUICK = ("logger=none", "engine=true")


@pytest.fixture(scope="module")
def made(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, a small ensemble, the page, and runs in double precision."""
    folder = tmp_path_factory.mktemp("playground")
    jobs = [(name, "trainer.precision=64-true", f"output_dir={folder}/double") for name in COMPARED]
    jobs.append((COMPARED[-1], f"replicas={SEEDS}", f"output_dir={folder}/outputs"))
    for name, *changes in jobs:
        train(compose([f"experiment={name}", *changes, *QUICK]))
    make_page(folder, reproduced[0])
    return folder


tab = pytest.fixture(opened, scope="module", name="tab")
page = pytest.fixture(watched, name="page")


def deviation(losses: list[float], history: np.ndarray) -> np.ndarray:
    return np.abs(np.array(losses) / history[:, 0].astype(float) - 1)


def steps_before_amplification(name: str, run: Run, most: int) -> int:
    """Of the first ``most`` steps, at most 500, those in which the recipe amplifies a change of
    every initial weight by its last digit to less than a hundredth of what is allowed: the page
    adds in another order, so its rounding errors grow in the same way."""
    steps = min(500, most, len(run.history["loss"]))
    config = compose([f"experiment={name}", f"trainer.max_steps={steps}", *QUICK])
    perturbed = losses_from_perturbed_weights(config)[:, 0].astype(float)
    apart = deviation(perturbed.tolist(), run.history["loss"][:steps]) > 1e-5
    return int(apart.argmax()) if apart.any() else steps


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("most", [300, pytest.param(10**6, marks=pytest.mark.slow)])
def test_the_losses_are_those_of_the_run_and_of_one_in_double_precision(name, most, made, page):
    published, double = (
        load_run(made / "outputs/runs" / name),
        load_run(made / "double/runs" / name),
    )
    steps = min(most, published.config["trainer"]["max_steps"])
    first = steps_before_amplification(name, published, most)
    assert first >= 50
    visit(page, made, f"#experiment={name}&step={steps}")
    rounded = deviation(page.evaluate("playground.losses()"), published.history["loss"][:steps])
    assert rounded[:first].max() < 1e-3
    # The start of a run in double precision is not rounded; its key is part of the state.
    rounding = (
        ""
        if published.config["trainer"]["precision"] == "64-true"
        else "&trainer.precision=64-true"
    )
    visit(page, made, f"#experiment={name}{rounding}&step={steps}")
    losses = page.evaluate("playground.losses()")
    assert len(losses) == steps
    assert deviation(losses, double.history["loss"][:steps]).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        *zip(COMPARED, (0, 77, 2**32 - 101, 5), strict=True),
        *(("gradient/line_autograd", 2**32 - 101), ("tower/large", 3), (COMPARED[0], 77)),
    ],
)
def test_another_seed_draws_the_rows_and_weights_that_mlpfit_draws(name, seed, made, page):
    config = replace(as_published(name), seed=seed)
    rows, _ = draw(seed=seed, steps=config.steps, **config.sampling)
    generators = streams(seed, config.streams)
    weights = np.concatenate(
        [
            w.ravel()
            for w in mlp.initial_parameters(config.units, config.model.init, generators.weights)
        ]
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
    "experiment=tower/small&model.hidden=5&data.order=shuffle&data.batch_size=50&streams=legacy",
    "experiment=restoration/framework&optimizer=adam&target=line&data.macro_batch=20&seed=3",
    "experiment=gradient/sine_network&target.observed=&target.inputs=normal&model.hidden=none"
    "&data.order=blocks&data.batch_size=8&data.macro_batch=30&optimizer.lr=1e-7",
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_command_trains_the_same(change, made, page, command, tmp_path):
    pairs = (pair.split("=", 1) for pair in change.split("&"))
    fragment = "&".join(f"{key}={quote(value)}" for key, value in pairs)
    visit(page, made, f"#{fragment}&trainer.precision=64-true&trainer.max_steps=60&step=60")
    first, *given = shlex.split(page.inner_text("#command"))
    assert first == "mlpfit"
    code, printed = command(*given, "logger=none", "output_dir=mine")
    assert code == 0, printed
    (complete,) = tmp_path.glob("mine/runs/*/*/complete.json")
    expected = load_run(complete.parent).history["loss"]
    assert deviation(page.evaluate("playground.losses()"), expected).max() < 1e-9


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
    assert "Diverged: 0.0\N{NO-BREAK SPACE}%" in page.inner_text("#hundred-words")
    assert f"The {SEEDS} published seeds" in page.inner_text("#published-words")
    assert "seeds=100" in page.evaluate("location.hash")


def test_the_percentile_is_the_place_among_the_replicas(made, page):
    name = COMPARED[-1]
    replicas = load_run(made / "outputs/ensembles" / name)
    order = np.argsort(np.argsort(replicas.final("mse")))
    for k in (0, 3):  # of eight: the percentile is between those of its neighbours
        visit(page, made, f"#experiment={name}&seed={replicas.seeds[k]}&step=1000")
        said = page.inner_text("#percentile")
        shown = int(re.match(rf"percentile (\d+) of {SEEDS} seeds: ", said)[1])
        assert 100 * (order[k] - 1) / SEEDS - 1 <= shown <= 100 * (order[k] + 1) / SEEDS + 1


@pytest.mark.parametrize(
    "change, said",
    [
        ("target.f=x^2", "another function here"),
        ("target.noise=0.5", "other rows here"),
        ("loss=mse", "another loss here"),
    ],
)
def test_other_seeds_than_the_published_ones_are_not_compared(change, said, made, page):
    key, value = change.split("=")
    visit(page, made, f"#experiment={COMPARED[-1]}&{key}={quote(value)}&step=10")
    until(page, f"document.querySelector('#percentile').textContent === '{said}'")
    assert page.locator("[data-no-band]").first.inner_text() == f"no seeds: {said}"


def test_the_speed_is_printed(made, page, capsys):
    """1-8-1 on 100 rows, by the clock and with pictures drawn."""
    visit(page, made, "#trainer.max_steps=200000")
    page.select_option("#pace", "full")
    page.click("#play")
    until(page, "playground.losses().length > 2000")
    measure = "[performance.now(), playground.losses().length]"
    (t0, n0) = page.evaluate(measure)
    page.wait_for_timeout(700)
    (t1, n1) = page.evaluate(measure)
    assert n1 > n0
    with capsys.disabled():
        print(f"\nplayground: {1000 * (n1 - n0) / (t1 - t0):.0f} steps/s of 1-8-1 on 100 rows")
