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

    if sys.argv[1:2] == ["help"]:
        sys.argv[1] = "--help"
    named = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if named is not None:
        del sys.argv[1]
    module, _, function = (named or "commands.train:main").partition(":")
    if named is not None and {"--help", "-h"} & {*sys.argv[1:]}:
        part = importlib.import_module(f"mlpfit.{module}")
        print(inspect.getdoc(getattr(part, function)) or inspect.getdoc(part))
        return
    # Imported by the command itself: what it imports finds the environment that a command needs.
    run_command(lambda: getattr(importlib.import_module(f"mlpfit.{module}"), function)())


if __name__ == "__main__":
    main()
