"""hydra/launcher=processes: see :mod:`mlpfit.sweeps.launcher`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Processes(Launcher):
    """Launcher of jobs in parallel processes; processes: at most this many, None: one per core."""

    def __init__(self, processes: int | None = None) -> None:
        self.processes = processes
        self.reusable: list[Any] = []  # idle processes, for the next jobs

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from mlpfit.sweeps.launcher import launch  # not when Hydra looks for plugins

        return launch(self, job_overrides, initial_job_idx)
