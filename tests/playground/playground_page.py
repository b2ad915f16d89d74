"""The playground opened in chromium: how its page is made, and ways of waiting for it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, shared

from mlpfit.report import playground

FRONT = ROOT / "src/playground"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONT / "node_modules").is_dir(),
    reason="no node, or no npm ci in src/playground yet: its sources are not built or tested",
)


def make_page(folder: Path, reproduced: Path) -> None:
    """outputs/playground.html in this folder, from reproduced runs and the ensembles it has."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    (outputs / "runs").symlink_to(reproduced / "outputs/runs")
    html = playground.page(playground.evidence(outputs))
    (outputs / "playground.html").write_text(html, encoding="utf-8")


def bare_page(reproduced: tuple[Path, str], tmp_path_factory: Any) -> Path:
    """A folder with the page of reproduced runs alone, without ensembles and ledger: a fixture."""
    return shared(tmp_path_factory, "playground", lambda folder: make_page(folder, reproduced[0]))


def visit(page: Any, made: Path, fragment: str = "", refused: bool = False) -> None:
    """Open a link afresh and wait until it has trained what it asks for, if it is not refused."""
    page.goto("about:blank")
    page.goto(f"{(made / 'outputs/playground.html').as_uri()}{fragment}")
    step = None if refused else re.search(r"\bstep=(\d+)", fragment)
    until(page, f"playground.losses().length >= {step[1] if step else 0} && !playground.running()")
    until(page, "document.querySelector('#loss').textContent.length > 1")
    if not refused:  # what was trained last is drawn at the display's next frame
        until(page, "document.querySelector('#at').textContent == playground.losses().length")


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait for a condition; playwright's own way evaluates text, which the page forbids."""
    for _ in range(int(seconds * 40)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never came true: {condition}")


def settled(page: Any, picture: str) -> Any:
    """What an expression gives once it is the same in two readings, some frames apart."""
    before = None
    for _ in range(100):
        if (now := page.evaluate(picture)) == before:
            return now
        before = now
        page.wait_for_timeout(100)
    raise AssertionError(f"never came to rest: {picture}")


def opened(browser: Any) -> Any:
    """A tab, and what it has complained of or loaded besides itself: a fixture of a module."""
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.extend([] if _own(request.url) else [request.url]))
    yield tab, problems
    tab.close()


def watched(tab: Any) -> Any:
    """The tab; what it complains of in this test, or loads, fails the test: a fixture of each."""
    page, problems = tab
    problems.clear()
    yield page
    assert problems == []


def _own(url: str) -> bool:
    page = url.split("#")[0].endswith("outputs/playground.html")
    return page or url.startswith(("data:", "blob:"))
