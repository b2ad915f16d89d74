"""Compute the same numbers as on other processors and compare their bits.

    python tests/portable [--quick | --full]     # make portable

``--quick`` takes 5 seeds and writes no table; otherwise 50 seeds, and the table goes to
outputs/portable.md. ``--full`` adds processors emulated by qemu, with a seed or two.
"""

import sys
import time
from pathlib import Path

from bits import Comparison, compare, recipes_file, write_table
from machines import ROOT, emulated, here, narrower

SEEDS, QUICK_SEEDS, EMULATED_SEEDS = 50, 5, 2


def main() -> int:
    quick, full = "--quick" in sys.argv, "--full" in sys.argv
    seeds = QUICK_SEEDS if quick else SEEDS
    started, comparisons, missing = time.monotonic(), [], []
    with recipes_file() as recipes:
        machines = narrower()
        if full:
            others, missing = emulated()
            machines += others
        reference = compare(here(), recipes, seeds, None)
        comparisons = [reference]
        for machine in machines:
            count = EMULATED_SEEDS if machine.emulated else seeds
            comparisons.append(compare(machine, recipes, count, reference))
            print(comparisons[-1], flush=True)
    for reason in missing:
        print(reason)
    print(f"{time.monotonic() - started:.0f} s")
    if not quick:
        write_table(comparisons, missing, Path(ROOT / "outputs/portable.md"))
    return 1 if any(_failed(comparison) for comparison in comparisons) else 0


def _failed(comparison: Comparison) -> bool:
    return bool(comparison.error or comparison.differing)


if __name__ == "__main__":
    sys.exit(main())
