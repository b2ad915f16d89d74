"""What a search by Optuna is told: its settings, and the space, in Hydra's sweep grammar.

How it is run: see :mod:`mlpfit.sweeps.study`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, TypeAdapter

from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config, Count, Section, Seed, checked
from mlpfit.errors import ConfigError, users_code
from mlpfit.sweeps.launcher import without_hydra

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TAGS = {"log", "int"}


@dataclass(frozen=True)
class Settings(Section):
    """Of the sweeper, explained in ``conf/hydra/sweeper/optuna.yaml``."""

    n_trials: Count
    n_jobs: Annotated[int, Field(ge=1, le=10_000)]
    direction: Literal["minimize"]
    sampler: Literal["tpe", "random", "qmc", "gp"]
    seed: Seed
    storage: str | None
    study_name: str | None


@dataclass(frozen=True)
class Search:
    """What is searched, and where: the master config, and the overrides of the command and of the
    sweeper's params, parsed."""

    loader: Any
    master: DictConfig
    overrides: Sequence[Override]

    @cached_property
    def settings(self) -> Settings:
        plain: Any = OmegaConf.to_container(self.master.hydra.sweeper, resolve=True)
        own = {key: value for key, value in plain.items() if key not in ("_target_", "params")}
        settings: Settings = checked(TypeAdapter(Settings), own, "hydra.sweeper.")
        return settings

    @property
    def folder(self) -> Path:
        return Path(str(self.master.hydra.sweep.dir))

    @property
    def fixed(self) -> list[str]:
        """Overrides that every trial has."""
        return [
            f"{o.get_key_element()}={o.get_value_element_as_str()}"
            for o in self.overrides
            if not o.is_sweep_override()
        ]

    @cached_property
    def space(self) -> dict[str, "BaseDistribution"]:
        swept = [o for o in self.overrides if o.is_sweep_override()]
        return {o.get_key_element(): distribution(o) for o in swept}

    @cached_property
    def config(self) -> Config:
        """That of a trial at one corner of the space."""
        return self.composed({key: ends(d)[0] for key, d in self.space.items()})

    def composed(self, params: Mapping[str, Any]) -> Config:
        overrides = self.arguments(params)
        return checked_config(without_hydra(self.loader.load_sweep_config(self.master, overrides)))

    def arguments(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.space)]


def searched(loader: Any, master: DictConfig) -> Search:
    """The search of a command. Of a key given twice, the last counts."""
    params = master.hydra.sweeper.get("params") or {}
    given = [*(f"{k}={v}" for k, v in params.items()), *map(str, master.hydra.overrides.task)]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    return Search(loader, master, list({o.get_key_element(): o for o in parsed}.values()))


def check(search: Search) -> None:
    """Raises ConfigError for what can't be searched: settings, space, or a value at its ends."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "hydra/sweeper=optuna: Optuna is not installed; pip install 'mlpfit[optuna]'"
        ) from None
    if not search.space:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give a key several values, such as "
            "'optimizer.lr=tag(log,interval(0.001,0.1))'"
        )
    first = {key: ends(d)[0] for key, d in search.space.items()}
    for key, values in search.space.items():
        for value in ends(values):
            search.composed(first | {key: value})
    if search.settings.storage is not None:
        from mlpfit.sweeps.study import opened

        opened(search)


def distribution(override: Override) -> "BaseDistribution":
    """What Optuna draws from for a key. Raises ConfigError."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value, line = override.value(), override.input_line
    tags = set(getattr(value, "tags", ()))
    if unknown := tags - TAGS:
        raise ConfigError(f"{line}: tag {sorted(unknown)[0]}: allowed are {', '.join(TAGS)}")
    with users_code(f"{line}"):
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            assert low is not None and high is not None  # the grammar has both
            if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
                return IntDistribution(int(low), int(high), log="log" in tags)
            return FloatDistribution(float(low), float(high), log="log" in tags)
        if isinstance(value, RangeSweep):
            points, step = sorted(value.range()), abs(value.step)
            if all(isinstance(point, int) for point in points):
                return IntDistribution(points[0], points[-1], "log" in tags, int(step))
            return FloatDistribution(points[0], points[-1], "log" in tags, float(step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))


def ends(values: "BaseDistribution") -> Sequence[Any]:
    """All choices, or the least and the largest value."""
    choices = getattr(values, "choices", None)
    return choices if choices is not None else (values.low, values.high)  # type: ignore[attr-defined]
