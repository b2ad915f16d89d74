"""The playground in a real browser, made from real runs: its numbers are mlpfit's, and it is easy to use."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from conftest import ROOT, run

from mlpfit import mlp
from mlpfit.config import compose
from mlpfit.datamodule import draw
from mlpfit.runs import load_run
from mlpfit.streams import streams

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FRONT = ROOT / "src/playground"
SEEDS = 8  # of the small ensembles here
COMPARED = ["parabola/eight_neurons", "tower/small", "gradient/sine_network", "restoration/narrow"]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the playground is not opened")
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONT / "node_modules").is_dir(),
    reason="no node, or no npm ci in src/playground yet (make playground does it): its sources are not built or tested",
)


@pytest.fixture(scope="module")
def made(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, two small ensembles, four runs in double precision under double/, and the page."""
    folder = tmp_path_factory.mktemp("playground")
    shutil.copytree(reproduced[0] / "outputs", folder / "outputs")
    jobs = [[f"experiment={name}", "trainer.precision=64-true", "output_dir=double"] for name in COMPARED]
    jobs += [[f"experiment={name}", f"replicas={SEEDS}"] for name in (COMPARED[0], COMPARED[-1])]
    for job in jobs:
        done = run("mlpfit.train", *job, "trainer.compile=false", cwd=folder)
        assert done.returncode == 0, done.stderr
    done = run("mlpfit.report.playground", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = "pip install playwright opens the playground in chromium"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    with playwright.sync_playwright() as tool:
        yield tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def page(made, browser) -> Iterator[Any]:
    """A tab; whatever it complains of, or loads besides itself, fails the test."""
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.extend([] if _own(request.url) else [request.url]))
    yield tab
    tab.close()
    assert problems == []


def _own(url: str) -> bool:
    return url.startswith(("data:", "blob:")) or url.split("#")[0].endswith("outputs/playground.html")


def visit(page: Any, made: Path, fragment: str = "") -> None:
    """Open a link afresh and wait until it has trained what it asks for."""
    page.goto("about:blank")
    page.goto(f"{(made / 'outputs/playground.html').as_uri()}{fragment}")
    step = re.search(r"step=(\d+)", fragment)
    until(page, f"playground.losses().length >= {step[1] if step else 0} && !playground.running()")
    until(page, "document.querySelector('#loss').textContent.length > 1")


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait for a condition in the page; its policy forbids playwright's own way, which evaluates text."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def deviation(losses: list[float], history: np.ndarray) -> np.ndarray:
    return np.abs(np.array(losses) / history[:, 0].astype(float) - 1)


