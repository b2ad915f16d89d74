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
    "clean": "commands.clean:main",
}


def main() -> None:
    """Run the command that the first argument names; train if it names none."""
    from mlpfit.process import run_command

    argument = sys.argv[1] if sys.argv[1:] else ""
    if argument == "help":
        sys.argv[1] = argument = "--help"
    entry_point = COMMANDS.get(argument)
    if entry_point is not None:
        del sys.argv[1]
    elif argument.isalpha():  # neither a flag nor an override
        run_command(lambda: _refuse(argument))
    module_name, _, function = (entry_point or "commands.train:main").partition(":")
    if entry_point is not None and {"--help", "-h"} & {*sys.argv[1:]}:
        module = importlib.import_module(f"mlpfit.{module_name}")
        print(inspect.getdoc(getattr(module, function)) or inspect.getdoc(module))
        return
    # Imported inside run_command, which first sets the environment that the imports read.
    run_command(lambda: getattr(importlib.import_module(f"mlpfit.{module_name}"), function)())


def _refuse(argument: str) -> int:
    from mlpfit.errors import ConfigError, allowed

    raise ConfigError(f"{argument}: no such command; {allowed(argument, COMMANDS)}")


if __name__ == "__main__":
    main()
