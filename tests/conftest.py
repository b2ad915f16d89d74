"""What several tests use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlpfit.config import Config, compose

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m arguments`` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, env=os.environ | environment
    )


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which everything was reproduced once, and what was printed."""
    folder = tmp_path_factory.mktemp("reproduced")
    done = run("mlpfit.reproduce", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


@pytest.fixture
def quick(tmp_path: Path):
    """Composes configs that write into this test's own folder."""

    def config(*overrides: str) -> Config:
        return compose([f"output_dir={tmp_path}/outputs", *overrides])

    return config
