"""On other machines the numbers stay within a stated tolerance."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from injection import ROOT
from table import Promise

from mlpfit.commands.verify import kept_files

LEVELS = ("default", "avx2", "avx512")  # of the processor, for torch's kernels


def trial(number: int, folder: Path, quick: bool) -> None:
    level, threads = LEVELS[number % 3], str(number // 3 % 2 + 1)
    for name in ("reference.json", *kept_files(ROOT / "outputs")):
        file = folder / "outputs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "outputs" / name, file)
    around = {"ATEN_CPU_CAPABILITY": level, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-m", "mlpfit", "verify", *(["plane"] if quick else [])]
    env = os.environ | around
    ended = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "machine: " in ended.stdout and " 0 different" in ended.stdout
    if level == "default":
        assert "capability: " in ended.stdout and " 0 identical" not in ended.stdout


PROMISE = Promise(
    number=12,
    title="Other machines: a stated tolerance",
    fault="CPU dispatch levels, 1 and 2 threads, through `make verify`",
    full=6,
    quick=1,
    trial=trial,
)
