"""Other processors and other numbers of threads compute the same bits."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from injection import WORK, call
from table import Promise

from mlpfit.config.catalogue import experiments

CAPABILITIES = ("default", "avx2", "avx512")  # of the processor, for torch's kernels
OPENBLAS = ("Prescott", "Haswell", "SkylakeX")


@cache
def reference() -> Path:
    """A folder with the runs, figures and reference of this machine as it is."""
    tree = WORK / "reference"
    call(["mlpfit", "reproduce"], tree).fine()
    call(["mlpfit", "verify", "--keep"], tree).fine()
    return tree


def trial(number: int, folder: Path, quick: bool) -> None:
    kind, threads = number % 3, str(number // 3 % 2 + 1)
    shutil.copytree(reference(), folder, dirs_exist_ok=True)
    around = {"ATEN_CPU_CAPABILITY": CAPABILITIES[kind], "OPENBLAS_CORETYPE": OPENBLAS[kind]}
    around |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    names = ["plane"] if quick else []
    ended = subprocess.run(
        [sys.executable, "-m", "mlpfit", "verify", *names],
        cwd=folder,
        env=os.environ | around,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    count = len([name for name in experiments() if not quick or name.startswith("plane/")])
    assert f"{count} runs: {count} identical (" in ended.stdout, ended.stdout


PROMISE = Promise(
    number=12,
    title="Other processors: the same bits",
    fault="CPU dispatch levels, 1 and 2 threads, through `make verify`",
    full=6,
    quick=1,
    trial=trial,
)
