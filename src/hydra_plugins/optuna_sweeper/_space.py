"""The space of a search: Optuna's distributions of Hydra's sweep grammar, and back to overrides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Transformer,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

TAGS = {"log", "int"}
TYPES = {"int": IntDistribution, "float": FloatDistribution}


@dataclass
class Space:
    """distributions: key -> its distribution; texts: how a choice is written in an override, by key
    and choice; fixed: key -> override of all trials."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    texts: dict[tuple[str, Any], str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(overrides: Sequence[Override], search_space: Mapping[str, Any] | None = None) -> "Space":
        """The space of the overrides, the last of each key, which precede those of
        ``hydra.sweeper.search_space``. Raises ValueError."""
        space = Space({str(k): from_config(str(k), v) for k, v in (search_space or {}).items()})
        for override in overrides:
            key = override.get_key_element()
            space.distributions.pop(key, None)
            space.fixed.pop(key, None)
            if override.is_sweep_override():
                space.distributions[key], texts = from_override(override)
                space.texts |= {(key, choice): text for choice, text in texts.items()}
            else:
                space.fixed[key] = str(override.input_line)
        return space

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Overrides of the trial with these parameters."""
        chosen = [f"{key}={self.texts.get((key, v)) or written(v)}" for key, v in params.items()]
        return [*self.fixed.values(), *chosen]

    def grid(self) -> dict[str, list[Any]]:
        """All values of each key; of a range without its stop, as in a grid of Hydra's. Raises
        ValueError for an interval."""
        return {key: _values(key, values) for key, values in self.distributions.items()}


def written(value: Any) -> str:
    """A value as Hydra's grammar writes it: true, null, 0.5, or a string in quotes if need be."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
        if not parsed.is_sweep_override() and parsed.value() == value:
            return value
    except Exception:  # not in the grammar
        pass
    return QuotedString(value, Quote.single).with_quotes()


def from_override(override: Override) -> tuple[BaseDistribution, dict[Any, str]]:
    """Optuna's distribution of a swept key, and how each choice is written. A range includes its
    stop, as in hydra-optuna-sweeper. Raises ValueError."""
    value, line = override.value(), override.input_line
    tags = {str(tag) for tag in getattr(value, "tags", ())}
    if unknown := sorted(tags - TAGS):
        raise ValueError(f"{line}: tag {unknown[0]}: allowed are {', '.join(sorted(TAGS))}")
    log = "log" in tags
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            assert low is not None and high is not None  # required by the grammar
            if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
                return IntDistribution(int(low), int(high), log), {}
            return FloatDistribution(float(low), float(high), log), {}
        if isinstance(value, RangeSweep) and not value.shuffle:
            return _of_range(value, log), {}
        if hasattr(value, "shuffle"):
            value.shuffle = False  # the order of choices is of no importance to Optuna
        choices = [
            choice if isinstance(choice, str | int | float | bool | None) else text
            for choice, text in zip(
                override.sweep_iterator(transformer=Transformer.encode),
                override.sweep_string_iterator(),
                strict=True,
            )
        ]
        texts = dict(zip(choices, override.sweep_string_iterator(), strict=True))
        return CategoricalDistribution(choices), texts
    except (ValueError, TypeError) as error:
        raise ValueError(f"{line}: {error}") from error


def _of_range(value: RangeSweep, log: bool) -> BaseDistribution:
    points, step = list(value.range()), value.step
    if not points:
        raise ValueError("has no value")
    assert value.stop is not None  # required by the grammar
    if math.isclose(points[-1] + step, value.stop):
        points.append(value.stop)
    low, high, step = min(points), max(points), abs(step)
    if all(isinstance(number, int) for number in (low, high, step)):
        return IntDistribution(int(low), int(high), log, 1 if log else int(step))
    return FloatDistribution(float(low), float(high), log, None if log else float(step))


def from_config(key: str, config: Mapping[str, Any]) -> BaseDistribution:
    """Distribution of an entry of ``hydra.sweeper.search_space``: type (int, float or categorical),
    choices, low, high, log, step. Raises ValueError."""
    given = f"hydra.sweeper.search_space.{key}"
    plain = dict(config)
    kind = str(getattr(plain.get("type"), "name", plain.get("type")))
    if unknown := sorted({*plain} - {"type", "choices", "low", "high", "log", "step"}):
        raise ValueError(f"{given}.{unknown[0]}: allowed are type, choices, low, high, log, step")
    try:
        if kind == "categorical":
            return CategoricalDistribution(list(plain["choices"]))
        if kind not in TYPES:
            raise ValueError(f"type={kind}: allowed are int, float, categorical")
        number = int if kind == "int" else float
        options = {"log": bool(plain.get("log", False))}
        if plain.get("step") is not None:
            options["step"] = number(plain["step"])
        return TYPES[kind](number(plain["low"]), number(plain["high"]), **options)
    except KeyError as error:
        raise ValueError(f"{given}: {error.args[0]} is missing") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{given}: {error}") from error


def _values(key: str, values: BaseDistribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)
    if values.step is None or values.log:
        raise ValueError(f"{key}: an interval has no grid; give it choice(...) or range(...)")
    count = int((values.high - values.low) // values.step)
    return [values.low + k * values.step for k in range(count)]
