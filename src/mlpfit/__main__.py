"""mlpfit [command] ...: train (the default), reproduce, ensembles, sweep, ledger, report, ..."""

import importlib
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
# Flags whose answer may be read by a program, so nothing else is printed.
ANSWERS = {
    *(
        "--help",
        "-h",
        "--hydra-help",
        "--version",
        "--cfg",
        "-c",
        "--info",
        "-i",
        "--package",
        "-p",
    ),
    *("--resolve", "--shell-completion", "-sc"),
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
    # Imported inside run_command, which first sets the environment that the imports read.
    run_command(lambda: _run(module_name, function))


def _run(module_name: str, function: str) -> int:
    from mlpfit.training.progress import start_pulse

    if not ANSWERS.intersection(part for a in sys.argv[1:] for part in (a, a.partition("=")[0])):
        start_pulse()
    return getattr(importlib.import_module(f"mlpfit.{module_name}"), function)()


def _refuse(argument: str) -> int:
    from mlpfit.errors import ConfigError, allowed

    raise ConfigError(f"{argument}: no such command; {allowed(argument, COMMANDS)}")


if __name__ == "__main__":
    main()
