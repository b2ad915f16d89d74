"""A search: batches of ``n_jobs`` trials are asked for, launched, and their results told."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_plugins.optuna_sweeper import SAMPLERS
from hydra_plugins.optuna_sweeper._space import Space

DIRECTIONS = ("minimize", "maximize")
SWEEP, AGAIN = "sweep_dir", "again"  # attributes of a trial: where it runs, what it runs again

log = logging.getLogger("hydra_plugins.optuna_sweeper")


class Search:
    """The trials of one command; settings: see docs/optuna.md. Raises ValueError."""

    def __init__(
        self, launcher: Launcher, loader: Any, config: DictConfig, settings: dict[str, Any]
    ) -> None:
        self.launcher, self.loader, self.config = launcher, loader, config
        self.settings = checked(settings)
        self.folder = Path(str(config.hydra.sweep.dir))
        self.directions = directions_of(settings["direction"])

    def run(self, arguments: Sequence[str]) -> None:
        self.space = self.space_of(arguments)
        self.sampler = self.settings["sampler"]
        if self.uses_grid:
            size = math.prod(len(values) for values in self.space.grid().values())
            self.settings["n_trials"] = min(self.settings["n_trials"], size)
            log.info(f"{self.settings['n_trials']} trials of a grid of {size}")
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        with warnings.catch_warnings():  # the sampler was chosen with its state of development
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = optuna.create_study(
                study_name=self.settings["study_name"],
                storage=self.settings["storage"],
                sampler=self.sampler_of(0),
                directions=self.directions,
                load_if_exists=True,
            )
            log.info(f"Study {self.study.study_name}, {type(self.study.sampler).__name__}")
            self.run_trials()
        self.write_results()

    def space_of(self, arguments: Sequence[str]) -> Space:
        """The space of ``hydra.sweeper.params``, of the command, and of the deprecated
        ``search_space`` if there are no params."""
        params, older = self.settings["params"], self.settings["search_space"]
        if older is not None:
            warnings.warn(
                "Both hydra.sweeper.params and hydra.sweeper.search_space are configured. Hydra "
                "will use hydra.sweeper.params for defining search space."
                if params is not None
                else "`hydra.sweeper.search_space` is deprecated and will be removed in the next "
                "major release. Please configure with `hydra.sweeper.params`.",
                stacklevel=2,
            )
        texts = [*(f"{key}={value}" for key, value in (params or {}).items()), *arguments]
        overrides = OverridesParser.create(self.loader).parse_overrides(texts)
        return Space.of(overrides, older if params is None else None)

    @property
    def uses_grid(self) -> bool:
        target = str(self.settings["sampler"].get("_target_", ""))
        return target.rpartition(".")[2] == "GridSampler"

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler that draws the trial of this number, and the following unless
        ``hydra.sweeper.resume``."""
        arguments = {k: v for k, v in self.sampler.items() if v is not None and k != "_partial_"}
        if self.uses_grid:
            arguments["search_space"] = self.space.grid()
        # The points of a QMC sequence belong together; the study keeps the position.
        if self.settings["resume"] and not str(arguments["_target_"]).endswith("QMCSampler"):
            seed = np.random.SeedSequence([arguments["seed"], number])
            arguments["seed"] = int(seed.generate_state(1)[0])
        sampler: optuna.samplers.BaseSampler = instantiate(arguments)
        return sampler

    def run_trials(self) -> None:
        launched = 0
        resume, failed = self.settings["resume"], self.enqueue_failed()
        while True:
            batch = list(self.resumed_trials(failed) if resume else self.new_trials(launched))
            if not batch:
                return
            trials = self.study.get_trials(deepcopy=False)
            params = [trials[number].params for number in batch]
            arguments = [self.space.overrides(chosen) for chosen in params]
            try:
                returns = self.launcher.launch(arguments, batch[0] if resume else launched)
            except BaseException:
                if not resume:  # nobody would run them again
                    for number in batch:
                        self.study.tell(number, state=TrialState.FAIL)
                raise
            launched += len(batch)
            failures = [
                self.tell(trials[number], result)
                for number, result in zip(batch, returns, strict=True)
            ]
            self.check_failures([failure for failure in failures if failure is not None], returns)

    def new_trials(self, launched: int) -> Iterator[int]:
        """Numbers of up to ``n_jobs`` new trials."""
        for _ in range(min(self.settings["n_jobs"], self.settings["n_trials"] - launched)):
            yield self.ask()

    def resumed_trials(self, failed: set[int]) -> Iterator[int]:
        """Numbers of the trials that a killed command has left running, and of new ones up to a
        multiple of ``n_jobs``, so that the batches do not depend on interruptions. Failed trials do
        not count towards ``n_trials``."""
        trials = self.study.get_trials(deepcopy=False)
        asked = [trial for trial in trials if trial.state != TrialState.WAITING]
        for trial in asked:
            if trial.state == TrialState.RUNNING and trial.user_attrs.get(SWEEP) == str(
                self.folder
            ):
                yield trial.number
        size = self.settings["n_jobs"]
        missing = self.settings["n_trials"] - sum(trial.number not in failed for trial in asked)
        for _ in range(min(missing, size - len(asked) % size)):
            self.study.sampler = self.sampler_of(len(self.study.get_trials(deepcopy=False)))
            yield self.ask()

    def ask(self) -> int:
        """Draw a trial. Returns its number. Raises ValueError if a parameter is fixed, too."""
        trial: Trial = self.study.ask(self.space.distributions)
        for key, line in self.space.fixed.items():
            trial.set_user_attr(key, line.partition("=")[2])
        if self.settings["custom_search_space"]:
            get_method(self.settings["custom_search_space"])(self.config, trial)
        if overlap := trial.params.keys() & self.space.fixed.keys():
            raise ValueError(
                "Overlapping fixed parameters and search space parameters found! Overlapping "
                f"parameters: {sorted(overlap)}"
            )
        if self.settings["resume"]:
            trial.set_user_attr(SWEEP, str(self.folder))
        return trial.number

    def enqueue_failed(self) -> set[int]:
        """With ``resume``, enqueue trials that have failed once more. Returns their numbers."""
        if not self.settings["resume"]:
            return set()
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(AGAIN) for trial in trials}
        failed = [trial for trial in trials if trial.state == TrialState.FAIL]
        for trial in failed:
            if trial.number not in retried:
                self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
        return {trial.number for trial in failed}

    def tell(self, trial: FrozenTrial, result: JobReturn) -> Exception | None:
        """Tell the study a job's values. Returns why the trial has failed, or None."""
        failure: Exception | None = None
        if isinstance(error := result._return_value, Exception):
            failure = error
        else:
            try:
                values = self.values_of(result._return_value)
                self._tell(trial.number, values=values)
                shown = ", ".join(f"{value:.4g}" for value in values)
            except ValueError as error:
                failure = error
        if failure is not None:
            self._tell(trial.number, state=TrialState.FAIL)
            shown = "failed"
            log.info(f"Failed experiment: {failure!r}")
        params = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in trial.params.items()
        )
        log.info(f"trial {trial.number}: {params}: {shown}{self.best_so_far()}")
        return failure

    def _tell(self, number: int, **outcome: Any) -> None:
        try:
            self.study.tell(number, **outcome)
        except RuntimeError as error:
            # A grid's sampler stops the study after its last point, which only optimize() allows.
            if "Study.stop" not in str(error):
                raise

    def values_of(self, returned: Any) -> list[float]:
        """The values of the objectives. Raises ValueError."""
        several = len(self.directions) > 1
        try:
            values = [float(value) for value in (returned if several else [returned])]
        except (ValueError, TypeError):
            kind = "a list or tuple of float-castable values" if several else "float-castable"
            raise ValueError(f"Return value must be {kind}. Got '{returned}'.") from None
        if len(values) != len(self.directions):
            raise ValueError(
                "The number of the values and the number of the objectives are mismatched. Expect "
                f"{len(self.directions)}, but actually {len(values)}."
            )
        if any(map(math.isnan, values)):
            raise ValueError(f"Return value must be a number. Got '{returned}'.")
        return values

    def check_failures(self, failures: list[Exception], returns: Sequence[JobReturn]) -> None:
        """Raise the first failure of a batch if there are too many."""
        limit = self.settings["max_failure_rate"]
        if len(failures) / len(returns) > limit:
            log.error(
                f"{len(failures)} of {len(returns)} trials failed (hydra.sweeper.max_failure_rate="
                f"{limit})"
            )
            for result in returns:
                _ = result.return_value  # raises what the job has raised
            raise failures[0]

    def best_so_far(self) -> str:
        if len(self.directions) > 1 or not finished(self.study):
            return ""
        best = self.study.best_trial
        return f" (best {best.value:.4g}, trial {best.number})"

    def write_results(self) -> None:
        """Write optimization_results.yaml: the best trial, or the Pareto front."""
        results: dict[str, Any] = {"name": "optuna"}
        if len(self.directions) > 1:
            front = self.study.best_trials
            results["solutions"] = [{"params": t.params, "values": t.values} for t in front]
            log.info(f"Number of Pareto solutions: {len(front)}")
        elif finished(self.study):
            best = self.study.best_trial
            results |= {"best_params": best.params, "best_value": best.value}
            log.info(f"Best parameters: {best.params}")
            log.info(f"Best value: {best.value}")
        else:
            results |= {"best_params": None, "best_value": None}
            log.error("No trial has finished")
        OmegaConf.save(OmegaConf.create(results), self.folder / "optimization_results.yaml")


