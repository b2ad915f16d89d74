"""The playground opened in chromium: what it needs, and ways of waiting for it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import CHROMIUM, ROOT

FRONT = ROOT / "src/playground"
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: the playground is not opened"
)
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FRONT / "node_modules").is_dir(),
    reason="no node, or no npm ci in src/playground yet: its sources are not built or tested",
)


def visit(page: Any, made: Path, fragment: str = "", refused: bool = False) -> None:
    """Open a link afresh and wait until it has trained what it asks for, if it is not refused."""
    page.goto("about:blank")
    page.goto(f"{(made / 'outputs/playground.html').as_uri()}{fragment}")
    step = None if refused else re.search(r"\bstep=(\d+)", fragment)
    until(page, f"playground.losses().length >= {step[1] if step else 0} && !playground.running()")
    until(page, "document.querySelector('#loss').textContent.length > 1")


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait for a condition; playwright's own way evaluates text, which the page forbids."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")
