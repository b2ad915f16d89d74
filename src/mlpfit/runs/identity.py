"""What makes two runs the same run."""

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

INCIDENTAL = (  # beginnings of differences that change no recipe
    "trainer.compile:",
    "trainer.accelerator:",
    "trainer.chunk_steps:",
    "recording.",
    "logger.",
    "ensemble.",
)
COMPUTING_PACKAGES = ("torch", "lightning", "numpy")
COMPUTING_FOLDERS = ("data", "model", "training")  # whose code decides a run's numbers


def published_run(experiment: str, outputs: Path, kind: str = "runs") -> Run:
    """The finished run (or of "ensembles") of a published experiment. Raises RunError if it is
    absent, damaged or of another recipe than the experiment's config; how it was computed may
    differ, and an ensemble's seeds."""
    path = outputs / kind / experiment
    run = load_run(path)
    incidental = INCIDENTAL + (SEEDS if kind == "ensembles" else ())
    if others := departures(run, as_published(experiment), incidental):
        again = f"mlpfit {'reproduce' if kind == 'runs' else 'ensembles'} {experiment}"
        raise RunError(
            f"{path}: not the run that experiment={experiment} describes ({'; '.join(others)}): "
            f"{again} trains that again; train yours with another output_dir"
        )
    return run


def departures(
    run: Run, config: Config, incidental: tuple[str, ...] = INCIDENTAL + SEEDS
) -> list[str]:
    """Where the run's recipe, or the code of its target, is not the config's; differences that
    begin like these do not count."""
    differing = differences(run.identity["recipe"], config.recipe())
    if run.identity.get("target") != _hash([target_file(config)]):
        differing.append(f"{target_file(config)} has changed")
    return [difference for difference in differing if not difference.startswith(incidental)]


def identity(config: Config) -> dict[str, Any]:
    """What makes two runs the same: recipe, code and packages that decide the numbers."""
    folders = [Path(__file__).parents[1] / folder for folder in COMPUTING_FOLDERS]
    files = [f for suffix in ("*.py", "*.h") for folder in folders for f in folder.rglob(suffix)]
    return {
        "recipe": config.recipe(),
        "code": _hash(sorted(files)),
        "target": _hash([target_file(config)]),
        "packages": {name: version_of(name) for name in COMPUTING_PACKAGES},
    }


def target_file(config: Config) -> Path:
    """Where the config's target is programmed."""
    return Path(inspect.getfile(type(config.target)))


def _hash(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_current(config: Config, folder: Path) -> bool:
    """Whether the folder holds exactly this run, finished and with every file in its place."""
    try:
        run = load_run(folder)
    except RunError:
        return False
    return run.identity == identity(config) and run.is_whole()
