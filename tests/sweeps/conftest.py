"""Commands as a user gives them, in this process."""

import sys

import pytest

from mlpfit.commands.train import main
from mlpfit.errors import ConfigError, RunError


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs ``mlpfit ...`` in this test's folder; gives the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)

    def give(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mlpfit", *arguments])
        try:
            code, message = main(), ""
        except SystemExit as error:
            code, message = error.code, ""
        except (ConfigError, RunError) as error:
            code, message = 2 if isinstance(error, ConfigError) else 1, str(error)
        printed = capsys.readouterr()
        return int(code or 0), printed.out + printed.err + message

    return give
