"""python -m mlpfit.figures: see draw.py."""

import sys
from pathlib import Path

from mlpfit.command import run_command
from mlpfit.figures.draw import draw_all


def main() -> int:
    drawn, current = draw_all(sys.argv[1:], Path("outputs"))
    print(f"{drawn} figures drawn, {current} up to date (outputs/figures)")
    return 0


run_command(main)
