"""What there is to train, draw and judge: tutorials, their experiments and ready sweeps.

A tutorial is one folder with, where it has them, ``targets.py``, ``figures.py``, ``claims.py``,
``answers.py`` and ``published.yaml``. The package's own are listed in ``conf/tutorials.yaml`` and
have their experiments in ``conf/``. A user's is a folder named in MLPFIT_PATH, or a package
announced under the entry point group ``mlpfit.tutorials``, with a ``conf/`` of its own; its name is
the folder's.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from mlpfit.errors import ConfigError, allowed, as_config_error

PACKAGE = Path(__file__).parents[1]
_INSTALLED = PACKAGE / "conf"  # in a wheel; in a checkout conf/ lies at the top
CONF = _INSTALLED if _INSTALLED.is_dir() else PACKAGE.parents[1] / "conf"
SEARCH_PATH = "MLPFIT_PATH"  # environment variable: folders of the user's own tutorials


@dataclass(frozen=True)
class Tutorial:
    """folder: what belongs to it alone; conf: experiment/<name>/, sweep/<name>/ and target/."""

    name: str
    package: str
    folder: Path
    conf: Path
    order: Sequence[str] = ()  # of its experiments; others come last

    @property
    def packaged(self) -> bool:
        """Whether it is one of the package's own."""
        return self.conf == CONF

    def module(self, name: str, *attributes: str) -> ModuleType | None:
        """Its module of this name ("figures"), which may have these attributes; None if it has no
        such file. Raises ConfigError in one line if it can't be imported, or misspells one."""
        file = self.folder / f"{name}.py"
        if not file.is_file():
            return None
        with as_config_error(str(file)):
            module = importlib.import_module(f"{self.package}.{name}")
        for given in (key for key in vars(module) if key.isupper() and key not in attributes):
            if meant := get_close_matches(given, attributes, n=1, cutoff=0.8):
                raise ConfigError(f"{file}: {given}: is {meant[0]} meant?")
        return module

    def experiments(self) -> list[str]:
        """Names, "tower/small"."""
        stems = sorted(file.stem for file in (self.conf / "experiment" / self.name).glob("*.yaml"))
        ordered = [s for s in dict.fromkeys((*self.order, *stems)) if s in stems]
        return [f"{self.name}/{stem}" for stem in ordered]

    def full_name(self, experiment: str) -> str:
        """Of an experiment that may be named without the tutorial: "small" is "tower/small"."""
        return experiment if "/" in experiment else f"{self.name}/{experiment}"

    def sweeps(self) -> list[str]:
        """Names of its ready sweeps, "tower/width_and_depth"."""
        files = sorted((self.conf / "sweep" / self.name).glob("*.yaml"))
        return [f"{self.name}/{file.stem}" for file in files]


def tutorials() -> list[Tutorial]:
    """All tutorials, the user's own last. Raises ConfigError for a folder that is none."""
    return list(_tutorials(os.environ.get(SEARCH_PATH, "")))


@cache
def _tutorials(search_path: str) -> tuple[Tutorial, ...]:
    packaged = [
        Tutorial(name, f"mlpfit.tutorials.{name}", PACKAGE / "tutorials" / name, CONF, order)
        for name, order in yaml.safe_load((CONF / "tutorials.yaml").read_text()).items()
    ]
    users = [*_from_entry_points(), *_from_search_path(search_path)]
    names = [tutorial.name for tutorial in (*packaged, *users)]
    for tutorial in users:
        if names.count(tutorial.name) > 1:
            taken = f"there is a tutorial {tutorial.name} already"
            raise ConfigError(f"{tutorial.folder}: {taken}; name the folder otherwise")
    return (*packaged, *users)


def _from_entry_points() -> Iterator[Tutorial]:
    for point in entry_points(group="mlpfit.tutorials"):
        with as_config_error(f"entry point mlpfit.tutorials {point.name}={point.value}"):
            folder = Path(next(iter(point.load().__path__)))
        yield Tutorial(point.name, point.value, folder, folder / "conf")


