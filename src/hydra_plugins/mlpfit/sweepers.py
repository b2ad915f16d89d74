"""hydra/sweeper=shards: see :mod:`mlpfit.sweeps.shards`, which is imported when it is used, since
Hydra imports every plugin when it starts."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Shards(Sweeper):
    """Its settings are read from the config; ``conf/hydra/sweeper/shards.yaml`` explains them."""

    def __init__(self, **settings: Any) -> None:
        pass

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        from mlpfit.sweeps import shards

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.function, config=self.config
        )
        shards.sweep(launcher, self.context.config_loader, self.config, arguments)
