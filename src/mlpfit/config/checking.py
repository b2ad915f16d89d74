"""Validation of plain data as a dataclass by pydantic, with errors of one line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mlpfit.errors import ConfigError, UnknownKey, as_config_error, check_texts, naming
from mlpfit.files import MAX_VALUES, plain_yaml, read_file

MAX_YAML = 2**26  # bytes of a file
UNKNOWN_KEY = "unexpected_keyword_argument"  # pydantic's name of this error
SHOULD = "Input should be "


class Section:
    """Base of validated dataclasses: no unknown keys, no conversions of type, finite numbers."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    with as_config_error(f"{kind.__name__}: a key's type can't be checked"):
        return TypeAdapter(kind)


def validate(kind: Any, plain: Mapping[str, Any], prefix: str = "") -> Any:
    """Plain data as a dataclass of this kind. Raises ConfigError that names prefix and key."""
    check_texts(plain, prefix.rstrip("."))
    try:
        return _adapter(kind).validate_json(json.dumps(plain, default=str))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    unknown = [e for e in errors if e["type"] == UNKNOWN_KEY]
    first = (unknown or errors)[0]  # a misspelt key is also missing under its right name
    if isinstance(cause := first.get("ctx", {}).get("error"), ConfigError):
        raise cause
    if first["type"] == UNKNOWN_KEY:
        raise _unknown_key(kind, first["loc"], unknown, plain, prefix)
    raise ConfigError(_message(first, errors, plain, prefix))


def read_yaml(kind: Any, file: Path) -> Any:
    """A YAML file as a dataclass of this kind. Raises ConfigError that names file and key."""
    plain = load_yaml(file)
    with as_config_error(str(file)), naming(str(file)):
        return validate(kind, {} if plain is None else plain)


def load_yaml(file: Path, limit: int = MAX_VALUES) -> Any:
    """Plain values of a YAML file, in UTF-8 whatever the locale. Raises ConfigError that names the
    file if it is a folder, a pipe, no YAML, or refers to itself."""
    try:
        return plain_yaml(read_file(file, MAX_YAML), limit)
    except OSError as error:
        problem = "is a folder" if file.is_dir() else error.strerror
        raise ConfigError(f"{file}: {problem}; it must be a YAML file") from None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _unknown_key(
    kind: Any, location: Sequence[Any], unknown: Sequence[Any], plain: Any, prefix: str
) -> UnknownKey:
    """The error of an unknown key, with the keys of the dataclass that it was given to."""
    key, _, section, _ = _locate(location, plain)
    given = {*section} - {error["loc"][-1] for error in unknown}
    sections = (names for names in _field_names(kind) if given <= {*names})
    above = (prefix + key).rpartition(".")[0]
    names = (f"{above}.{name}".lstrip(".") for name in next(sections, []))
    return UnknownKey(prefix + key, names)


def _locate(location: Sequence[Any], plain: Any) -> tuple[str, Any, Any, int]:
    """Key, value, parent and depth of what pydantic's location points at; in it, types and tags of
    unions stand between the keys."""
    value, parent, key, depth = plain, plain, "", 0
    for place, part in enumerate(location, start=1):
        keys = range(len(value)) if isinstance(value, list) else value
        if isinstance(value, dict | list) and part in keys:
            parent, value, depth = value, value[part], place
            key += f"[{part}]" if isinstance(part, int) else f".{part}"
    return key.lstrip("."), value, parent, depth


def _message(first: Any, errors: Sequence[Any], plain: Any, prefix: str) -> str:
    """pydantic's error as "key=value: must be ..."."""
    key, value, _, depth = _locate(first["loc"], plain)
    key = prefix + key
    given = f"{key}={value if _is_plainly_text(value) else json.dumps(value)}"
    if first["type"] == "union_tag_invalid":
        tag = first["ctx"]
        name = tag["discriminator"].strip("'")
        return f"{key}.{name}={tag['tag']}: allowed are {tag['expected_tags']}"
    if first["type"] == "missing":
        missing_key = f"{key.rstrip('.')}.{first['loc'][-1]}".lstrip(".")
        return f"{given}: too short" if isinstance(value, list) else f"{missing_key}: missing"
    if value == "???":  # OmegaConf's mark of a mandatory value
        return f"{key}: missing; give it a value"
    messages = [e["msg"] for e in errors if e["loc"][:depth] == first["loc"][:depth]]
    choices = dict.fromkeys(message.removeprefix(SHOULD) for message in messages)
    return f"{given}: must be {' or '.join(choices)}".replace("a valid tuple", "a list")


def _is_plainly_text(value: Any) -> bool:
    """Whether it is a text that nobody would take for a number, a list, true, false or null."""
    try:
        json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return isinstance(value, str)
    return False


def _field_names(kind: Any) -> Iterator[list[str]]:
    """Of this dataclass and those within its fields."""
    if is_dataclass(kind):
        yield [field.name for field in fields(kind)]
        for inner in get_type_hints(kind).values():
            yield from _field_names(inner)
    for inner in get_args(kind):
        yield from _field_names(inner)
