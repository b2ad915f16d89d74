"""The trials of a search by Optuna, as jobs of any launcher.

Trials are asked ``n_jobs`` at a time, launched and told their number. Each is drawn with a
generator made from the seed and its own number, so a search that was killed and goes on is the
search that was not. The Hydra plugin is ``hydra_plugins.mlpfit.optuna_sweeper.Optuna``.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from mlpfit.config.sources import deciding
from mlpfit.errors import RunError, one_line, users_code
from mlpfit.runs.folder import locked
from mlpfit.runs.run import differences
from mlpfit.sweeps.jobs import diverged, read_sweep
from mlpfit.sweeps.search import Search, Settings, searched
from mlpfit.training.progress import console

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

SWEEP, AGAIN, SEARCH = "sweep", "again", "search"  # what is noted in the study


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
        asked = study.ask(search.space)
        asked.set_user_attr(SWEEP, place)
        yield study.get_trials(deepcopy=False)[asked.number]


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
