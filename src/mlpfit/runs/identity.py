"""Identity of a run: recipe, code and package versions, which decide its numbers."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpfit.config.compose import as_published
from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.runs.provenance import version_of
from mlpfit.runs.run import SEEDS, Run, differences, load_run

INCIDENTAL = (  # beginnings of differences that do not count as another recipe
    "trainer.compile:",
    "trainer.accelerator:",
    "trainer.chunk_steps:",
    "recording.",
    "logger.",
    "ensemble.",
)
COMPUTING_PACKAGES = ("torch", "lightning", "numpy")
COMPUTING_FOLDERS = ("data", "model", "training")  # their code decides a run's numbers


def published_run(experiment: str, outputs: Path, kind: str = "runs") -> Run:
    """The finished run (kind "ensembles": the ensemble) of a published experiment. Raises RunError
    if it is missing, damaged or of another recipe, ``INCIDENTAL`` keys and ensembles' seeds
    apart."""
    path = outputs / kind / experiment
    run = load_run(path)
    incidental = INCIDENTAL + (SEEDS if kind == "ensembles" else ())
    if differing := recipe_differences(run, as_published(experiment), incidental):
        command = f"mlpfit {'reproduce' if kind == 'runs' else 'ensembles'} {experiment}"
        raise RunError(
            f"{path}: not the run that experiment={experiment} describes ({'; '.join(differing)}): "
            f"{command} trains that again; train yours with another output_dir"
        )
    return run


def recipe_differences(
    run: Run, config: Config, incidental: tuple[str, ...] = INCIDENTAL + SEEDS
) -> list[str]:
    """Differences of a run's recipe and target code from the config's, as "optimizer.lr: 0.01, now
    0.02", without those that begin with one of incidental."""
    differing = differences(run.identity["recipe"], config.recipe())
    if run.identity.get("target") != _hash([target_file(config)]):
        differing.append(f"{target_file(config)} has changed")
    return [difference for difference in differing if not difference.startswith(incidental)]


def identity(config: Config) -> dict[str, Any]:
    """Recipe, hashes of the code and versions of the packages; equal for equal runs."""
    folders = [Path(__file__).parents[1] / folder for folder in COMPUTING_FOLDERS]
    files = [f for suffix in ("*.py", "*.h") for folder in folders for f in folder.rglob(suffix)]
    return {
        "recipe": config.recipe(),
        "code": _hash(sorted(files)),
        "target": _hash([target_file(config)]),
        "packages": {name: version_of(name) for name in COMPUTING_PACKAGES},
    }


def target_file(config: Config) -> Path:
    """The Python file of the config's target."""
    return Path(inspect.getfile(type(config.target)))


def _hash(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_current(config: Config, folder: Path) -> bool:
    """Whether the folder holds this run, finished and with all its files."""
    try:
        run = load_run(folder)
    except RunError:
        return False
    return run.identity == identity(config) and run.is_whole()