def _from_search_path(search_path: str) -> Iterator[Tutorial]:
    """The folders named in MLPFIT_PATH, importable as ``mlpfit.tutorials.<name>``."""
    for folder in (Path(name).resolve() for name in search_path.split(os.pathsep) if name):
        where = f"{SEARCH_PATH}={search_path}: {folder}"
        if not folder.is_dir():
            raise ConfigError(f"{where} is no folder")
        if not folder.name.isidentifier():
            raise ConfigError(f"{where}: name the folder in letters, digits and underscores")
        inside = folder.glob("*/conf/experiment/*")
        within = sorted({str(p.parents[2]) for p in inside if p.name == p.parents[2].name})
        if within and not (folder / "conf").is_dir():
            raise ConfigError(f"{where} holds tutorials; name them: {os.pathsep.join(within)}")
        groups = [path.name for path in (folder / "conf/experiment").glob("*")]
        if stray := [name for name in groups if name != folder.name]:
            raise ConfigError(f"{folder}/conf/experiment/{stray[0]}: must lie under {folder.name}/")
        package = f"mlpfit.tutorials.{folder.name}"
        loaded = sys.modules.get(package)
        if loaded is None or list(loaded.__path__) != [str(folder)]:
            for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
                del sys.modules[name]  # of another folder of this name
            module = ModuleType(package)
            module.__path__ = [str(folder)]
            module.__spec__ = ModuleSpec(package, None, is_package=True)
            sys.modules[package] = module
        yield Tutorial(folder.name, package, folder, folder / "conf")


def tutorial(name: str) -> Tutorial:
    """The tutorial of this name, or of an experiment, figure or sweep "tutorial/..."."""
    stem = name.split("/")[0]
    for candidate in tutorials():
        if candidate.name == stem:
            return candidate
    known = [tutorial.name for tutorial in tutorials()]
    raise ConfigError(f"{name}: no such tutorial; {allowed(stem, known)}")


def experiments() -> list[str]:
    """Names of all experiments, the user's own last."""
    return [name for tutorial in tutorials() for name in tutorial.experiments()]


def existing(experiment: str, culprit: str) -> str:
    """The experiment. Raises ConfigError, which begins with the culprit, if there is none."""
    if experiment not in (known := experiments()):
        given = f"{culprit}: {experiment}"
        raise ConfigError(f"{given}: no such experiment; {allowed(experiment, known)}")
    return experiment


def ready_sweeps() -> list[str]:
    """Names of the ready sweeps, the user's own last."""
    return [name for tutorial in tutorials() for name in tutorial.sweeps()]


def confs() -> list[Path]:
    """Folders of YAML, the package's own first."""
    return list(dict.fromkeys([CONF, *(tutorial.conf for tutorial in tutorials())]))


def choices(group: str) -> list[str]:
    """Names of the files of a group of conf/, the user's own last."""
    if group == "experiment":
        return experiments()
    folders = [conf / group for conf in confs()]
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.yaml"))]
    return [str(file.relative_to(folder).with_suffix("")) for folder, file in files]


def load_targets() -> None:
    """Import the targets of every tutorial, so that their names are known.

    Raises ConfigError in one line if one can't be imported.
    """
    for tutorial in tutorials():
        tutorial.module("targets")


@dataclass(frozen=True)
class ReadySweep:
    """What a ready sweep asks and how its figure is drawn, from ``conf/sweep/<name>.yaml``."""

    name: str
    params: dict[str, str]
    question: str
    figure: dict[str, Any] | None = None
    sharpness: bool = False


def ready_sweep(name: str) -> ReadySweep:
    """The ready sweep of this name. Raises ConfigError if there is none."""
    if name not in ready_sweeps():
        raise ConfigError(f"sweep={name}: no such sweep; {allowed(name, ready_sweeps())}")
    file = tutorial(name).conf / "sweep" / f"{name}.yaml"
    needs = "hydra.callbacks.experiments needs question, may have figure, sharpness"
    with as_config_error(f"{file}: {needs}"):
        settings = yaml.safe_load(file.read_text())["hydra"]
        params = {key: str(value) for key, value in settings["sweeper"]["params"].items()}
        return ReadySweep(name, params, **settings["callbacks"]["experiments"])
