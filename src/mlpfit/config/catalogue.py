"""The tutorials, their experiments and their ready sweeps.

A tutorial is a folder that may hold ``targets.py``, ``figures.py``, ``claims.py``,
``quantities.py``, ``answers.py``, ``published.yaml`` and ``variants.yaml``. Those of the package
are listed in ``conf/tutorials.yaml``, and their experiments are in ``conf/``. A user's tutorial is
a folder named in MLPFIT_PATH, or a package registered under the entry point group
``mlpfit.tutorials``, with its own ``conf/``; the folder's name is the tutorial's.
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

from mlpfit.config.checking import load_yaml
from mlpfit.errors import ConfigError, allowed, as_config_error

PACKAGE = Path(__file__).parents[1]
_WHEEL_CONF = PACKAGE / "conf"  # in a checkout conf/ is at the top level
CONF = _WHEEL_CONF if _WHEEL_CONF.is_dir() else PACKAGE.parents[1] / "conf"
SEARCH_PATH = "MLPFIT_PATH"  # environment variable: folders of the user's own tutorials


@dataclass(frozen=True)
class Tutorial:
    """folder: of its Python files; conf: folder with experiment/<name>/, sweep/<name>/, target/."""

    name: str
    package: str
    folder: Path
    conf: Path
    order: Sequence[str] = ()  # of its experiments; those not listed come last

    @property
    def packaged(self) -> bool:
        """Whether it is one of the package's own."""
        return self.conf == CONF

    def module(self, name: str, *attributes: str) -> ModuleType | None:
        """Import its module of this name ("figures"); None if there is no such file. Raises
        ConfigError if the import fails, or if a constant looks like a misspelt attribute."""
        file = self.folder / f"{name}.py"
        if not file.is_file():
            return None
        with as_config_error(str(file)):
            module = importlib.import_module(f"{self.package}.{name}")
        if misspelt := _misspelt(module, attributes):
            raise ConfigError(f"{file}: {misspelt}")
        return module

    def experiments(self) -> list[str]:
        """Names of its experiments, "tower/small"."""
        stems = _stems(f"{self.conf}/experiment/{self.name}")
        ordered = [s for s in dict.fromkeys((*self.order, *stems)) if s in stems]
        return [f"{self.name}/{stem}" for stem in ordered]

    def full_name(self, experiment: str) -> str:
        """Name with the tutorial in front: "small" and "tower/small" give "tower/small"."""
        return experiment if "/" in experiment else f"{self.name}/{experiment}"

    def sweeps(self) -> list[str]:
        """Names of its ready sweeps, "tower/width_and_depth"."""
        return [f"{self.name}/{stem}" for stem in _stems(f"{self.conf}/sweep/{self.name}")]


def _stems(folder: str) -> list[str]:
    """Names of the YAML files in a folder, which are asked for hundreds of times."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@cache
def _misspelt(module: ModuleType, attributes: tuple[str, ...]) -> str:
    """Which constant of a module looks like a misspelt attribute; empty if none does."""
    absent = [name for name in attributes if not hasattr(module, name)]
    for key in filter(str.isupper, vars(module)):
        if similar := get_close_matches(key, absent, n=1, cutoff=0.8):
            return f"{key}: did you mean {similar[0]}?"
    return ""


def tutorials() -> list[Tutorial]:
    """All tutorials, the user's last. Raises ConfigError for a folder that is not a tutorial."""
    return list(_tutorials(os.environ.get(SEARCH_PATH, "")))


@cache
def _tutorials(search_path: str) -> tuple[Tutorial, ...]:
    packaged = [
        Tutorial(name, f"mlpfit.tutorials.{name}", PACKAGE / "tutorials" / name, CONF, order)
        for name, order in load_yaml(CONF / "tutorials.yaml").items()
    ]
    users = [*_from_entry_points(), *_from_search_path(search_path)]
    names = [tutorial.name for tutorial in (*packaged, *users)]
    for tutorial in users:
        if names.count(tutorial.name) > 1:
            problem = f"there is already a tutorial {tutorial.name}; rename the folder"
            raise ConfigError(f"{tutorial.folder}: {problem}")
    _check_files(users)
    return (*packaged, *users)


def _check_files(users: Sequence[Tutorial]) -> None:
    """Raises ConfigError for a file of a user's ``conf/`` that would be hidden by another one of
    the same name, and for one that is no file."""
    owners = [("the package", CONF), *((f"tutorial {t.name}", t.conf) for t in users)]
    for place, (_, conf) in enumerate(owners[1:], start=1):
        for file in sorted(conf.rglob("*.yaml")):
            if not file.is_file():
                raise ConfigError(f"{file}: must be a file; a group of configs has no .yaml")
            name = file.relative_to(conf)
            if earlier := [owner for owner, other in owners[:place] if (other / name).is_file()]:
                raise ConfigError(
                    f"{file}: {earlier[0]} has a conf/{name.as_posix()}, too, and would be used "
                    "instead; rename this one"
                )


