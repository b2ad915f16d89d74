"""A Hydra sweeper that searches with Optuna 5, for any application (docs/optuna.md). It has the
keys of hydra-optuna-sweeper 1.3, which needs Optuna 2.

    python app.py -m hydra/sweeper=optuna 'x=interval(-5,5)' 'y=choice(1,2,4)'

Optuna is imported when the sweeper is used, since Hydra imports every plugin when it starts.
"""

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import MISSING, DictConfig

PROVIDER = "optuna_sweeper"
_TPE = (
    "consider_prior prior_weight consider_magic_clip consider_endpoints n_startup_trials "
    "n_ei_candidates multivariate group warn_independent_sampling constant_liar constraints_func"
)
_NSGA = "population_size mutation_prob crossover crossover_prob swapping_prob constraints_func"
SAMPLERS = {  # name -> class in optuna.samplers and its arguments, beside seed
    "tpe": ("TPESampler", _TPE),
    "motpe": ("TPESampler", _TPE),  # Optuna 5 has one class for one objective and for several
    "random": ("RandomSampler", ""),
    "grid": ("GridSampler", ""),
    "cmaes": (
        "CmaEsSampler",
        "x0 sigma0 n_startup_trials independent_sampler warn_independent_sampling "
        "consider_pruned_trials restart_strategy popsize inc_popsize use_separable_cma "
        "with_margin lr_adapt source_trials",
    ),
    "nsgaii": ("NSGAIISampler", _NSGA),
    "nsgaiii": ("NSGAIIISampler", f"{_NSGA} reference_points dividing_parameter"),
    "qmc": (
        "QMCSampler",
        "qmc_type scramble independent_sampler warn_asynchronous_seeding warn_independent_sampling",
    ),
    "gp": (
        "GPSampler",
        "independent_sampler n_startup_trials deterministic_objective constraints_func "
        "warn_independent_sampling",
    ),
}


@dataclass
class OptunaConf:
    """Keys and defaults, explained in docs/optuna.md."""

    _target_: str = "hydra_plugins.optuna_sweeper.Optuna"
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}])
    sampler: Any = MISSING
    direction: Any = "minimize"
    storage: Any = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 0.0
    search_space: Any = None  # a dict, as params; OmegaConf can't replace null by a typed one
    params: Any = None
    custom_search_space: str | None = None
    resume: bool = False


def register() -> None:
    """Store the configs, unless hydra-optuna-sweeper is installed with an Optuna it can use."""
    try:
        too_old = int(version("optuna").partition(".")[0]) < 3
    except PackageNotFoundError:
        too_old = False
    if too_old and find_spec("hydra_plugins.hydra_optuna_sweeper") is not None:
        return
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="optuna", node=OptunaConf, provider=PROVIDER)
    for name, (kind, arguments) in SAMPLERS.items():
        node: dict[str, Any] = dict.fromkeys(["seed", *arguments.split()])
        node = {"_target_": f"optuna.samplers.{kind}"} | node
        store(group="hydra/sweeper/sampler", name=name, node=node, provider=PROVIDER)


register()


class OptunaConfigs(SearchPathPlugin):
    """Stores the configs again when all plugins have been imported: of two that store configs of
    one name, the last to be imported would win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        register()


class Optuna(Sweeper):
    """Sweeper whose jobs are the trials of a study; its arguments are those of
    :class:`OptunaConf`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials, and write optimization_results.yaml into the sweep's folder. Raises
        ValueError for wrong settings, and what too many trials raise."""
        try:
            from hydra_plugins.optuna_sweeper._search import Search
        except ImportError as error:
            needed = "hydra/sweeper=optuna needs Optuna 5: pip install 'optuna>=5'"
            raise ImportError(f"{needed} ({error})") from error
        Search(self.launcher, self.hydra_context.config_loader, self.config, self.settings).run(
            arguments
        )
