"""The report in a real browser, made from small ensembles of every experiment."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import AXE, run

from mlpfit import sealed
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.judging import published
from mlpfit.report import playground
from mlpfit.report.explorer import POINTS, Axis, explorer
from mlpfit.report.page import report
from mlpfit.runs.run import load_run


@pytest.fixture(scope="module")
def judged(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, ensembles of four replicas, figures, ledger and report."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(reproduced[0] / "outputs", folder / "outputs")
    how = ("trainer.compile=true", "ensemble.processes=1")
    made = run("mlpfit", "ensembles", "replicas=4", *how, cwd=folder)
    assert made.returncode == 0, made.stderr
    done = run("mlpfit", "report", "--judge", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_the_report_is_one_small_offline_file(judged):
    page = (judged / "outputs/report.html").read_text()
    assert len(page.encode()) < 8 * 2**20
    links = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    pages = {published.tutorial(t.name).page for t in tutorials()}  # to follow, not loaded
    assert {link for link in links if not link.startswith("data:")} == pages - {None} | {
        "playground.html"
    }
    assert "url(" not in page.split("</style>")[0] and "@import" not in page
    assert all(f'id="{t.name}"' in page for t in tutorials())
    assert page.count('class="explorer"') == len(experiments())
    assert all(' alt="' in tag for tag in re.findall(r"<img [^>]*>", page))
    assert "{{" not in page


def test_the_ledger_says_when_a_verdict_changes(judged):
    file = judged / "outputs/ledger.json"
    content = sealed.read_ledger(judged / "outputs")
    content["numbers"][0]["verdict"] = "outside"
    file.write_bytes(sealed.json_bytes(content))
    changed = run("mlpfit", "ledger", cwd=judged)
    assert changed.returncode == 3
    assert "1 verdicts changed: tower/small:mse@100: outside, now" in changed.stderr


def test_bands_and_distributions_are_drawn_once_the_ensembles_are_there(judged):
    names = {
        str(p.relative_to(judged / "outputs/figures"))
        for p in (judged / "outputs/figures").rglob("*.svg")
    }
    assert {f"{t.name}/distribution.svg" for t in tutorials()} <= names
    assert {
        "tower/small_fit_band.svg",
        "parabola/loss_band.svg",
        "restoration/wide_band.svg",
    } <= names


def _numbers(points: str) -> list[float]:
    return [float(v) for v in re.split("[ ,]+", points.strip())]


def test_in_a_browser_nothing_is_loaded_nothing_overflows_and_the_keys_move_the_picture(
    judged, browser
):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    problems: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((judged / "outputs/report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#explore-parabola-eight_neurons")
    slider, line = box.locator(".steps input"), box.locator('svg[data-panel="fit"] .net')
    final, step = line.get_attribute("points"), box.locator(".steps output").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    assert line.get_attribute("points") != final
    assert box.locator(".steps output").inner_text() == "0" != step
    assert slider.get_attribute("aria-valuetext") == "0"
    page.keyboard.press("End")
    assert _numbers(line.get_attribute("points")) == _numbers(final)
    kink, unit = box.locator(".kink").first, box.locator(".unit").first
    assert float(kink.get_attribute("x1")) == -9
    box.locator(".units input").focus()
    page.keyboard.press("ArrowRight")
    marked = float(kink.get_attribute("x1"))
    assert marked != -9 and unit.get_attribute("class") == "unit on"
    page.keyboard.press("Home")
    unit.dispatch_event("mouseenter")
    assert float(kink.get_attribute("x1")) == marked
    unit.dispatch_event("mouseleave")
    assert float(kink.get_attribute("x1")) == -9
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_a_reader_out(judged, browser, scheme):
    if AXE is None:
        pytest.skip("no axe-core: npm ci in src/playground installs it")
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page.goto((judged / "outputs/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    page.add_script_tag(path=AXE)
    violations = page.evaluate("axe.run()")["violations"]
    assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations] == []


def test_an_axis_has_round_numbers_at_their_pixels():
    for low, high in ((-1.04, 1.04), (0.0, 0.003), (-3000.0, 12.0)):
        axis = Axis("y", low, high, 168, 8)
        assert axis.pixels(np.array([low, high])) == [168, 8]
        labels = np.array([float(label) for _, label in axis.ticks()])
        assert len(labels) >= 2 and ((low <= labels) & (labels <= high)).all()
        assert axis.pixels(labels) == [pixel for pixel, _ in axis.ticks()]
    assert axis.pixels(np.array([np.inf, -np.inf, np.nan])) == [-500, 1000, -500]


def test_an_explorer_shows_the_run(judged):
    run_of = load_run(judged / "outputs/runs/parabola/eight_neurons")
    content = explorer("parabola/eight_neurons", run_of)
    payload, (fit, residual, parts) = content["payload"], content["panels"]
    assert payload["steps"] == run_of.snapshots.tolist()
    grid = np.linspace(run_of.data["pool_x"].min(), run_of.data["pool_x"].max(), POINTS)[:, None]
    for step, shown, misses, shares, kinks in zip(
        payload["steps"],
        *(panel["frames"] for panel in (fit, residual, parts)),
        payload["kinks"],
        strict=True,
    ):
        outputs = run_of.predict(grid, step)[0, :, 0]
        assert shown == [fit["y"].pixels(outputs)]
        assert len(misses) == 1 and len(shares) == len(kinks) == 8
    assert payload["x"] == fit["x"].pixels(grid[:, 0])


def test_every_run_tutorial_and_conclusion_is_counted_once(judged):
    content = sealed.read_ledger(judged / "outputs")
    page = (judged / "outputs/report.html").read_text()
    glance = page.partition('<section id="glance">')[2].partition("</section>")[0]
    tiles = [int(count) for count in re.findall(r"<b>(\d+)</b> ", glance)]
    assert len(tiles) == len(content["legend"]) and sum(tiles) == len(experiments())
    columns = glance.partition('<div class="columns">')[2]
    assert columns.count("<li>") == len(content["conclusions"]) > 0
    sentences = page.partition('<section id="sentences">')[2].partition("</section>")[0]
    assert sentences.count("<li>") == len(tutorials())
    assert 'aria-label="overview"' in sentences


def test_the_playground_says_what_the_ledger_says(judged):
    outputs = judged / "outputs"
    content, ledger = playground.evidence(outputs), sealed.read_ledger(outputs)
    assert playground.missing(content, outputs) == ""
    assert len(playground.page(content).encode()) < 1.5 * 2**20
    said = {e["experiment"]: e["verdict"] for e in ledger["experiments"]}
    for name, entry in content["experiments"].items():
        assert entry["verdict"]["verdict"] == said[name]
        assert entry["band"]["replicas"] == ledger["runs"][name]["replicas"]
        assert entry["band"]["diverged"] == ledger["runs"][name]["diverged"]
    shown = {name.split("/")[0] for name in content["experiments"]}
    columns = [(e["claim"], e["column"]) for e in ledger["conclusions"] if e["tutorial"] in shown]
    assert [(e["claim"], e["column"]) for e in content["claims"]] == columns != []


def test_what_a_ledger_says_is_text_never_markup(judged):
    outputs = judged / "outputs"
    content = sealed.read_ledger(outputs)
    content["conclusions"][0]["claim"] = "<script>alert('x')</script> & more"
    page = report(outputs, content)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in page


def recipe(name: str) -> str:
    return (
        "# @package _global_\ndefaults: [{override /target: line}]\n"
        f"name: {name}\nquestion: How steep is <this>?\ntrainer: {{max_steps: 5}}\n"
    )


JUDGED = {
    "conf/experiment/judged/ramp.yaml": recipe("judged/ramp"),
    "published.yaml": """
