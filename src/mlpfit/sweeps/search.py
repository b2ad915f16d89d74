"""A search by Optuna over the space that Hydra's sweep grammar describes, through any launcher.

Trials are asked ``n_jobs`` at a time, launched as jobs and told their number. Each is drawn with a
generator made from the seed and its own number, so a search that was killed and goes on is the
search that was not. The Hydra plugin that uses this is ``hydra_plugins.mlpfit.optuna_sweeper.Optuna``.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, TypeAdapter

from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config, Count, Section, Seed, checked
from mlpfit.config.sources import deciding
from mlpfit.errors import ConfigError, RunError, one_line, users_code
from mlpfit.runs.folder import locked
from mlpfit.runs.run import differences
from mlpfit.sweeps.jobs import diverged, read_sweep
from mlpfit.sweeps.launcher import without_hydra
from mlpfit.training.progress import console

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

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
    """What is searched, and where: the master config, and the overrides of the command and of the
    sweeper's params, parsed."""

    loader: Any
    master: DictConfig
    overrides: Sequence[Override]

    @cached_property
    def settings(self) -> Settings:
        plain: Any = OmegaConf.to_container(self.master.hydra.sweeper, resolve=True)
        own = {key: value for key, value in plain.items() if key not in ("_target_", "params")}
        settings: Settings = checked(TypeAdapter(Settings), own, "hydra.sweeper.")
        return settings

    @property
    def folder(self) -> Path:
        return Path(str(self.master.hydra.sweep.dir))

    @property
    def fixed(self) -> list[str]:
        """Overrides that every trial has."""
        return [
            f"{o.get_key_element()}={o.get_value_element_as_str()}"
            for o in self.overrides
            if not o.is_sweep_override()
        ]

    @cached_property
    def space(self) -> dict[str, "BaseDistribution"]:
        swept = [o for o in self.overrides if o.is_sweep_override()]
        return {o.get_key_element(): distribution(o) for o in swept}

    @cached_property
    def config(self) -> Config:
        """That of a trial at one corner of the space."""
        return self.composed({key: ends(d)[0] for key, d in self.space.items()})

    def composed(self, params: Mapping[str, Any]) -> Config:
        overrides = self.arguments(params)
        return checked_config(without_hydra(self.loader.load_sweep_config(self.master, overrides)))

    def arguments(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.space)]


def searched(loader: Any, master: DictConfig) -> Search:
    """The search of a command. Of a key given twice, the last counts."""
    params = master.hydra.sweeper.get("params") or {}
    given = [*(f"{k}={v}" for k, v in params.items()), *map(str, master.hydra.overrides.task)]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    return Search(loader, master, list({o.get_key_element(): o for o in parsed}.values()))


def check(search: Search) -> None:
    """Raises ConfigError for what can't be searched: settings, space, or a value at its ends."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "hydra/sweeper=optuna: Optuna is not installed; pip install 'mlpfit[optuna]'"
        ) from None
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
        opened(search)


def distribution(override: Override) -> "BaseDistribution":
    """What Optuna draws from for a key. Raises ConfigError."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value, line = override.value(), override.input_line
    tags = set(getattr(value, "tags", ()))
    if unknown := tags - TAGS:
        raise ConfigError(f"{line}: tag {sorted(unknown)[0]}: allowed are {', '.join(TAGS)}")
    with users_code(f"{line}"):
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            whole = "int" in tags or (isinstance(low, int) and isinstance(high, int))
            if whole:
                return IntDistribution(int(low), int(high), log="log" in tags)
            return FloatDistribution(float(low), float(high), log="log" in tags)
        if isinstance(value, RangeSweep):
            points, step = sorted(value.range()), abs(value.step)
            if all(isinstance(point, int) for point in points):
                return IntDistribution(points[0], points[-1], "log" in tags, int(step))
            return FloatDistribution(points[0], points[-1], "log" in tags, float(step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))


def ends(values: "BaseDistribution") -> Sequence[Any]:
    """All choices, or the least and the largest value."""
    choices = getattr(values, "choices", None)
    return choices if choices is not None else (values.low, values.high)  # type: ignore[attr-defined]


