"""Extensions of Hydra: sources of YAML, and resolvers that name folders.

They are registered in this process only, not as plugins of other Hydra applications.
"""

import builtins
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from mlpfit.config.catalogue import conf_folders, group_names
from mlpfit.config.checking import load_yaml
from mlpfit.config.schema import keys_deciding
from mlpfit.errors import ConfigError, check_texts

MAX_VALUES = 10**5  # of a file; OmegaConf takes a tenth of a millisecond for each
NESTED = ("experiment", "sweep")  # groups whose files are in a folder of their tutorial


_read: ContextVar[list[str] | None] = ContextVar("files read", default=None)


@contextmanager
def noting_files() -> Iterator[list[str]]:
    """Yield a list to which the path of every file of ``conf/`` that is read inside is added."""
    files: list[str] = []
    token = _read.set(files)
    try:
        yield files
    finally:
        _read.reset(token)


class ConfSource(FileConfigSource):
    """A folder of YAML. Experiments and ready sweeps are listed as "tutorial/name" for completion,
    ``glob`` and Hydra's messages."""

    @staticmethod
    def scheme() -> str:
        return "mlpfit"

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        if config_path in NESTED:
            return [] if results_filter == ObjectType.GROUP else group_names(config_path)
        names = super().list(config_path, results_filter)
        if results_filter != ObjectType.GROUP and self._is_packages:
            names = sorted({*names, *_names_of_torch(config_path)})
        return names

    @property
    def _is_packages(self) -> bool:
        return Path(self.path) == conf_folders()[0]

    def is_config(self, config_path: str) -> bool:
        """Also without a file for the optimisers and schedulers of torch, with all their arguments
        as keys: ``scheduler=StepLR scheduler.step_size=30``."""
        if super().is_config(config_path):
            return True
        return self._is_packages and _of_torch(config_path) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        """Raises ConfigError for a file that is not plain YAML in UTF-8, and for a user's
        experiment or sweep that lacks its first line."""
        file = Path(self.path, self._normalize_file_name(config_path))
        if self._is_packages and not file.exists() and (values := _of_torch(config_path)):
            where, config = f"{self.scheme()}://{self.path}", OmegaConf.create(values)
            return ConfigResult(
                config=config, path=where, provider=self.provider, header={"package": None}
            )
        if (files := _read.get()) is not None:
            files.append(str(file))
        plain = load_yaml(file, MAX_VALUES)  # plain values, in UTF-8 whatever the locale
        check_texts(plain, str(file))
        text = file.read_text("utf-8-sig")
        header = self._get_header_dict(text[:512])
        result = ConfigResult(
            config=deepcopy(_parsed(text)),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header=header,
        )
        group = Path(config_path).parts[0]
        if group == "experiment":
            _choose_by_name(result.config)
        headed = result.header.get("package") == "_global_"
        if not self._is_packages and group in NESTED and not headed:
            missing = "must begin with the line # @package _global_"
            raise ConfigError(f"{self.path}/{config_path}: {missing}")
        return result


@cache
def _parsed(text: str) -> Any:
    """YAML as OmegaConf reads it: it knows 1e-3, refuses double keys, and takes ten milliseconds,
    and Hydra reads every file several times."""
    return OmegaConf.load(StringIO(text))


def _of_torch(config_path: str) -> dict[str, Any] | None:
    """The values that a file of conf/optimizer or conf/scheduler would have for this name of torch;
    None if there is no such name."""
    group, _, name = config_path.removesuffix(".yaml").partition("/")
    if group not in ("optimizer", "scheduler") or not name:
        return None
    from mlpfit.model import optimizers, schedulers  # here, since they import torch

    return {"optimizer": optimizers, "scheduler": schedulers}[group].described(name)


def _names_of_torch(group: str) -> Sequence[str]:
    if group == "optimizer":
        from mlpfit.model.optimizers import OPTIMIZERS

        return list(OPTIMIZERS)
    if group == "scheduler":
        from mlpfit.model.schedulers import SCHEDULERS

        return list(SCHEDULERS)
    return []


def _choose_by_name(config: Any) -> None:
    """Let an experiment's ``optimizer: {name: rmsprop, lr: 0.01}`` mean what ``override
    /optimizer: rmsprop`` and ``optimizer: {lr: 0.01}`` do, so that a command can choose another;
    the same of a scheduler. A class of its own takes no other's arguments."""
    for group in ("optimizer", "scheduler"):
        value = config.get(group) if isinstance(config, DictConfig) else None
        name = value.get("name") if isinstance(value, DictConfig) else value
        own = "." in str(name) or (isinstance(value, DictConfig) and "_target_" in value)
        if name is None and not own:
            continue
        defaults = list(config.get("defaults") or [])
        if any(f"override /{group}" in entry for entry in defaults if not isinstance(entry, str)):
            continue
        config["defaults"] = [*defaults, {f"override /{group}": None if own else str(name)}]
        if own and not isinstance(value, DictConfig):
            config[group] = {"name": name}
        elif not own and isinstance(value, DictConfig):
            del value["name"]
        elif not own:
            del config[group]


