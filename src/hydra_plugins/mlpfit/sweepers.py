"""hydra/sweeper=optuna and =shards: see :mod:`mlpfit.sweeps.search`, :mod:`mlpfit.sweeps.shards`.
They are imported when used, since Hydra imports every plugin when it starts."""

import importlib
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LaunchingSweeper(Sweeper):
    """Base of sweepers that call ``sweep`` of their module in ``mlpfit.sweeps``, which reads and
    checks the settings of ``conf/hydra/sweeper/``."""

    module: str

    def __init__(self, **settings: Any) -> None:
        pass

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.function, config=self.config
        )
        module = importlib.import_module(f"mlpfit.sweeps.{self.module}")
        return module.sweep(launcher, self.context.config_loader, self.config, arguments)


class Optuna(LaunchingSweeper):
    module = "search"


class Shards(LaunchingSweeper):
    module = "shards"