author: A. Reader
title: A ramp
numbers:
  - {experiment: judged/ramp, quantity: mse, update: before, convention: before the update,
     steps: [5], values: [1e9]}
""",
    "claims.py": """
from mlpfit.judging.claims import Claim, always_falls

CLAIMS = [Claim("the loss falls", "every loss", ("judged/ramp",), always_falls("judged/ramp", 1),
                where="last line")]
""",
}


@pytest.mark.slow
def test_tutorials_of_the_readers_own_are_judged_and_get_a_section(judged, tmp_path):
    """One without published numbers or figures, and one with numbers and a claim."""
    files = {f"judged/{name}": text for name, text in JUDGED.items()}
    files["bare/conf/experiment/bare/ramp.yaml"] = recipe("bare/ramp")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    folder, path = tmp_path / "copy", f"{tmp_path}/bare:{tmp_path}/judged"
    shutil.copytree(judged, folder)
    small = ("replicas=4", "trainer.compile=false")
    for arguments in (
        ["reproduce", "bare", "judged"],
        ["ensembles", "bare", "judged", *small],
        ["report", "--judge"],
    ):
        done = run("mlpfit", *arguments, cwd=folder, MLPFIT_PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
    page = (folder / "outputs/report.html").read_text()
    section = page.partition('<section id="bare">')[2].partition("</section>")[0]
    assert 'id="explore-bare-ramp"' in section and "How steep is &lt;this&gt;?" in section
    assert "published" not in re.sub('alt="[^"]*"|<figcaption>.*?</figcaption>', "", section)
    ledger = sealed.read_ledger(folder / "outputs")
    (number,) = [n for n in ledger["numbers"] if n["tutorial"] == "judged"]
    assert number["beyond"] and number["percentile"] == 1 and number["replicas"] == 4
    (claim,) = [c for c in ledger["conclusions"] if c["tutorial"] == "judged"]
    assert claim["replicas"] == 4 and claim["where"] == "last line"
    section = page.partition('<section id="judged">')[2].partition("</section>")[0]
    assert "the loss falls" in section and "beyond all 4" in section
