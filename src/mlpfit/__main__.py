"""mlpfit [command] ...: train (the default), reproduce, ensembles, sweep, ledger, report, ..."""

import importlib
import inspect
import sys

COMMANDS = {
    "reproduce": "commands.reproduce:main",
    "ensembles": "commands.ensembles:main",
    "verify": "commands.verify:main",
    "figures": "commands.evidence:figures",
    "sweep": "commands.evidence:sweep",
    "ledger": "commands.evidence:ledger",
    "report": "commands.evidence:report",
    "playground": "commands.evidence:playground",
    "tensorboard": "commands.evidence:tensorboard",
}


def main() -> None:
    """Run the command named first; without one, train."""
    from mlpfit.process import run_command

    given = sys.argv[1] if sys.argv[1:] else ""
    if given == "help":
        sys.argv[1] = given = "--help"
    named = COMMANDS.get(given)
    if named is not None:
        del sys.argv[1]
    elif given.isalpha():  # neither a flag nor an override
        run_command(lambda: _refuse(given))
    module, _, function = (named or "commands.train:main").partition(":")
    if named is not None and {"--help", "-h"} & {*sys.argv[1:]}:
        part = importlib.import_module(f"mlpfit.{module}")
        print(inspect.getdoc(getattr(part, function)) or inspect.getdoc(part))
        return
    # Imported by the command itself: what it imports finds the environment that a command needs.
    run_command(lambda: getattr(importlib.import_module(f"mlpfit.{module}"), function)())


def _refuse(given: str) -> int:
    from mlpfit.errors import ConfigError, allowed

    raise ConfigError(f"{given}: no such command; {allowed(given, COMMANDS)}")


if __name__ == "__main__":
    main()