def search(launcher: Launcher, loader: Any, master: DictConfig) -> float:
    """Run the trials that are missing; returns the best number. Raises RunError if the study holds
    another search, or the launcher gives up."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    this = searched(loader, master)
    this.folder.mkdir(parents=True, exist_ok=True)
    with locked(this.config, this.folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = begun(this)
        over = repeated(study, this)
        while batch := list(next_trials(study, this, over)):
            arguments = [this.arguments(trial.params) for trial in batch]
            try:
                returns = launcher.launch(arguments, batch[0].number)
            except Exception as error:  # of whatever kind launchers raise
                raise RunError(f"{one_line(error)}; the same command goes on") from error
            numbers = told(study, batch, arguments, returns, this.folder)
            for trial, number in zip(batch, numbers, strict=True):
                say(study, trial, number, this.config.metric)
    return best(study)[0]


def opened(search: Search) -> "Study":
    """The study, made if there is none. Raises ConfigError where the storage can't be used."""
    import optuna

    settings = search.settings
    storage = settings.storage or f"sqlite:///{search.folder.absolute() / 'study.db'}"
    name = settings.study_name or str(search.folder).rpartition("sweeps/")[2]
    with users_code(f"hydra.sweeper.storage={storage}"):
        if search.config.force and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def begun(search: Search) -> "Study":
    """The study of this search. Raises RunError if the one there is of another."""
    from optuna.distributions import distribution_to_json

    study = opened(search)
    space = {key: distribution_to_json(values) for key, values in search.space.items()}
    mine = {"space": space, "fixed": deciding(search.fixed), "metric": search.config.metric}
    there = study.user_attrs.get(SEARCH, mine)
    if differing := differences(there, mine):
        raise RunError(
            f"study {study.study_name} is of another search ({'; '.join(differing)}): name another "
            "with hydra.sweeper.study_name=..., or start anew with force=true"
        )
    study.set_user_attr(SEARCH, mine)
    return study


def repeated(study: "Study", search: Search) -> set[int]:
    """Ask for trials that have failed once more; returns the numbers of all that ever did."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(AGAIN) for trial in trials}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    for trial in failed:
        if trial.number not in again:
            study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
    return {trial.number for trial in failed}


def next_trials(study: "Study", search: Search, over: set[int]) -> Iterator["FrozenTrial"]:
    """Those that a killed command has left, and new ones up to a multiple of ``n_jobs``, so that
    trials are asked for together in one command as in several; over: those that don't count."""
    from optuna.trial import TrialState

    settings, place = search.settings, str(search.folder)
    trials = study.get_trials(deepcopy=False)
    begun = [t for t in trials if t.state != TrialState.WAITING]
    for trial in begun:
        if trial.state == TrialState.RUNNING and trial.user_attrs.get(SWEEP) == place:
            yield trial
    missing = settings.n_trials - sum(trial.number not in over for trial in begun)
    room = settings.n_jobs - len(begun) % settings.n_jobs
    for _ in range(min(missing, room)):
        study.sampler = sampler(settings, len(study.get_trials(deepcopy=False)))
        trial = study.ask(search.space)
        trial.set_user_attr(SWEEP, place)
        yield study.get_trials(deepcopy=False)[trial.number]


def sampler(settings: Settings, number: int) -> Any:
    """What draws the trial of this number."""
    from optuna import samplers

    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    made: dict[str, Callable[[], Any]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "gp": lambda: samplers.GPSampler(seed=seed),
        # one sequence for all trials; how far it has come is in the study
        "qmc": lambda: samplers.QMCSampler(
            scramble=True, seed=settings.seed, warn_independent_sampling=False
        ),
    }
    return made[settings.sampler]()


def told(
    study: "Study",
    batch: Sequence["FrozenTrial"],
    arguments: Sequence[Sequence[str]],
    returns: Sequence[JobReturn],
    folder: Path,
) -> list[float]:
    """Tell the study what the jobs returned: a number, infinite where it diverged; a job that
    failed otherwise is a failed trial. Returns the numbers, NaN for those."""
    from optuna.trial import TrialState

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


def best(study: "Study") -> tuple[float, int]:
    """The least number of all trials and whose it is; infinite, -1 if there is none."""
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min(((trial.values[0], trial.number) for trial in done), default=(math.inf, -1))


def say(study: "Study", trial: "FrozenTrial", number: float, metric: str) -> None:
    given = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in trial.params.items()
    )
    least, whose = best(study)
    outcome = "failed" if math.isnan(number) else f"{metric} {number:.4g}"
    console.print(
        f"trial {trial.number}: {given}: {outcome} (best {least:.4g}, trial {whose})",
        soft_wrap=True,
    )
