"""Search by Optuna: the space is in Hydra's sweep grammar, the trials are jobs of any launcher.

Batches of ``n_jobs`` trials are asked for, launched, and their results told to the study. Each
trial is drawn with a generator made from the seed and its number, so a search that was killed and
resumed gives the same trials. It is used by ``hydra_plugins.mlpfit.sweepers.Optuna``.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna import samplers
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from mlpfit.config.checking import Section, validate
from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config, Count, Seed
from mlpfit.config.sources import multirun_overrides, result_overrides
from mlpfit.errors import ConfigError, RunError, allowed, as_config_error, one_line
from mlpfit.runs.folder import locked
from mlpfit.runs.run import differences
from mlpfit.sweeps.summary import diverged, read_sweep
from mlpfit.training.progress import console

TAGS = {"log", "int"}
SWEEP, AGAIN, SEARCH = "sweep", "again", "search"  # keys of attributes of trials and study


@dataclass(frozen=True)
class Settings(Section):
    """Settings of the sweeper, explained in ``conf/hydra/sweeper/optuna.yaml``."""

    n_trials: Count
    n_jobs: Annotated[int, Field(ge=1, le=10_000)]
    direction: Literal["minimize"]
    sampler: Literal["tpe", "random", "qmc", "gp"]
    seed: Seed
    storage: str | None
    study_name: str | None


@dataclass(frozen=True)
class Search:
    """A search, with its space, study and folder. overrides: of command and sweeper's params."""

    loader: Any
    master: DictConfig
    overrides: Sequence[Override]

    @cached_property
    def settings(self) -> Settings:
        plain: Any = OmegaConf.to_container(self.master.hydra.sweeper, resolve=True)
        keys = [key for key in plain if key not in ("_target_", "params")]
        settings: Settings = validate(Settings, {key: plain[key] for key in keys}, "hydra.sweeper.")
        return settings

    @property
    def folder(self) -> Path:
        return Path(str(self.master.hydra.sweep.dir))

    @property
    def fixed(self) -> list[str]:
        """Overrides of all trials."""
        fixed = [o for o in self.overrides if not o.is_sweep_override()]
        return [f"{o.get_key_element()}={o.get_value_element_as_str()}" for o in fixed]

    @cached_property
    def space(self) -> dict[str, BaseDistribution]:
        swept = [o for o in self.overrides if o.is_sweep_override()]
        return {o.get_key_element(): distribution(o) for o in swept}

    @cached_property
    def config(self) -> Config:
        """The config of a trial at one corner of the space."""
        return self.composed({key: extremes(d)[0] for key, d in self.space.items()})

    def composed(self, params: Mapping[str, Any]) -> Config:
        return checked_config(self.loader.load_sweep_config(self.master, self.arguments(params)))

    def arguments(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.space)]


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution of a swept key. Raises ConfigError."""
    value, line = override.value(), override.input_line
    tags = set(getattr(value, "tags", ()))
    if unknown := sorted(tags - TAGS):
        raise ConfigError(f"{line}: tag {unknown[0]}: {allowed(unknown[0], sorted(TAGS))}")
    log = "log" in tags
    with as_config_error(f"{line}"):
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            assert low is not None and high is not None  # required by the grammar
            if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
                return IntDistribution(int(low), int(high), log)
            return FloatDistribution(float(low), float(high), log)
        if isinstance(value, RangeSweep):
            points, step = sorted(value.range()), abs(value.step)
            if all(isinstance(point, int) for point in points):
                return IntDistribution(points[0], points[-1], log, int(step))
            return FloatDistribution(points[0], points[-1], log, float(step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))


def extremes(values: BaseDistribution) -> Sequence[Any]:
    """All choices, or the lowest and the highest value."""
    if isinstance(values, CategoricalDistribution):
        return values.choices
    return values.low, values.high  # type: ignore[attr-defined]


def check(loader: Any, master: DictConfig) -> Search:
    """The search of a command. Raises ConfigError for wrong settings or spaces."""
    search = Search(loader, master, multirun_overrides(loader, master))
    if not search.space:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give a key several values, such as "
            "'optimizer.lr=tag(log,interval(0.001,0.1))'"
        )
    first = {key: extremes(d)[0] for key, d in search.space.items()}
    for key, values in search.space.items():
        for value in extremes(values):
            search.composed(first | {key: value})
    if search.settings.storage is not None:
        open_study(search)
    return search


def sweep(launcher: Launcher, loader: Any, master: DictConfig, _: Sequence[str]) -> float:
    """Run the missing trials. Returns the lowest metric. Raises RunError if the study is of another
    search, or if the launcher fails."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = Search(loader, master, multirun_overrides(loader, master))
    search.folder.mkdir(parents=True, exist_ok=True)
    with locked(search.config, search.folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = study_of_search(search)
        failed = enqueue_failed(study)
        while batch := list(next_trials(study, search, failed)):
            arguments = [search.arguments(trial.params) for trial in batch]
            try:
                returns = launcher.launch(arguments, batch[0].number)
            except Exception as error:  # launchers raise any kind
                raise RunError(f"{one_line(error)}; the same command resumes") from error
            values = tell_results(study, batch, arguments, returns, search.folder)
            for trial, value in zip(batch, values, strict=True):
                print_trial(study, trial, value, search.config.metric)
    return best_trial(study)[0]


def open_study(search: Search) -> optuna.Study:
    """The study, created if it is missing. Raises ConfigError if the storage can't be used."""
    settings = search.settings
    storage = settings.storage or f"sqlite:///{search.folder.absolute() / 'study.db'}"
    name = settings.study_name or str(search.folder).rpartition("sweeps/")[2]
    with as_config_error(f"hydra.sweeper.storage={storage}"):
        if search.config.force and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def study_of_search(search: Search) -> optuna.Study:
    """The study of this search. Raises RunError if it is of another search."""
    study = open_study(search)
    space = {key: distribution_to_json(values) for key, values in search.space.items()}
    content = {
        "space": space,
        "fixed": result_overrides(search.fixed),
        "metric": search.config.metric,
    }
    if differing := differences(study.user_attrs.get(SEARCH, content), content):
        raise RunError(
            f"study {study.study_name} is of another search ({'; '.join(differing)}): name another "
            "with hydra.sweeper.study_name=..., or start anew with force=true"
        )
    study.set_user_attr(SEARCH, content)
    return study


def enqueue_failed(study: optuna.Study) -> set[int]:
    """Enqueue failed trials once more. Returns the numbers of all failed trials."""
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(AGAIN) for trial in trials}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    for trial in failed:
        if trial.number not in retried:
            study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
    return {trial.number for trial in failed}