class SearchPath(SearchPathPlugin):
    """The package's ``conf/`` and those of the user's tutorials."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for conf in conf_folders():
            search_path.append("mlpfit", f"mlpfit://{conf}")


@cache
def register_with_hydra() -> None:
    """Register source, search path and resolvers, once per process.

    Hydra copies its sources before it composes, and with them the store of all structured configs,
    which is a singleton, copies what it is asked for, and takes an eighth of the time: it is left
    out.
    """
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    SourcesRegistry.instance().register(ConfSource)
    Plugins.instance().register(SearchPath)
    for resolver in (kind_of_run, sweep_folder, job_folder):
        OmegaConf.register_new_resolver(resolver.__name__, resolver)


def kind_of_run(replicas: int, seeds: Sequence[int] | None) -> str:
    """The folder under output_dir: "runs" for one replica, else "ensembles"."""
    return "runs" if (replicas if seeds is None else len(seeds)) == 1 else "ensembles"


def sweep_folder(
    overrides: Sequence[str],
    chosen: Mapping[str, str | None],
    params: Mapping[str, str] | None = None,
) -> str:
    """A sweep's folder, named by swept keys, or the ready sweep, and fixed overrides:
    "tower/small/optimizer.lr,replicas=64", "parabola/learning_rate"; params: the sweeper's."""
    if not chosen.get("sweep"):  # which has its own
        keys = {str(override).partition("=")[0] for override in overrides}
        more = {key: value for key, value in (params or {}).items() if key not in keys}
        overrides = [*overrides, *(f"{key}={value}" for key, value in more.items())]
    swept, fixed, experiment = [], [], chosen.get("experiment") or "all"
    searching, space = chosen.get("hydra/sweeper") == "optuna", []
    for override in OverridesParser.create().parse_overrides([str(o) for o in overrides]):
        key = override.get_key_element()
        if override.is_sweep_override():
            swept.append(key)
            space.append(str(override.input_line))
            if key == "experiment":
                experiment = (re.findall(r"(\w+)/", override.input_line or "") or ["all"])[0]
        elif searching and key == "metric":
            space.append(str(override.input_line))
        elif not key.startswith((*incidental_keys(), "experiment", "sweep")):
            fixed.append(f"{key}={override.get_value_element_as_str()}")
    if searching:  # searches of different spaces get different folders
        digest = hashlib.sha256("|".join(sorted(space)).encode()).hexdigest()[:8]
        fixed.append(f"search-{digest}")
    if ready := chosen.get("sweep"):
        owner, _, name = ready.rpartition("/")
        return f"{owner}/{folder_name([name, *swept, *sorted(fixed)])}"
    return f"{experiment}/{folder_name(['+'.join(swept) or 'one', *sorted(fixed)])}"


def job_folder(overrides: Sequence[str], name: str) -> str:
    """A job's folder, named by experiment and overrides: "small,optimizer.lr=0.01,replicas=64"."""
    return folder_name([name.rpartition("/")[2], *result_overrides(overrides)])


def result_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides that change results, sorted, without experiment and sweep."""
    return sorted(
        str(o)
        for o in overrides
        if not str(o).startswith((*incidental_keys(), "experiment=", "sweep="))
    )


def incidental_keys() -> tuple[str, ...]:
    """Beginnings of keys that change how or where a result is computed, but not the result."""
    return (*keys_deciding("nothing"), "hydra")


def multirun_overrides(loader: Any, master: DictConfig) -> list[Override]:
    """Parsed overrides of a multirun's command and its sweeper's params, the last of each key."""
    params = master.hydra.sweeper.get("params") or {}
    texts = [*(f"{k}={v}" for k, v in params.items()), *map(str, master.hydra.overrides.task)]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    return list({override.get_key_element(): override for override in parsed}.values())


def folder_name(parts: Sequence[str]) -> str:
    """The parts joined as a file name; if that is long or has special characters (a slash, a
    shell's wildcards), shortened and with a hash."""
    name = ",".join(parts)
    safe = re.sub(r"[^\w.=,+-]", "_", name)[:120]
    return name if name == safe else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
