"""A search by Optuna: the space in Hydra's sweep grammar, the trials as jobs of any launcher.

Trials are asked ``n_jobs`` at a time, launched and told their number. Each is drawn with a
generator made from the seed and its own number, so a search that was killed and goes on is the
search that was not. The Hydra plugin is ``hydra_plugins.mlpfit.sweepers.Optuna``.
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
SWEEP, AGAIN, SEARCH = "sweep", "again", "search"  # what is noted in the study


@dataclass(frozen=True)
class Settings(Section):
    """Of the sweeper, explained in ``conf/hydra/sweeper/optuna.yaml``."""

    n_trials: Count
    n_jobs: Annotated[int, Field(ge=1, le=10_000)]
    direction: Literal["minimize"]
    sampler: Literal["tpe", "random", "qmc", "gp"]
    seed: Seed
    storage: str | None
    study_name: str | None


@dataclass(frozen=True)
class Search:
    """What is searched, and where. overrides: of the command and of the sweeper's params."""

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
        """Overrides that every trial has."""
        fixed = [o for o in self.overrides if not o.is_sweep_override()]
        return [f"{o.get_key_element()}={o.get_value_element_as_str()}" for o in fixed]

    @cached_property
    def space(self) -> dict[str, BaseDistribution]:
        swept = [o for o in self.overrides if o.is_sweep_override()]
        return {o.get_key_element(): distribution(o) for o in swept}

    @cached_property
    def config(self) -> Config:
        """That of a trial at one corner of the space."""
        return self.composed({key: ends(d)[0] for key, d in self.space.items()})

    def composed(self, params: Mapping[str, Any]) -> Config:
        return checked_config(self.loader.load_sweep_config(self.master, self.arguments(params)))

    def arguments(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.space)]


def distribution(override: Override) -> BaseDistribution:
    """What Optuna draws from for a key. Raises ConfigError."""
    value, line = override.value(), override.input_line
    tags = set(getattr(value, "tags", ()))
    if unknown := sorted(tags - TAGS):
        raise ConfigError(f"{line}: tag {unknown[0]}: {allowed(unknown[0], sorted(TAGS))}")
    log = "log" in tags
    with as_config_error(f"{line}"):
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            assert low is not None and high is not None  # the grammar has both
            if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
                return IntDistribution(int(low), int(high), log)
            return FloatDistribution(float(low), float(high), log)
        if isinstance(value, RangeSweep):
            points, step = sorted(value.range()), abs(value.step)
            if all(isinstance(point, int) for point in points):
                return IntDistribution(points[0], points[-1], log, int(step))
            return FloatDistribution(points[0], points[-1], log, float(step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))


def ends(values: BaseDistribution) -> Sequence[Any]:
    """All choices, or the least and the largest value."""
    if isinstance(values, CategoricalDistribution):
        return values.choices
    return values.low, values.high  # type: ignore[attr-defined]


def check(loader: Any, master: DictConfig) -> Search:
    """A command's search. Raises ConfigError for wrong settings, spaces, values at their ends."""
    search = Search(loader, master, multirun_overrides(loader, master))
    if not search.space:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give a key several values, such as "
            "'optimizer.lr=tag(log,interval(0.001,0.1))'"
        )
    first = {key: ends(d)[0] for key, d in search.space.items()}
    for key, values in search.space.items():
        for value in ends(values):
            search.composed(first | {key: value})
    if search.settings.storage is not None:
        open_study(search)
    return search