def _from_entry_points() -> Iterator[Tutorial]:
    for point in entry_points(group="mlpfit.tutorials"):
        with as_config_error(f"entry point mlpfit.tutorials {point.name}={point.value}"):
            folder = Path(next(iter(point.load().__path__)))
        yield Tutorial(point.name, point.value, folder, folder / "conf")


def _from_search_path(search_path: str) -> Iterator[Tutorial]:
    """The folders named in MLPFIT_PATH, importable as ``mlpfit.tutorials.<name>``."""
    for name in filter(None, search_path.split(os.pathsep)):
        try:
            folder = Path(name).resolve()
        except (OSError, RuntimeError, ValueError):
            raise ConfigError(f"{SEARCH_PATH}: {name}: a loop of links, or no path") from None
        given = f"{SEARCH_PATH}={search_path}: {folder}"
        if not folder.is_dir():
            raise ConfigError(f"{given} is not a folder")
        if not (folder.name.isascii() and folder.name.isidentifier()):
            raise ConfigError(f"{given}: name the folder in letters a to z, digits, underscores")
        groups = folder.glob("*/conf/experiment/*")
        nested = sorted({str(p.parents[2]) for p in groups if p.name == p.parents[2].name})
        if nested and not (folder / "conf").is_dir():
            raise ConfigError(f"{given} holds tutorials; name them: {os.pathsep.join(nested)}")
        names = [path.name for path in (folder / "conf/experiment").glob("*")]
        if misplaced := [name for name in names if name != folder.name]:
            file = f"{folder}/conf/experiment/{misplaced[0]}"
            raise ConfigError(f"{file}: must lie under {folder.name}/")
        package = f"mlpfit.tutorials.{folder.name}"
        loaded = sys.modules.get(package)
        if loaded is None or list(loaded.__path__) != [str(folder)]:
            for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
                del sys.modules[name]  # imported from another folder of this name
            module = ModuleType(package)
            module.__path__ = [str(folder)]
            module.__spec__ = ModuleSpec(package, None, is_package=True)
            sys.modules[package] = module
        yield Tutorial(folder.name, package, folder, folder / "conf")


def tutorial(name: str) -> Tutorial:
    """The tutorial of this name, or of an experiment, figure or sweep "tutorial/...". Raises
    ConfigError if there is none."""
    by_name = {tutorial.name: tutorial for tutorial in tutorials()}
    if (stem := name.split("/")[0]) not in by_name:
        raise ConfigError(f"{name}: no such tutorial; {allowed(stem, by_name)}")
    return by_name[stem]


def folder_of(experiment: str) -> Path:
    """Folder in which an experiment's files are looked for: its tutorial's, or the working
    directory if it is of none."""
    stem = experiment.split("/")[0]
    return next((t.folder for t in tutorials() if t.name == stem), Path())


def experiments() -> list[str]:
    """Names of all experiments, the user's last."""
    return [name for tutorial in tutorials() for name in tutorial.experiments()]


def check_experiment(experiment: str, culprit: str) -> str:
    """Return the name. Raises ConfigError beginning with the culprit, where the name is written, if
    there is no such experiment."""
    if experiment not in (names := experiments()):
        given = f"{culprit}: {experiment}"
        raise ConfigError(f"{given}: no such experiment; {allowed(experiment, names)}")
    return experiment


def ready_sweeps() -> list[str]:
    """Names of all ready sweeps, the user's last."""
    return [name for tutorial in tutorials() for name in tutorial.sweeps()]


def conf_folders() -> list[Path]:
    """The ``conf/`` folders, the package's first."""
    return list(dict.fromkeys([CONF, *(tutorial.conf for tutorial in tutorials())]))


def group_names(group: str) -> list[str]:
    """Names that a group of ``conf/`` offers ("optimizer": "adam", ...), the user's last."""
    if group == "experiment":
        return experiments()
    folders = [conf / group for conf in conf_folders()]
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.yaml"))]
    return [str(file.relative_to(folder).with_suffix("")) for folder, file in files]


def load_targets() -> None:
    """Register the targets of every tutorial. Raises ConfigError if an import fails."""
    for tutorial in tutorials():
        tutorial.module("targets")


@dataclass(frozen=True)
class ReadySweep:
    """Swept values, question and figure of a sweep, read from ``conf/sweep/<name>.yaml``."""

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
        settings = load_yaml(file)["hydra"]
        params = {key: str(value) for key, value in settings["sweeper"]["params"].items()}
        return ReadySweep(name, params, **settings["callbacks"]["experiments"])
