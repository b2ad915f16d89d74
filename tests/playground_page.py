"""The playground opened in chromium: fixtures and ways of waiting for test_playground*.py."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
FRONT = ROOT / "src/playground"
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: the playground is not opened"
)
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONT / "node_modules").is_dir(),
    reason="no node, or no npm ci in src/playground yet: its sources are not built or tested",
)


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
    return url.startswith(("data:", "blob:")) or url.split("#")[0].endswith(
        "outputs/playground.html"
    )


def visit(page: Any, made: Path, fragment: str = "") -> None:
    """Open a link afresh and wait until it has trained what it asks for."""
    page.goto("about:blank")
    page.goto(f"{(made / 'outputs/playground.html').as_uri()}{fragment}")
    step = re.search(r"step=(\d+)", fragment)
    until(page, f"playground.losses().length >= {step[1] if step else 0} && !playground.running()")
    until(page, "document.querySelector('#loss').textContent.length > 1")


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait for a condition; playwright's own way evaluates text, which the page forbids."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")