def finished(study: optuna.Study) -> bool:
    """Whether any trial has a value."""
    return bool(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the sweeper. Raises ValueError."""
    for key in ("n_trials", "n_jobs"):
        if not isinstance(settings[key], int) or settings[key] < 1:
            raise ValueError(f"hydra.sweeper.{key}={settings[key]}: must be a whole number above 0")
    if not 0 <= settings["max_failure_rate"] <= 1:
        rate = settings["max_failure_rate"]
        raise ValueError(f"hydra.sweeper.max_failure_rate={rate}: must be from 0 to 1")
    if not OmegaConf.is_dict(sampler := settings["sampler"]) or not sampler.get("_target_"):
        raise ValueError(
            f"hydra.sweeper.sampler={sampler}: choose it as hydra/sweeper/sampler=...; allowed are "
            f"{', '.join(SAMPLERS)}"
        )
    if settings["resume"]:
        needed = ("storage", "study_name")
        if missing := [f"hydra.sweeper.{key}" for key in needed if settings[key] is None]:
            raise ValueError(f"hydra.sweeper.resume=true: needs {missing[0]}=...")
        if sampler.get("seed") is None:
            raise ValueError("hydra.sweeper.resume=true: needs hydra.sweeper.sampler.seed=...")
    return settings


def directions_of(given: Any) -> list[str]:
    """Direction of each objective. Raises ValueError."""
    several = OmegaConf.is_list(given) or isinstance(given, list | tuple)
    names = [str(getattr(d, "name", d)) for d in (given if several else [given])]
    if wrong := [name for name in names if name not in DIRECTIONS]:
        raise ValueError(
            f"hydra.sweeper.direction={wrong[0]}: allowed are {' and '.join(DIRECTIONS)}, or a list"
        )
    return names
