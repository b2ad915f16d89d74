"""The report in a real browser, made from small ensembles of every experiment."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import run

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.runs import sealed

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def judged(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, ensembles of four replicas, figures, ledger and report."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(reproduced[0] / "outputs", folder / "outputs")
    made = run("mlpfit", "ensembles", "replicas=4", "trainer.compile=false", cwd=folder)
    assert made.returncode == 0, made.stderr
    done = run("mlpfit", "report", "--judge", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_the_report_is_one_small_offline_file(judged):
    page = (judged / "outputs/report.html").read_text()
    assert len(page.encode()) < 8 * 2**20
    links = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    assert (
        {link for link in links if not link.startswith("data:")}
        == {
            "https://jonnylaw.rocks/posts/2021-02-02-neural-networks-in-r/"  # a citation to follow, not loaded
        }
    )
    assert "url(" not in page.split("</style>")[0] and "@import" not in page
    assert all(f'id="{name}"' in page for name in tutorials())
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
    assert {f"{name}/distribution.svg" for name in tutorials()} <= names
    assert {
        "tower/small_fit_band.svg",
        "parabola/loss_band.svg",
        "restoration/wide_band.svg",
    } <= names


def _numbers(points: str) -> list[float]:
    return [float(v) for v in re.split("[ ,]", points)]


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: the report is not opened in a browser"
)
def test_in_a_browser_nothing_is_loaded_nothing_overflows_and_the_slider_moves_the_picture(judged):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright opens the report in chromium"
    )
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 800})
        problems: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((judged / "outputs/report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = page.locator("#explore-parabola-eight_neurons")
        slider, line = box.locator("input"), box.locator('svg[data-panel="fit"] .net')
        final, step = line.get_attribute("points"), box.locator("output").inner_text()
        slider.focus()
        page.keyboard.press("Home")
        assert (
            line.get_attribute("points") != final
            and box.locator("output").inner_text() == "0" != step
        )
        page.keyboard.press("End")
        assert _numbers(line.get_attribute("points")) == _numbers(final)
        unit = box.locator(".unit").first
        unit.dispatch_event("mouseenter")
        assert float(box.locator(".kink").first.get_attribute("x1")) != -9
        browser.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
