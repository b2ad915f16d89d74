"""python -m mlpfit.figures: see draw.py; with sweep=<sweep>, the figure of a sweep."""

import sys
from pathlib import Path

from mlpfit.command import run_command
from mlpfit.errors import ConfigError
from mlpfit.figures.draw import draw_all
from mlpfit.figures.sweep import draw_sweep

OUTPUTS = Path("outputs")


def main() -> int:
    sweeps = [a.removeprefix("sweep=") for a in sys.argv[1:] if a.startswith("sweep=")]
    for name in sweeps:
        if not (OUTPUTS / "sweeps" / name / "summary.csv").is_file():
            found = sorted(str(f.parent.relative_to(OUTPUTS / "sweeps")) for f in OUTPUTS.glob("sweeps/**/summary.csv"))
            raise ConfigError(
                f"sweep={name}: no such sweep under {OUTPUTS}/sweeps; there are {', '.join(found) or 'none'}"
            )
        print(draw_sweep(OUTPUTS / "sweeps" / name))
    names = [a for a in sys.argv[1:] if not a.startswith("sweep=")]
    if not sweeps or names:
        drawn, current = draw_all(names, OUTPUTS)
        print(f"{drawn} figures drawn, {current} up to date ({OUTPUTS}/figures)")
    return 0


run_command(main)
