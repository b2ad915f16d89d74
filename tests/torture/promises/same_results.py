"""The same command gives the same results, wherever and however it is called."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from comparison import clone, state
from injection import WORK, python
from promise import promise

SURROUNDINGS = [
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"},
    {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONHASHSEED": "77", "CLOCK": "1e8"},
    {"LC_ALL": "POSIX", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "UMASK": "077"},
    {"PYTHONHASHSEED": "random", "MPLBACKEND": "svg", "CLOCK": "-1e9", "TWICE": "1"},
    {"COLUMNS": "40", "TERM": "dumb", "LANG": "de_DE.UTF-8", "UMASK": "002"},
]


@cache
def first_clone(names: tuple[str, ...]) -> dict[str, str]:
    tree = clone(WORK / "first clone")
    python("mlpfit", "reproduce", *names, cwd=tree, PYTHONPATH=str(tree / "src")).fine()
    return state(tree / "outputs")


@promise(
    1,
    "Same command, same results",
    "clones at other paths; TZ, locale, umask, HOME, hash seed, clock, threads, two at once",
    full=5,
    quick=1,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    names = ("plane",) if quick else ()
    expected = first_clone(names)
    around = dict(SURROUNDINGS[number % len(SURROUNDINGS)])
    processes = 2 if around.pop("TWICE", None) else 1
    tree = clone(folder / f"a clone {number} elsewhere")
    (folder / "home").mkdir()
    (folder / "site").mkdir()  # the clock is moved where Python reads it
    (folder / "site/usercustomize.py").write_text(
        "import os, time\nreal = time.time\n"
        f"time.time = lambda: real() + {around.pop('CLOCK', '0')}\n"
        f"os.umask(0o{around.pop('UMASK', '022')})\n"
    )
    around |= {"HOME": str(folder / "home"), "PYTHONPATH": f"{tree / 'src'}:{folder / 'site'}"}
    program = (
        f"import usercustomize, runpy, sys; sys.argv = ['mlpfit', 'reproduce', *{list(names)}]; "
        "runpy.run_module('mlpfit', run_name='__main__')"
    )
    command, env = [sys.executable, "-c", program], os.environ | around
    started = [
        subprocess.Popen(command, cwd=tree, env=env, stdout=subprocess.DEVNULL)
        for _ in range(processes)
    ]
    assert [process.wait() for process in started] == [0] * processes
    assert state(tree / "outputs") == expected
