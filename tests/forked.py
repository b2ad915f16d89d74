"""``python -m module ...`` in a process of its own, forked from one that has imported torch,
Lightning and what else takes seconds of every command. mlpfit itself is imported anew."""

import atexit
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "mlpfit.lightning_import",  # four times as fast as lightning.pytorch by itself
    *("hydra", "matplotlib.figure", "optuna.storages._rdb.models", "pandas"),
    *("pydantic", "rich", "scipy.stats", "torch.utils.tensorboard"),
]
_FORKS.set_forkserver_preload(_IMPORTED)  # what is not installed is left out


def run_module(
    module: str, arguments: list[str], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; exit code (negative: killed by that signal) and what it printed."""
    with TemporaryDirectory() as folder:
        printed = [Path(folder, name) for name in ("stdout", "stderr")]
        given = (module, arguments, str(cwd), dict(environment), [str(path) for path in printed])
        process = _FORKS.Process(target=_run, args=given)
        process.start()
        process.join()
        assert process.exitcode is not None
        texts = [path.read_text() for path in printed]
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, *texts)


def _run(
    module: str, arguments: list[str], cwd: str, environment: dict[str, str], printed: list[str]
) -> None:
    gc.freeze()  # else the first garbage collection takes half a second for torch's objects
    for name in [name for name in sys.modules if name.split(".")[0] == "mlpfit"]:
        del sys.modules[name]
    for descriptor, path in zip((1, 2), printed, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, cwd)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
