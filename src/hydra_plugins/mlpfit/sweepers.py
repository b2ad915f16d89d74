"""hydra/sweeper=optuna and =shards: see :mod:`mlpfit.sweeps.search`, :mod:`mlpfit.sweeps.shards`.
Both are imported only where they are used: Hydra looks into every plugin when it starts."""

import importlib
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LaunchingSweeper(Sweeper):
    """A sweeper whose settings are those of its YAML in ``conf/hydra/sweeper/``, read and checked
    where the sweep begins, and which is the function ``sweep`` of its module."""

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
        own = importlib.import_module(f"mlpfit.sweeps.{self.module}")
        return own.sweep(launcher, self.context.config_loader, self.config, arguments)


class Optuna(LaunchingSweeper):
    module = "search"


class Shards(LaunchingSweeper):
    module = "shards"
