"""What several tests use."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlpfit.config.catalogue import load_targets
from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.data.targets import TARGETS, Target

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR", str(ROOT / "outputs/.cache/inductor")
)  # compile each graph once


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m arguments`` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def parabola(**changes: object) -> Target:
    """x^2 with noise at 30 uniform points of [-2, 3]."""
    load_targets()
    fields = {"curvature": 1.0, "points": 30, "inputs": "uniform", "low": -2.0, "high": 3.0}
    fields |= {"noise": 0.5, "observed": None, "standardise": False, "float32": False}
    return TARGETS["parabola"](**{**fields, **changes})


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which everything was reproduced once, and what was printed; test processes share
    it, to read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reproduced"
    folder.mkdir(exist_ok=True)
    printed = folder.with_name("reproduced.txt")
    with open(folder.with_name("reproduced.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes first makes it
        if not printed.is_file():
            done = run("mlpfit", "reproduce", cwd=folder)
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
