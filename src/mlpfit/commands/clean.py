"""Remove the runs under outputs, finished and unfinished, with their locks and caches.

mlpfit clean

What mlpfit did not write stays, and so does a run's folder that holds any of it.
"""

import os
import sys
from pathlib import Path

from mlpfit.errors import ConfigError, RunError
from mlpfit.runs.removal import is_unfinished, read_marker, remove

OUTPUTS = Path("outputs")
KINDS = ("runs", "ensembles", "variants")


def main() -> int:
    if sys.argv[1:]:
        raise ConfigError(f"{sys.argv[1]}: clean takes no arguments; it is for {OUTPUTS}")
    kept: list[str] = []

    def try_to_remove(folder: Path) -> None:
        try:
            remove(folder)
            for parent in folder.relative_to(OUTPUTS).parents[:-1]:
                (OUTPUTS / parent).rmdir()
        except RunError as error:
            kept.append(str(error))
        except OSError:  # the parent holds others
            pass

    for kind in KINDS:
        for path, folders, _ in os.walk(OUTPUTS / kind):
            for name in list(folders):
                folder = Path(path, name)
                if read_marker(folder) is None and not is_unfinished(folder):
                    continue
                folders.remove(name)
                try_to_remove(folder)
    for name in (".locks", ".cache"):
        try_to_remove(OUTPUTS / name)
    for line in kept:
        print(f"mlpfit: {line}", file=sys.stderr)
    return 1 if kept else 0
