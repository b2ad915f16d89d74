"""What the user is told in one line: wrong input (exit code 2), a failed run (1), a signal."""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

TUTORIAL_FILES = ("targets.py", "figures.py", "claims.py", "answers.py")  # of users' code
SEVERAL = 12  # names that a message lists; of more, those that are like the one given


class ConfigError(ValueError):
    """A config value that is not allowed; the message names the key, the value given and what is
    allowed (exit 2)."""


class UnknownKey(ConfigError):
    """A key that there is not; ``where`` it was found, if that is not plain to see."""

    def __init__(self, key: str, names: Iterable[str], where: str = "") -> None:
        self.key, self.names = key, list(names)
        super().__init__(f"{key}{where}: no such key; {allowed(key, self.names)}")


class RunError(RuntimeError):
    """A training or a run folder that can't be used; the message names it and what to do (exit
    1)."""


class Diverged(RunError):
    """The loss of a single run became infinite or NaN."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"diverged at step {step} (loss {loss}): try a smaller optimizer.lr")
        self.step = step


class Stopped(SystemExit):
    """A signal has asked the command to stop; the exit code is 128 and its number."""


def one_line(error: BaseException) -> str:
    """What went wrong, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def allowed(given: object, names: Iterable[str]) -> str:
    """The end of a message about a name that is none of these.

    >>> allowed("lrr", ["lr", "momentum"])
    'did you mean lr? allowed are lr, momentum'
    """
    names = list(names)
    if not names:
        return "there are none"
    tails = get_close_matches(_tail(str(given)), list(map(_tail, names)), n=3)
    near = get_close_matches(str(given), [n for n in names if _tail(n) in tails], n=3, cutoff=0)
    question = f"did you mean {near[0]}? " if near and len(names) > 1 else ""
    if len(names) > SEVERAL:
        shown = near or names[:SEVERAL]
        return f"{question}allowed are {', '.join(shown)} and {len(names) - len(shown)} others"
    return f"{question}allowed are {', '.join(names)}"


def _tail(name: str) -> str:
    """Of a key or an experiment: "lr" of "optimizer.lr"."""
    return re.split("[./]", name)[-1]


@contextmanager
def as_config_error(culprit: str) -> Iterator[None]:
    """Whatever the user's own code raises, as a ConfigError in one line that names the culprit and
    the line of the user's file; its exits, too, but not those of a signal."""
    try:
        yield
    except (ConfigError, RunError, Stopped):
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{culprit}: {one_line(error)}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where a tutorial's file raised it: " (figures.py, line 17)"."""
    package = Path(__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        ours = package in file.parents and package / "tutorials" not in file.parents
        if file.name in TUTORIAL_FILES and not ours:
            return f" ({file.name}, line {frame.lineno})"
    return ""