@needs_browser
@pytest.mark.parametrize("name", COMPARED)
def test_the_losses_are_those_of_the_run_and_of_one_in_double_precision(name, made, page):
    published, double = load_run(made / "outputs/runs" / name), load_run(made / "double/runs" / name)
    steps = published.config["trainer"]["max_steps"]
    visit(page, made, f"#experiment={name}&step={steps}")
    assert deviation(page.evaluate("playground.losses()"), published.history["loss"])[:500].max() < 1e-3
    # The start of a run in double precision is not rounded; its key is part of the state.
    rounding = "" if published.config["trainer"]["precision"] == "64-true" else "&trainer.precision=64-true"
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
    weights = np.concatenate([w.ravel() for w in mlp.initial(config.units, config.model.init, generators.weights)])
    visit(page, made, f"#experiment={name}&seed={seed}&trainer.precision=64-true")
    drawn = page.evaluate("playground.rows()")
    np.testing.assert_allclose(drawn["x"], rows.x[:, 0], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(drawn["y"], rows.y[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(page.evaluate("playground.weights()"), weights, rtol=1e-13, atol=1e-14)


CHANGES = [
    "target.f=sin(2*x) - x^2/9&target.noise=0.3&model.activation=tanh&model.hidden=6-5&optimizer=adam&seed=5"
    "&data.order=shuffle&data.batch_size=16&streams=spawned",
    "target=tower&optimizer.momentum=0.8&model.init=ones&loss=half_mse&target.points=40&data.order=slices"
    "&data.batch_size=5&data.start_below=30&streams=legacy",
    "experiment=restoration/framework&optimizer=adam&target=line&data.macro_batch=20&seed=3",
    "experiment=gradient/sine_network&target.observed=&target.inputs=normal&model.hidden=none&data.order=blocks"
    "&data.batch_size=8&data.macro_batch=30&optimizer.lr=1e-7",
]


@needs_browser
@pytest.mark.parametrize("change", CHANGES)
def test_the_command_trains_the_same(change, made, page, tmp_path):
    fragment = "&".join(f"{k}={quote(v)}" for k, v in (pair.split("=", 1) for pair in change.split("&")))
    visit(page, made, f"#{fragment}&trainer.precision=64-true&trainer.max_steps=60&step=60")
    command = shlex.split(page.inner_text("#command"))
    assert command[0] == "mlpfit"
    done = run("mlpfit.train", *command[1:], f"output_dir={tmp_path}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (complete,) = (tmp_path / "runs").glob("*/*/complete.json")
    assert deviation(page.evaluate("playground.losses()"), load_run(complete.parent).history["loss"]).max() < 1e-9


@needs_browser
def test_a_hundred_seeds_are_the_replicas_of_the_ensemble(made, page):
    name = COMPARED[-1]
    replicas = load_run(made / "outputs/ensembles" / name)
    visit(page, made, f"#experiment={name}")
    page.click("#hundred")
    until(page, "playground.seeds().length === 100")
    seeds = page.evaluate("playground.seeds()")
    assert [s["seed"] for s in seeds[:SEEDS]] == replicas.seeds
    np.testing.assert_allclose([s["final"] for s in seeds[:SEEDS]], replicas.metrics["mse"] / 2, rtol=1e-9)
    np.testing.assert_array_equal([s["dead"] for s in seeds[:SEEDS]], replicas.metrics["dead_units"])
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
def test_a_link_gives_the_same_picture_and_back_and_forward_work(made, page):
    visit(page, made)
    assert page.evaluate("location.hash") == ""
    page.fill("#set-optimizer-lr", "0.05")
    page.press("#set-optimizer-lr", "Enter")
    page.select_option("#set-model-activation", "tanh")
    for _ in range(3):
        page.click("#step")
    until(page, "playground.losses().length === 3 && document.querySelector('#at').textContent === '3'")
    link = page.evaluate("location.hash")
    assert link == "#experiment=parabola/eight_neurons&model.activation=tanh&optimizer.lr=0.05&step=3"
    picture = "['fit', 'losses', 'units', 'residual'].map((id) => document.getElementById(id).toDataURL())"
    before = page.evaluate(picture)
    visit(page, made, link)
    assert page.evaluate(picture) == before
    visit(page, made)
    page.select_option("#set-experiment", "tower/small")
    page.fill("#set-seed", "4")
    page.press("#set-seed", "Tab")
    values = [("tower/small", "4"), ("tower/small", "0"), ("parabola/eight_neurons", "19")]
    shown = lambda: (page.input_value("#set-experiment"), page.input_value("#set-seed"))  # noqa: E731
    assert shown() == values[0]
    for value, move in [(values[1], "back"), (values[2], "back"), (values[1], "forward"), (values[0], "forward")]:
        page.evaluate(f"history.{move}()")
        page.wait_for_timeout(200)
        assert shown() == value


@needs_browser
@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#optimizer.lr=fast", "optimizer.lr=fast: must be a number above 0"),
        ("#experiment=none/such", "experiment=none/such: there are tower/small"),
        ("#target.f=<img src=x onerror=alert(1)>", "target.f"),
        ("#nonsense", "nonsense: must be key=value"),
    ],
)
def test_a_bad_link_gives_one_line_and_the_defaults(fragment, said, made, page):
    visit(page, made, fragment)
    line = page.inner_text("#problem")
    assert line.startswith("The link can't be read: ") and line.endswith(" The defaults are shown.")
    assert said in line or "f(x)" in line
    assert "\n" not in line
    assert page.input_value("#set-experiment") == "parabola/eight_neurons"


@needs_browser
def test_what_is_typed_wrong_is_said_beside_it_and_changes_nothing(made, page):
    visit(page, made)
    for field, text, said in [
        ("target-f", "x^", "ends too early"),
        ("target-low", "7", "must be below target.high=5"),
        ("model-hidden", "8,8", "such as 8 or 64-64, or none"),
        ("target-points", "1e9", "from 1 to 5000"),
        ("data-batch_size", "101", "must be at most the 100 rows"),
    ]:
        page.fill(f"#set-{field}", text)
        page.press(f"#set-{field}", "Tab")
        assert said in page.inner_text(f"#wrong-set-{field}")
        assert page.get_attribute(f"#set-{field}", "aria-invalid") == "true"
    assert page.evaluate("location.hash") == ""
    page.fill("#set-target-f", "log(x)")
    page.press("#set-target-f", "Tab")
    until(page, "document.querySelector('#problem').textContent.includes('not finite at x = ')")


@needs_browser
def test_everything_can_be_done_from_the_keyboard(made, page):
    visit(page, made, "#step=400")
    page.focus("#scrub")
    page.keyboard.press("Home")
    until(page, "document.querySelector('#at').textContent === '0'")
    page.keyboard.press("End")
    until(page, "document.querySelector('#at').textContent === '400'")
    page.focus("#chips button")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.get_attribute("#chips button:nth-of-type(2)", "aria-pressed") == "true"
    assert "unit=2" in page.evaluate("location.hash")
    page.focus("#play")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#play').textContent === 'Pause' && playground.losses().length > 400")
    page.keyboard.press("Enter")
    until(page, "!playground.running() && document.querySelector('#play').textContent === 'Play'")
    stopped = page.evaluate("playground.losses().length")
    page.focus("#step")
    page.keyboard.press("Enter")
    until(page, f"document.querySelector('#at').textContent === '{stopped + 1}'")
    page.focus("#rewind")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#at').textContent === '0'")


@needs_browser
def test_a_click_on_a_units_line_shows_it_alone(made, page):
    visit(page, made, "#step=2000")
    box = page.locator("#units").bounding_box()
    for share in np.linspace(0.05, 0.95, 19):
        page.mouse.click(box["x"] + 60, box["y"] + share * box["height"])
        if page.locator('#chips [aria-pressed="true"]').count():
            break
    assert page.locator('#chips [aria-pressed="true"]').count() == 1
    assert "is shown alone" in page.text_content("#units-words")


@needs_browser
def test_training_takes_at_least_20_000_steps_a_second(made, page):
    """1-8-1 on 100 rows, by the clock on the wall and with pictures drawn; the best of five tries."""
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


@needs_browser
def test_pictures_hardly_move_where_motion_is_not_wanted(made, browser):
    counts = {}
    for wish in ("no-preference", "reduce"):
        tab = browser.new_page(reduced_motion=wish)
        tab.add_init_script(
            "window.drawn = 0; const clear = CanvasRenderingContext2D.prototype.clearRect;"
            "CanvasRenderingContext2D.prototype.clearRect = function (...a) { drawn++; return clear.apply(this, a); };"
        )
        visit(tab, made, "#trainer.max_steps=200000")
        tab.select_option("#pace", "slow")
        tab.click("#play")
        before = tab.evaluate("drawn")
        tab.wait_for_timeout(2000)
        counts[wish] = (tab.evaluate("drawn") - before) / 4 / 2  # four canvases, two seconds
        tab.close()
    assert counts["reduce"] <= 3 < counts["no-preference"]


AXE = FRONT / "node_modules/axe-core/axe.min.js"


@needs_browser
@needs_node
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1300])
def test_axe_finds_no_serious_violation_and_nothing_overflows(scheme, width, made, browser):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    visit(tab, made, "#experiment=tower/small&step=100&unit=3")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.add_script_tag(path=AXE)
    violations = tab.evaluate("axe.run().then((found) => found.violations)")
    serious = [f"{v['id']}: {v['help']}" for v in violations if v["impact"] in ("serious", "critical")]
    context.close()
    assert serious == []


def test_the_page_is_one_small_file_that_evaluates_no_text(made):
    page = (made / "outputs/playground.html").read_text()
    assert len(page.encode()) < 1.5 * 2**20
    assert re.search(r"\beval\(|new Function|Function\(\"", page) is None
    assert "unsafe-eval" not in page
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {"data:,", "report.html"}
    evidence = json.loads(re.search(r'id="evidence">(.*?)</script>', page, re.S)[1])
    assert set(COMPARED) < set(evidence["experiments"])
    assert evidence["left_out"] == ["plane/scratch", "plane/sequential", "plane/least_squares"]


@needs_node
def test_the_committed_page_is_what_its_sources_build_to():
    built = subprocess.run(["node", "build.mjs", "--check"], cwd=FRONT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


@needs_node
@pytest.mark.parametrize("script", ["check", "test"])
def test_the_sources_pass_their_own_checks(script):
    done = subprocess.run(["npm", "run", script], cwd=FRONT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
