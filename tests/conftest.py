"""What several tests use."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mlpfit.config import Config, compose

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / "outputs/.cache/inductor"))  # compile each graph once


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m arguments`` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, env=os.environ | environment
    )


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which everything was reproduced once, and what was printed; test processes share it, to read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reproduced"
    folder.mkdir(exist_ok=True)
    printed = folder.with_name("reproduced.txt")
    with open(folder.with_name("reproduced.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes first makes it
        if not printed.is_file():
            done = run("mlpfit.reproduce", cwd=folder)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            printed.write_text(done.stdout)
    return folder, printed.read_text()


@pytest.fixture
def quick(tmp_path: Path):
    """Composes configs that write into this test's own folder."""

    def config(*overrides: str) -> Config:
        return compose([f"output_dir={tmp_path}/outputs", *overrides])

    return config


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = "pip install playwright opens pages in chromium"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    with playwright.sync_playwright() as tool:
        yield tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def page(browser) -> Iterator[Any]:
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
