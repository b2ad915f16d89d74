"""Plain data, as YAML and the command line give it, into dataclasses whose annotations say what is
allowed."""

import dataclasses
import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mlpfit.config.ranges import AtLeast
from mlpfit.errors import ConfigError

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_FINITE = AtLeast(float("-inf"))


def build(kind: type, value: Mapping[str, Any], path: str, advice: str = "") -> Any:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    for key in value:
        if key not in names:
            allowed = ", ".join(path + name for name in names)
            raise ConfigError(f"{path}{shown(key)}: no such key; allowed are {allowed}{advice}")
    for name in names:
        if name not in value:
            raise ConfigError(f"{path}{name}: missing")
    return kind(**{name: value_of(hints[name], value[name], path + name) for name in names})


def value_of(hint: Any, value: Any, key: str) -> Any:
    """The value as the hinted type. Raises ConfigError if it is of another type or out of range."""
    refused = f"{key}={shown(value)}"
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(f"{refused}: has too many digits; must be {words_of(hint)}, below 2^63")
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, key + ".")  # type: ignore[arg-type]
    if get_origin(hint) in (Union, types.UnionType):
        return _union(hint, value, key)
    if get_origin(hint) is Annotated:
        base, allowed = get_args(hint)
        number = value_of(base, value, key)
        if number not in allowed:
            raise ConfigError(f"{refused}: must be {allowed}")
        return number
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{refused}: allowed are {words_of(hint)}")
        return value
    if get_origin(hint) is tuple:
        return _tuple(hint, value, key)
    if hint not in WORDS and not dataclasses.is_dataclass(hint):
        raise ConfigError(
            f"{key}: no type for a key: {hint}; allowed are {', '.join(t.__name__ for t in WORDS)}, tuple"
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{refused}: must be {words_of(hint)}")
    if hint is float and value not in _FINITE:
        raise ConfigError(f"{refused}: must be a finite number")
    if hint is str and re.search("[\0\ud800-\udfff]", value):
        raise ConfigError(
            f"{refused}: must be a text that a file can hold, without NUL or halves of characters"
        )
    return value


def words_of(hint: Any) -> str:
    """What a value of the hinted type is."""
    if hint is type(None):
        return "null"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(words_of, get_args(hint)))
    if get_origin(hint) is Annotated:
        return " ".join(f"{words_of(get_args(hint)[0])} {get_args(hint)[1]}".split())
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    return "a list of numbers" if get_origin(hint) is tuple else WORDS.get(hint, "a group of keys")


def shown(value: Any) -> str:
    """As a message has it: one line, not too long."""
    try:
        text = str(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "(thousands of digits)"
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else f"{text[:40]}... ({len(text)} characters)"


def _union(hint: Any, value: Any, key: str) -> Any:
    options = [option for option in get_args(hint) if option is not type(None)]
    null = len(options) < len(get_args(hint))
    if null and value is None:
        return None
    for option in options:
        try:
            return value_of(option, value, key)
        except ConfigError as error:
            if len(options) == 1:
                raise ConfigError(f"{error} (or null)") from None
    raise ConfigError(f"{key}={shown(value)}: must be {words_of(hint)}")


def _tuple(hint: Any, value: Any, key: str) -> tuple[Any, ...]:
    items = get_args(hint)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{key}={shown(value)}: must be a list of numbers")
    if items[-1] is ...:
        items = items[:1] * len(value)
    if len(value) != len(items) or not items:
        raise ConfigError(
            f"{key}={shown(list(value))}: must be a list of {len(items) or 'one or more'} numbers"
        )
    return tuple(
        value_of(item, v, f"{key}[{i}]")
        for i, (item, v) in enumerate(zip(items, value, strict=True))
    )