def sweep(launcher: Launcher, loader: Any, master: DictConfig, _: Sequence[str]) -> float:
    """Run the trials that are missing; returns the best number. Raises RunError if the study holds
    another search, or the launcher gives up."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = Search(loader, master, multirun_overrides(loader, master))
    search.folder.mkdir(parents=True, exist_ok=True)
    with locked(search.config, search.folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = own_study(search)
        failed = ask_again(study)
        while batch := list(next_trials(study, search, failed)):
            arguments = [search.arguments(trial.params) for trial in batch]
            try:
                returns = launcher.launch(arguments, batch[0].number)
            except Exception as error:  # of whatever kind launchers raise
                raise RunError(f"{one_line(error)}; the same command goes on") from error
            numbers = tell(study, batch, arguments, returns, search.folder)
            for trial, number in zip(batch, numbers, strict=True):
                print_trial(study, trial, number, search.config.metric)
    return best(study)[0]


def open_study(search: Search) -> optuna.Study:
    """The study, made if there is none. Raises ConfigError where the storage can't be used."""
    settings = search.settings
    storage = settings.storage or f"sqlite:///{search.folder.absolute() / 'study.db'}"
    name = settings.study_name or str(search.folder).rpartition("sweeps/")[2]
    with as_config_error(f"hydra.sweeper.storage={storage}"):
        if search.config.force and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def own_study(search: Search) -> optuna.Study:
    """The study of this search. Raises RunError if the one there is of another."""
    study = open_study(search)
    space = {key: distribution_to_json(values) for key, values in search.space.items()}
    this = {"space": space, "fixed": result_overrides(search.fixed), "metric": search.config.metric}
    if differing := differences(study.user_attrs.get(SEARCH, this), this):
        raise RunError(
            f"study {study.study_name} is of another search ({'; '.join(differing)}): name another "
            "with hydra.sweeper.study_name=..., or start anew with force=true"
        )
    study.set_user_attr(SEARCH, this)
    return study


def ask_again(study: optuna.Study) -> set[int]:
    """Ask for trials that have failed once more; returns the numbers of all that ever did."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(AGAIN) for trial in trials}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    for trial in failed:
        if trial.number not in again:
            study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
    return {trial.number for trial in failed}


def next_trials(study: optuna.Study, search: Search, failed: set[int]) -> Iterator[FrozenTrial]:
    """Those that a killed command has left, and new ones up to a multiple of ``n_jobs``, so that
    trials are asked for together in one command as in several; failed ones don't count."""
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
    """What draws the trial of this number."""
    if settings.sampler == "qmc":  # one sequence for all trials; how far it is, the study holds
        return samplers.QMCSampler(
            scramble=True, seed=settings.seed, warn_independent_sampling=False
        )
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    if settings.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return (samplers.TPESampler if settings.sampler == "tpe" else samplers.GPSampler)(seed=seed)


def tell(
    study: optuna.Study,
    batch: Sequence[FrozenTrial],
    arguments: Sequence[Sequence[str]],
    returns: Sequence[JobReturn],
    folder: Path,
) -> list[float]:
    """Tell the study what the jobs returned: a number, infinite where it diverged; a job that
    failed otherwise is a failed trial. Returns the numbers, NaN for those."""
    jobs = {job.overrides: job for job in read_sweep(folder)[1].values()}
    numbers = []
    for trial, overrides, result in zip(batch, arguments, returns, strict=True):
        job = jobs.get(tuple(overrides))
        failed = job is None or (job.failure is not None and not diverged(job.failure))
        done = result.status == JobStatus.COMPLETED and not failed
        number = float(result.return_value) if done else math.nan
        if math.isnan(number):
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            study.tell(trial.number, number)
        numbers.append(number)
    return numbers


def best(study: optuna.Study) -> tuple[float, int]:
    """The least number of all trials and whose it is; infinite, -1 if there is none."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min(((trial.values[0], trial.number) for trial in done), default=(math.inf, -1))


def print_trial(study: optuna.Study, trial: FrozenTrial, number: float, metric: str) -> None:
    params = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in trial.params.items()
    )
    least, whose = best(study)
    outcome = "failed" if math.isnan(number) else f"{metric} {number:.4g}"
    line = f"trial {trial.number}: {params}: {outcome} (best {least:.4g}, trial {whose})"
    console.print(line, soft_wrap=True)
