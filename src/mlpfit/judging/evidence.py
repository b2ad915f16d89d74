"""The ensembles that the ledger judges by, and why others are not among them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.judging.claims import Ensembles
from mlpfit.judging.rows import Lacking
from mlpfit.runs.identity import recipe_differences, unimportant
from mlpfit.runs.run import MARKER, SEEDS, Run, load_run


class Evidence(dict[str, Run]):
    """Ensembles by name of their experiment or variant; ``missing``: why one is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, str] = {}

    def add(self, name: str, folder: Path, config: Config, seeds: bool) -> None:
        """Read the ensemble in this folder, if it is finished and has this config's recipe and, if
        seeds, its seeds."""
        if not (folder / MARKER).is_file():
            self.missing[name] = f"no replicas of {name} yet"
            return
        try:
            run = load_run(folder)
            differing = recipe_differences(run, config, seeds)
        except RunError as error:
            self.missing[name] = str(error)
            return
        if differing:
            self.missing[name] = f"{folder} has another recipe ({'; '.join(differing)})"
        else:
            self[name] = run


def lacking(runs: Ensembles, experiments: Sequence[str]) -> Lacking | None:
    """What a row lacks that needs these experiments and variants; None if all of them are there."""
    absent = [name for name in experiments if name not in runs]
    if not absent:
        return None
    known = runs.missing if isinstance(runs, Evidence) else {}
    reasons = (known.get(name, f"no replicas of {name} yet") for name in absent)
    commands = dict.fromkeys(map(command, absent))
    return Lacking("; ".join(dict.fromkeys(reasons)), list(commands))


def command(name: str) -> str:
    """The command that trains the replicas of an experiment or of a tutorial's variants."""
    experiment, _, variant = name.partition(":")
    if variant:
        return f"mlpfit ensembles --variants {experiment.split('/')[0]}"
    return f"mlpfit ensembles {experiment}"


def recipe_id(recipe: dict[str, Any]) -> str:
    """What a run and an ensemble of one recipe have in common: a hash of what decides their
    numbers, seeds apart."""
    skipped = unimportant() + SEEDS
    pairs = {
        key: value for key, value in flattened(recipe).items() if not f"{key}:".startswith(skipped)
    }
    text = json.dumps(pairs, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flattened(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} -> {"optimizer.lr": 0.1}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in flattened(branch, f"{prefix}.{name}" if prefix else name).items()
    }
