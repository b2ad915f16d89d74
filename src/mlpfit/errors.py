"""Errors reported to the user in one line, each with its exit code, and their wording."""

import errno
import re
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

TUTORIAL_FILES = (  # written by users
    *("targets.py", "figures.py", "claims.py", "quantities.py", "answers.py"),
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk: nobody's code is at fault
LONGEST = 1000  # characters of a message
MAX_NAMES = 12  # that a message lists; of more, those similar to the given one, or the first


class ConfigError(ValueError):
    """Wrong input, exit code 2. The message has the key, the given value and what is allowed."""


class UnknownKey(ConfigError):
    """A key that does not exist; where: what lacks it, " of adam"."""

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


def shortened(text: str) -> str:
    """A message of at most about a thousand characters, without its middle if it is longer."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST * 3 // 4]} ... {text[-LONGEST // 4 :]}"


def printable(text: object) -> str:
    """Text that is not ours, for a terminal or a log: characters that control it are escaped."""
    return "".join(c if not _controls(c) else ascii(c)[1:-1] for c in str(text))


def check_text(text: str, culprit: str) -> str:
    """Return a text that was read from a file or a command. Raises ConfigError if it has characters
    that control a terminal, turn the direction of writing or are no text in UTF-8."""
    if wrong := next((c for c in text if _controls(c) and c not in "\n\t"), None):
        at = f"character {text.index(wrong) + 1} of {len(text)}"
        raise ConfigError(f"{printable(culprit)}: {at} is {ascii(wrong)[1:-1]}, which is not text")
    return text


def check_texts(value: object, culprit: str) -> None:
    """:func:`check_text` for all texts in nested lists and dicts, and their keys."""
    if isinstance(value, str):
        check_text(value, culprit)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_texts(key, culprit)
            check_texts(item, f"{culprit}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            check_texts(item, culprit)


def _controls(character: str) -> bool:
    """Whether it is a control character, a lone surrogate, or turns the direction of writing."""
    turns = unicodedata.bidirectional(character) in _TURNING
    return turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def one_line(error: BaseException) -> str:
    """Type and message of an error on one line; without a message, the line that raised it."""
    if not str(error).strip() and (frames := traceback.extract_tb(error.__traceback__)):
        place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line}"
        return f"{type(error).__name__} ({place})"
    if isinstance(error, OSError) and error.errno in FULL:
        return about_file(error)
    return " ".join(f"{type(error).__name__}: {error}".split())


def about_file(error: OSError) -> str:
    """Its file, and what is wrong with it."""
    return f"{error.filename or 'a file or standard output'}: {error.strerror or error}"


def allowed(given: object, names: Iterable[str]) -> str:
    """End of a message about a given name that is not one of these, with the most similar one.

    >>> allowed("lrr", ["lr", "momentum"])
    'did you mean lr? allowed are lr, momentum'
    """
    names = [name for name in names if name != str(given)]
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
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise ConfigError(f"{culprit}: {one_line(error)}{_line_of(error)}") from error


@contextmanager
def naming(culprit: str) -> Iterator[None]:
    """Begin the message of a ConfigError or RunError with the culprit."""
    try:
        yield
    except (ConfigError, RunError) as error:
        kind = ConfigError if isinstance(error, ConfigError) else RunError
        raise kind(f"{culprit}: {error}") from error


def _line_of(error: BaseException) -> str:
    """File and line of the user's code that raised it, " (figures.py, line 17)", or ""."""
    package = Path(__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        ours = package in file.parents and package / "tutorials" not in file.parents
        if file.name in TUTORIAL_FILES and not ours:
            return f" ({file.name}, line {frame.lineno})"
    return ""
