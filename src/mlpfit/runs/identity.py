"""What makes two runs the same run."""

import hashlib
import inspect
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
    if others := departures(run, experiment, incidental):
        raise RunError(
            f"{path}: not the run that experiment={experiment} describes ({'; '.join(others)}): "
            "train that again, and yours with another output_dir"
        )
    return run


def departures(
    run: Run, experiment: str, incidental: tuple[str, ...] = INCIDENTAL + SEEDS
) -> list[str]:
    """Where its recipe is not that of the experiment's config; of which nothing is said: what
    begins like these."""
    differing = differences(run.identity["recipe"], as_published(experiment).recipe())
    return [difference for difference in differing if not difference.startswith(incidental)]


def identity(config: Config) -> dict[str, Any]:
    """What makes two runs the same: recipe, code and packages that decide the numbers."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    folders = [package / folder for folder in COMPUTING_FOLDERS]
    files = [f for suffix in ("*.py", "*.h") for folder in folders for f in folder.rglob(suffix)]
    for file in [*sorted(files), Path(inspect.getfile(type(config.target)))]:
        digest.update(file.read_bytes())
    return {
        "recipe": config.recipe(),
        "code": digest.hexdigest(),
        "packages": {name: version_of(name) for name in COMPUTING_PACKAGES},
    }


def is_current(config: Config, folder: Path) -> bool:
    """Whether the folder holds exactly this run, finished and with every file in its place."""
    try:
        run = load_run(folder)
    except RunError:
        return False
    return run.identity == identity(config) and run.is_whole()
