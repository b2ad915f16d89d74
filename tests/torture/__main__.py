"""Inject the faults the README promises to survive, count, and compare with undisturbed runs.

    python tests/torture [--quick] [promise number ...]      # make torture: all, in full

The promises are in the files of promises/. Full counts go to outputs/torture.md. A trial gets a
folder of its own and is reproducible from its number.
"""

import importlib
import shutil
import sys
from pathlib import Path

from injection import ROOT, WORK
from promise import PROMISES, tried, write_row


def main() -> int:
    for file in (Path(__file__).parent / "promises").glob("*.py"):
        importlib.import_module(f"promises.{file.stem}")
    quick, failed = "--quick" in sys.argv, 0
    try:
        for number in [int(a) for a in sys.argv[1:] if a.isdigit()] or sorted(PROMISES):
            result = tried(PROMISES[number], quick)
            failed += result.trials - result.passed
            print(result, flush=True)
            if not quick:
                write_row(result, ROOT / "outputs/torture.md")
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
