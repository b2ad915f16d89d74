"""What Hydra needs to know before it composes: where the YAML lies, and how folders are named.

It is registered in this process alone; other Hydra applications are left as they are.
"""

import builtins
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from mlpfit.config.catalogue import choices, confs
from mlpfit.errors import ConfigError

NESTED = ("experiment", "sweep")  # groups whose choices are named tutorial/...
# Keys that say how something is computed, not what.
NOT_DECIDING = ("output_dir", "force", "ensemble.processes", "ensemble.only", "metric", "hydra")


class Conf(FileConfigSource):
    """A folder of YAML whose experiments and ready sweeps are listed as "tutorial/name", so that
    completion, ``glob`` and Hydra's messages name them."""

    @staticmethod
    def scheme() -> str:
        return "mlpfit"

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        if config_path in NESTED:
            return [] if results_filter == ObjectType.GROUP else choices(config_path)
        return super().list(config_path, results_filter)

    def load_config(self, config_path: str) -> ConfigResult:
        """Raises ConfigError for a user's file that would have Hydra call something: ``_target_``
        is for callbacks and loggers, which are checked before they are made."""
        result = super().load_config(config_path)
        if Path(self.path) != confs()[0]:  # the package's own
            group = Path(config_path).parts[0]
            if group in NESTED and result.header.get("package") != "_global_":
                missing = "must begin with the line # @package _global_"
                raise ConfigError(f"{self.path}/{config_path}: {missing}")
            package = result.header.get("package") or Path(config_path).parent.as_posix()
            package = package.removeprefix("_global_").replace("/", ".")
            for key in _targets(OmegaConf.to_container(result.config), package):
                if not key.startswith(("callbacks.", "logger.")):
                    raise ConfigError(
                        f"{self.path}/{config_path}: {key}: _target_ is for callbacks and loggers "
                        "only; name classes of Hydra's own on the command line"
                    )
        return result


def _targets(content: Any, at: str) -> Iterator[str]:
    """The keys below which there is a ``_target_``."""
    if isinstance(content, dict):
        if "_target_" in content:
            yield at
        for key, value in content.items():
            yield from _targets(value, f"{at}.{key}".lstrip("."))
    if isinstance(content, list):
        for value in content:
            yield from _targets(value, at)


class SearchPath(SearchPathPlugin):
    """conf/ and those of the user's tutorials."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for conf in confs():
            search_path.append("mlpfit", f"mlpfit://{conf}")


@cache
def register_with_hydra() -> None:
    """Register sources, search path and resolvers, once a process."""
    SourcesRegistry.instance().register(Conf)
    Plugins.instance().register(SearchPath)
    for resolver in (kind_of_run, sweep_folder, job_folder):
        OmegaConf.register_new_resolver(resolver.__name__, resolver)


def kind_of_run(replicas: int, seeds: Sequence[int] | None) -> str:
    """The folder under output_dir: one replica is a run, several are an ensemble."""
    return "runs" if (replicas if seeds is None else len(seeds)) == 1 else "ensembles"


def sweep_folder(overrides: Sequence[str], chosen: Mapping[str, str | None]) -> str:
    """A sweep is named by its keys and by what is fixed; a ready one by its name and what else is
    given: "parabola/learning_rate", "tower/small/optimizer.lr,replicas=64"."""
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
        elif not key.startswith((*NOT_DECIDING, "experiment", "sweep")):
            fixed.append(f"{key}={override.get_value_element_as_str()}")
    if searching:  # another space is another search
        digest = hashlib.sha256("|".join(sorted(space)).encode()).hexdigest()[:8]
        fixed.append(f"search-{digest}")
    if ready := chosen.get("sweep"):
        owner, _, name = ready.rpartition("/")
        return f"{owner}/{folder_name([name, *swept, *sorted(fixed)])}"
    return f"{experiment}/{folder_name(['+'.join(swept) or 'one', *sorted(fixed)])}"


def job_folder(overrides: Sequence[str], name: str) -> str:
    """A job is named by its experiment and overrides: "small,optimizer.lr=0.01,replicas=64"."""
    return folder_name([name.rpartition("/")[2], *deciding(overrides)])


def deciding(overrides: Sequence[str]) -> list[str]:
    """The overrides that change results, sorted, without the experiment."""
    return sorted(
        str(o) for o in overrides if not str(o).startswith((*NOT_DECIDING, "experiment=", "sweep="))
    )


def overrides_of(loader: Any, master: DictConfig) -> list[Override]:
    """Of a multirun's command and its sweeper's params, parsed; of a key given twice, the last."""
    params = master.hydra.sweeper.get("params") or {}
    texts = [*(f"{k}={v}" for k, v in params.items()), *map(str, master.hydra.overrides.task)]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    return list({override.get_key_element(): override for override in parsed}.values())


def folder_name(parts: Sequence[str]) -> str:
    """The parts, readable; shortened and with a hash where they are long or hold what a file name
    should not (a slash, or brackets, which a shell reads as wildcards)."""
    name = ",".join(parts)
    safe = re.sub(r"[^\w.=,+-]", "_", name)[:120]
    return name if name == safe else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
