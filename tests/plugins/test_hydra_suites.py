"""Hydra's own suites for launchers, which it ships for plugins, pass with hydra/launcher=processes
as they do with basic."""

import pytest
from hydra.core.plugins import Plugins
from hydra.extra.pytest_plugin import hydra_restore_singletons, hydra_sweep_runner  # noqa: F401
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

LAUNCHERS = ["basic", "processes"]
pytestmark = [
    pytest.mark.slow,
    # Hydra's suites name no version_base.
    pytest.mark.filterwarnings("ignore:.*will no longer change working directory:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*version_base:UserWarning"),
]


def test_it_is_found():
    names = [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]
    assert "Processes" in names


@pytest.mark.parametrize("launcher_name, overrides", [(name, []) for name in LAUNCHERS])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    "launcher_name, overrides", [(name, ["hydra.sweeper.max_batch_size=2"]) for name in LAUNCHERS]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    "task_launcher_cfg, extra_flags", [({}, ["-m", f"hydra/launcher={name}"]) for name in LAUNCHERS]
)
class TestIntegration(IntegrationTestSuite):
    pass
