"""hydra/sweeper=optuna and =shards: see :mod:`mlpfit.sweeps.search`, :mod:`mlpfit.sweeps.shards`.
Both are imported only where they are used: Hydra looks into every plugin when it starts."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LaunchingSweeper(Sweeper):
    """A sweeper whose settings are those of its YAML in ``conf/hydra/sweeper/``, read and checked
    where the sweep begins."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launcher(self) -> Launcher:
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.function, config=self.config
        )


class Optuna(LaunchingSweeper):
    def sweep(self, arguments: list[str]) -> Any:
        from mlpfit.sweeps.search import search

        return search(self.launcher(), self.context.config_loader, self.config)


class Shards(LaunchingSweeper):
    def sweep(self, arguments: list[str]) -> Any:
        from mlpfit.sweeps.shards import sweep

        per_job = self.settings["shards_per_job"]
        sweep(self.launcher(), self.context, self.config, arguments, per_job)
