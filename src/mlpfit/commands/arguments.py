"""The parser of all commands but training, whose arguments are Hydra's."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from mlpfit.errors import ConfigError, allowed


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line. ``Parser("ledger", "Judge ...")`` is of ``mlpfit ledger``;
    the description stands in its --help."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"mlpfit {command}", description=description, allow_abbrev=False)

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Raises ConfigError for an argument that the command does not take."""
        given = sys.argv[1:] if arguments is None else arguments
        options, rest = self.parse_known_args(given)
        unknown = [argument for argument in rest if argument.startswith("-")] or rest
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            hint = allowed(unknown[0], known) if unknown[0].startswith("-") else "it takes no more"
            raise ConfigError(f"{unknown[0]}: not an argument of {self.prog}; {hint}")
        return options

    def add_names(self, what: str, **options: Any) -> None:
        """Any number of names as positional arguments; what: they name, for the help."""
        self.add_argument("names", nargs="*", metavar=what, **options)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")
