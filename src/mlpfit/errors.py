"""What the user is told in one line: wrong input (exit code 2), a failed run (1), a signal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class ConfigError(ValueError):
    """A config value that is not allowed; the message names the key, the value given and what is
    allowed (exit 2)."""


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
    'allowed are lr, momentum; did you mean lr?'
    """
    names = list(names)
    if not names:
        return "there are none"
    near = get_close_matches(str(given), names, n=1)
    return f"allowed are {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else "")


@contextmanager
def as_config_error(culprit: str) -> Iterator[None]:
    """Whatever the user's own code raises, as a ConfigError in one line that names the culprit; its
    exits, too, but not those of a signal."""
    try:
        yield
    except (ConfigError, RunError, Stopped):
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{culprit}: {one_line(error)}") from error
