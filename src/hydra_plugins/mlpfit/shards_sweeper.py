"""hydra/sweeper=shards: see :mod:`mlpfit.sweeps.shards`."""

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Shards(Sweeper):
    """shards_per_job: how many shards a job trains, one after another."""

    def __init__(self, shards_per_job: int, params: Mapping[str, str] | None = None) -> None:
        self.shards_per_job = shards_per_job

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from hydra.core.plugins import Plugins

        from mlpfit.sweeps.shards import sweep  # not when Hydra looks for plugins

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.function, config=self.config
        )
        sweep(launcher, self.context, self.config, arguments, self.shards_per_job)
