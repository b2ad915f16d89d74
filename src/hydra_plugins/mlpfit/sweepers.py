"""mlpfit's sweepers. What they do is imported when they are used, since Hydra imports every plugin
when it starts."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class Grid(BasicSweeper):
    """In mlpfit it takes the place of Hydra's own sweeper, which composes all jobs of a grid before
    the first starts: see :mod:`mlpfit.sweeps.jobs`. A failed job is reported at the end."""

    def sweep(self, arguments: list[str]) -> None:
        from mlpfit.sweeps.callback import Experiments

        assert self.config is not None and Experiments.running is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        Experiments.running.launch(self.launcher)


class Shards(Sweeper):
    """hydra/sweeper=shards: see :mod:`mlpfit.sweeps.shards`. Its settings are read from the config;
    ``conf/hydra/sweeper/shards.yaml`` explains them."""

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
