"""Errors reported to the user in one line, each with its exit code, and their wording."""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

TUTORIAL_FILES = ("targets.py", "figures.py", "claims.py", "answers.py")  # written by users
MAX_NAMES = 12  # that a message lists; of more, those similar to the given one, or the first


class ConfigError(ValueError):
    """Wrong input, exit code 2. The message has the key, the given value and what is allowed."""


class UnknownKey(ConfigError):
    """A key that does not exist; where: the files that may set it."""

    def __init__(self, key: str, names: Iterable[str], where: str = "") -> None:
        self.key, self.names = key, list(names)
        super().__init__(f"{key}{where}: no such key; {allowed(key, self.names)}")


class RunError(RuntimeError):
    """A failed training or an unusable run folder, exit code 1. The message says what to do."""


class Diverged(RunError):
    """The loss of a single run became infinite or NaN."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"diverged at step {step} (loss {loss}): try a smaller optimizer.lr")
        self.step = step


class Stopped(SystemExit):
    """The command was stopped by a signal; the exit code is 128 + its number."""


def one_line(error: BaseException) -> str:
    """Type and message of an error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def allowed(given: object, names: Iterable[str]) -> str:
    """End of a message about a given name that is not one of these, with the most similar one.

    >>> allowed("lrr", ["lr", "momentum"])
    'did you mean lr? allowed are lr, momentum'
    """
    names = list(names)
    if not names:
        return "there are none"
    tails = get_close_matches(_tail(str(given)), list(map(_tail, names)), n=3)
    near = get_close_matches(str(given), [n for n in names if _tail(n) in tails], n=3, cutoff=0)
    question = f"did you mean {near[0]}? " if near and len(names) > 1 else ""
    if len(names) > MAX_NAMES:
        shown = near or names[:MAX_NAMES]
        return f"{question}allowed are {', '.join(shown)} and {len(names) - len(shown)} others"
    return f"{question}allowed are {', '.join(names)}"


def check_name(key: str, given: object, names: Iterable[str]) -> None:
    """Raises ConfigError unless the value given for a key is one of these names."""
    if given not in (names := list(names)):
        raise ConfigError(f"{key}={given}: {allowed(given, names)}")


def _tail(name: str) -> str:
    """Last part of the name of a key or an experiment: "lr" of "optimizer.lr"."""
    return re.split("[./]", name)[-1]


@contextmanager
def as_config_error(culprit: str) -> Iterator[None]:
    """Turn any error or exit of the user's code into a ConfigError with the culprit, the error and
    the line of the user's file. Stopped passes unchanged."""
    try:
        yield
    except (ConfigError, RunError, Stopped):
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{culprit}: {one_line(error)}{_line_of(error)}") from error


@contextmanager
def naming(culprit: str) -> Iterator[None]:
    """Begin the message of a ConfigError with the culprit."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{culprit}: {error}") from error


def _line_of(error: BaseException) -> str:
    """File and line of the user's code that raised it, " (figures.py, line 17)", or ""."""
    package = Path(__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        ours = package in file.parents and package / "tutorials" not in file.parents
        if file.name in TUTORIAL_FILES and not ours:
            return f" ({file.name}, line {frame.lineno})"
    return ""
