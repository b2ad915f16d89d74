"""How fast, as ratios within one sitting: python tests/bench [--quick] [training | ...].

Every section is a table of outputs/bench.md; those that are not named stay as they are. Contenders
solve the same problem on the same rows, take turns, and the best of several turns counts: other
work on the machine can only slow a turn down. --quick: two turns each, without the section on
growth unless it is named, and that without the last million; a quarter of an hour. The whole takes
three times as long. JAX and Ray are extras: pip install -e .[bench,ray]; without Ray its
section stays as it is.
"""

import sys
from pathlib import Path

import cluster
import commands
import crew
import ensembles
import growth
import shares
import single
import trainings

from mlpfit.errors import ConfigError, allowed
from mlpfit.files import write_file
from mlpfit.process import run_command
from mlpfit.runs.provenance import provenance
from mlpfit.training.progress import counted

PAGE = Path("outputs/bench.md")
SECTIONS = {
    "training": single.training,
    "tensorboard": single.tensorboard,
    "ensembles": ensembles.ensembles,
    "trainings": trainings.trainings,
    "shares": shares.shares,
    "growth": growth.growth,
    "commands": commands.commands,
    "cluster": cluster.cluster,
}


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    names = [name for name in sys.argv[1:] if name != "--quick"]
    names = names or [name for name in SECTIONS if not (quick and name == "growth")]
    if quick:
        crew.TURNS = single.TURNS = growth.TURNS = shares.REPEATS = 2
        growth.COUNTS = growth.COUNTS[:-1]
    for name in names:
        if name not in SECTIONS:
            raise ConfigError(f"{name}: no such benchmark; {allowed(name, SECTIONS)}")
    page = sections_of(PAGE.read_text()) if PAGE.is_file() else {}
    for name in names:
        if not (section := SECTIONS[name]()):
            continue
        page[name] = f"{section}\n\n{machine()}"
        print(page[name], flush=True)
        parts = "\n\n".join(f"<!-- {name} -->\n{page[name]}" for name in SECTIONS if name in page)
        write_file(PAGE, f"# Benchmarks\n\n{parts}\n".encode())
    return 0


def sections_of(page: str) -> dict[str, str]:
    parts = (part.split(" -->", 1) for part in page.split("<!-- ")[1:])
    return {name: text.strip() for name, text in parts}


def machine() -> str:
    made = provenance()
    return (
        f"Measured on {made['processor']}, {counted(len(crew.cores()), 'core')}, "
        f"torch {made['versions']['torch']}, {made['platform']}."
    )


if __name__ == "__main__":
    run_command(main)
