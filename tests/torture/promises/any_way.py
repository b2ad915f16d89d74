"""The way of running doesn't matter."""

import importlib.util
import random
from functools import cache
from pathlib import Path

from comparison import NUMBERS
from injection import WORK, call, python
from promise import promise

from mlpfit import load_run
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose
from mlpfit.runs.run import MARKER
from mlpfit.training.train import train


def names(quick: bool) -> list[str]:
    return [name for name in experiments() if not quick or name.startswith("plane")]


def numbers_of(folder: Path, experiment: str) -> dict[str, bytes]:
    """The files of the experiment's only run below a folder."""
    finished = [marker.parent for marker in folder.rglob(MARKER)]
    (run,) = (path for path in finished if load_run(path).config["name"] == experiment)
    return {name: (run / name).read_bytes() for name in NUMBERS}


@cache
def ways(quick: bool) -> dict[str, Path]:
    """The same experiments run in other ways, each in a folder."""
    place, every = WORK / "ways", names(quick)
    call(["mlpfit", "reproduce", *every], place / "make reproduce").fine()

    def shuffled() -> None:
        for name in random.Random(1).sample(every, len(every)):
            train(compose([f"experiment={name}"]))

    call(shuffled, place / "one process, shuffled").fine()
    launchers = {"two processes": "hydra.launcher.processes=2"}
    if not quick and importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib"] = "hydra/launcher=joblib"
    for way, launcher in launchers.items():
        (place / way).mkdir()
        python("mlpfit", "-m", f"experiment={','.join(every)}", launcher, cwd=place / way).fine()
    return {folder.name: folder for folder in place.iterdir()}


@promise(
    11,
    "The way of running doesn't matter",
    "alone, one process shuffled, two processes, joblib",
    full=len(experiments()),
    quick=1,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    """One experiment alone against every other way of running it."""
    every = names(quick)
    name = every[number % len(every)]
    call(["mlpfit", f"experiment={name}"], folder).fine()
    alone = numbers_of(folder, name)
    for way, place in ways(quick).items():
        assert numbers_of(place, name) == alone, way
