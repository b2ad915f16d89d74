"""Compute the same numbers as on other processors and compare their bits.

    python tests/portable [--quick | --full] [numbers] [kernels] [whole]     # make portable

Parts named are computed, by default all. ``--quick`` takes few seeds and steps and writes nothing;
otherwise each part is a section of outputs/portable.md. ``--full`` adds processors emulated by
qemu, with a seed or two.
"""

import sys
import time
from pathlib import Path
from typing import Any

import kernels
import whole
from bits import Comparison, compare, recipes_file, table
from machines import ROOT, emulated, here, narrower

SEEDS, QUICK_SEEDS, EMULATED_SEEDS = 50, 5, 2


TABLE = Path(ROOT / "outputs/portable.md")
PARTS = ("numbers", "kernels", "whole")
SECTION = "\n## "  # begins the second and the third part of the table


def main() -> int:
    quick, full = "--quick" in sys.argv, "--full" in sys.argv
    chosen = [part for part in PARTS if part in sys.argv] or PARTS
    started, failed = time.monotonic(), False
    sections = (TABLE.read_text() if TABLE.exists() else "").split(SECTION)
    texts = [SECTION.lstrip() * (i > 0) + text for i, text in enumerate(sections)]
    texts += [""] * (len(PARTS) - len(texts))
    if "numbers" in chosen:
        comparisons, missing = compare_numbers(QUICK_SEEDS if quick else SEEDS, full)
        failed |= any(comparison.error or comparison.differing for comparison in comparisons)
        texts[0] = table(comparisons, missing)
    for i, part in ((1, kernels), (2, whole)):
        if PARTS[i] in chosen:
            results: list[Any] = []
            for result in part.compared(quick):
                results.append(result)
                print(result, flush=True)
                failed |= bool(result.differing)
            texts[i] = part.table(results)
    print(f"{time.monotonic() - started:.0f} s")
    if not quick:
        TABLE.write_text("\n\n".join(text.strip() for text in texts if text.strip()) + "\n")
    return 1 if failed else 0


def compare_numbers(seeds: int, full: bool) -> tuple[list[Comparison], list[str]]:
    """Everything but training on each machine, and why a machine can't be had."""
    missing: list[str] = []
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
    return comparisons, missing


if __name__ == "__main__":
    sys.exit(main())