def next_trials(study: optuna.Study, search: Search, failed: set[int]) -> Iterator[FrozenTrial]:
    """Trials left running by a killed command, and new ones up to a multiple of ``n_jobs``, so that
    the batches do not depend on interruptions; failed trials do not count."""
    settings, folder = search.settings, str(search.folder)
    trials = study.get_trials(deepcopy=False)
    asked = [t for t in trials if t.state != TrialState.WAITING]
    for trial in asked:
        if trial.state == TrialState.RUNNING and trial.user_attrs.get(SWEEP) == folder:
            yield trial
    missing = settings.n_trials - sum(trial.number not in failed for trial in asked)
    room = settings.n_jobs - len(asked) % settings.n_jobs
    for _ in range(min(missing, room)):
        study.sampler = sampler(settings, len(study.get_trials(deepcopy=False)))
        new = study.ask(search.space)
        new.set_user_attr(SWEEP, folder)
        yield study.get_trials(deepcopy=False)[new.number]


def sampler(settings: Settings, number: int) -> samplers.BaseSampler:
    """The sampler that draws the trial of this number."""
    if settings.sampler == "qmc":  # one sequence for all trials; the study has the position
        return samplers.QMCSampler(
            scramble=True, seed=settings.seed, warn_independent_sampling=False
        )
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    if settings.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return (samplers.TPESampler if settings.sampler == "tpe" else samplers.GPSampler)(seed=seed)


def tell_results(
    study: optuna.Study,
    batch: Sequence[FrozenTrial],
    arguments: Sequence[Sequence[str]],
    returns: Sequence[JobReturn],
    folder: Path,
) -> list[float]:
    """Tell the study the metric of each job, infinite if it diverged; other failures are failed
    trials. Returns the metrics, NaN for failed trials."""
    jobs = {job.overrides: job for job in read_sweep(folder)[1].values()}
    values = []
    for trial, overrides, result in zip(batch, arguments, returns, strict=True):
        job = jobs.get(tuple(overrides))
        failed = job is None or (job.failure is not None and not diverged(job.failure))
        finished = result.status == JobStatus.COMPLETED and not failed
        value = float(result.return_value) if finished else math.nan
        if math.isnan(value):
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            study.tell(trial.number, value)
        values.append(value)
    return values


def best_trial(study: optuna.Study) -> tuple[float, int]:
    """Lowest metric of all trials and the trial's number; infinite and -1 if there is none."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min(((trial.values[0], trial.number) for trial in trials), default=(math.inf, -1))


def print_trial(study: optuna.Study, trial: FrozenTrial, value: float, metric: str) -> None:
    """Print a trial's parameters and metric, and the best trial so far."""
    params = ", ".join(
        f"{key}={param:.4g}" if isinstance(param, float) else f"{key}={param}"
        for key, param in trial.params.items()
    )
    lowest, number = best_trial(study)
    outcome = "failed" if math.isnan(value) else f"{metric} {value:.4g}"
    line = f"trial {trial.number}: {params}: {outcome} (best {lowest:.4g}, trial {number})"
    console.print(line, soft_wrap=True)
