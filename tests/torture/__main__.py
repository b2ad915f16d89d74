"""Inject the faults the README promises to survive, count, and compare with undisturbed runs.

    python tests/torture [--quick] [promise number ...]      # make torture: all, in full

Every file in promises/ is one promise. Full counts go to outputs/torture.md. A trial gets a folder
of its own and is reproducible from its number.
"""

import importlib
import shutil
import sys
from pathlib import Path

from injection import ROOT, WORK
from table import Promise, tried, write_row


def promises() -> dict[int, Promise]:
    """All of them by number."""
    files = sorted((Path(__file__).parent / "promises").glob("*.py"))
    every = [importlib.import_module(f"promises.{file.stem}").PROMISE for file in files]
    return {promise.number: promise for promise in sorted(every, key=lambda p: p.number)}


def main() -> int:
    quick = "--quick" in sys.argv
    every, failed = promises(), 0
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()] or list(every)
    try:
        for number in numbers:
            result = tried(every[number], quick)
            failed += result.trials - result.passed
            print(result, flush=True)
            if not quick:
                write_row(result, ROOT / "outputs/torture.md")
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
