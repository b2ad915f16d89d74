"""Train an experiment, or with -m a sweep, as a Hydra application.

    mlpfit experiment=tower/small [key=value ...]
    mlpfit -m experiment=tower/small optimizer.lr=0.001,0.01 replicas=64

Every flag of Hydra's works as its documentation says. Keys and defaults are in conf/config.yaml.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import hydra
import numpy as np
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mlpfit.__main__ import COMMANDS
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_one_line, checked_config
from mlpfit.config.schema import Config
from mlpfit.config.sources import register_with_hydra
from mlpfit.errors import ConfigError, RunError, check_text
from mlpfit.process import report_error
from mlpfit.runs.folder import remember_missing, remove_hydra_files
from mlpfit.runs.identity import departure, replicas_to_lose
from mlpfit.runs.removal import check_hydra_subdir
from mlpfit.runs.run import Run, load_run
from mlpfit.sweeps.callback import Experiments, exiting_on_errors, finish_broken_sweep
from mlpfit.sweeps.jobs import run_job
from mlpfit.sweeps.summary import objective
from mlpfit.training.progress import console, display
from mlpfit.training.train import finish, must_train, train


def main() -> int:
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print(f"mlpfit {version('mlpfit')} (Hydra {hydra.__version__})")
        return 0
    if (words := completed_words(arguments)) is not None:
        print("\n".join(words))
        return 0
    check_arguments(arguments)
    arguments = flags_first(with_info(arguments))
    sys.argv[1:] = [with_new_params(argument) for argument in arguments]
    register_with_hydra()
    # With it Hydra raises errors, which become one line here, and does not print them itself.
    earlier = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    application = hydra.main(version_base="1.3", config_path=None, config_name="config")(task)
    try:
        application()
    except ConfigError:
        raise
    except Exception as error:
        finish_broken_sweep(error)
        if BeforeRun.config is not None and Experiments.place is not None:
            remove_hydra_files(Experiments.place)  # Hydra's settings of its logs may be wrong
        known = HydraException, OmegaConfBaseException, YAMLError, RecursionError, ValueError
        if not isinstance(error, known):
            if isinstance(error, OSError):
                error.filename = error.filename or str(Experiments.place)
            raise
        raise ConfigError(as_one_line(error, sys.argv[1:])) from error
    finally:
        os.environ["HYDRA_FULL_ERROR"] = earlier
    return 0


def check_arguments(arguments: list[str]) -> None:
    """Raises ConfigError for arguments that Hydra would misunderstand."""
    for argument in arguments:
        check_text(argument, argument)
        key, _, value = argument.partition("=")
        if key == "sweep" and "," in value:
            raise ConfigError(f"{argument}: must name one ready sweep; run them one by one")
        if key.lstrip("~+").startswith("hydra.callbacks") and key.count(".") == 1:
            raise ConfigError(
                f"{argument}: mlpfit's own callback checks every run; add yours as "
                "+hydra.callbacks.mine={_target_: ...}"
            )
        own = [f"hydra.callbacks.{name}" for name in ("experiments", "before_run")]
        if key.lstrip("~+").removesuffix("._target_") in own:
            raise ConfigError(f"{argument}: mlpfit's own callback checks every run; leave it")


def with_info(arguments: list[str]) -> list[str]:
    """Arguments with --info alone as --info=all, so that it does not take an override for its
    value.

    >>> with_info(["--info", "experiment=tower/small"])
    ['--info=all', 'experiment=tower/small']
    """
    following = [*arguments[1:], ""]
    return [
        "--info=all" if a in ("--info", "-i") and (not b or "=" in b or b.startswith("-")) else a
        for a, b in zip(arguments, following, strict=False)
    ]


def completed_words(arguments: list[str]) -> list[str] | None:
    """Continuations of the last word of a command other than training, which is asked for in
    COMP_LINE; None for anything that Hydra completes."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if "query=bash" not in arguments or len(words) < 2 or words[1] not in COMMANDS:
        return None
    last = "" if line.endswith(" ") else words[-1]
    if words[1] == "sweep":
        names = [str(file.parent) for file in Path("outputs/sweeps").glob("**/sweep.json")]
    elif words[1] == "tensorboard":
        names = [str(path) for path in Path(".").glob("*") if path.is_dir()]
    else:
        names = [*(tutorial.name for tutorial in tutorials()), *experiments()]
    return sorted(name for name in names if name.startswith(last))


def flags_first(arguments: list[str]) -> list[str]:
    """Arguments with the flags moved to the front, since Hydra's parser needs overrides in one
    block.

    >>> flags_first(["experiment=tower/small", "-m", "seed=1,2"])
    ['-m', 'experiment=tower/small', 'seed=1,2']

    Raises ConfigError for a flag that Hydra does not have.
    """
    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    overrides = parser.parse_intermixed_args(arguments).overrides
    return [a for a in arguments if a not in overrides] + overrides


def _refuse_flag(message: str) -> NoReturn:
    raise ConfigError(f"{message}; mlpfit --hydra-help lists Hydra's flags")


def with_new_params(argument: str) -> str:
    """The argument, with ++ before the sweeper's params, of which any key may be new.

    >>> with_new_params("hydra.sweeper.params={seed: '1,2'}")
    "++hydra.sweeper.params={seed: '1,2'}"
    """
    return f"++{argument}" if argument.startswith("hydra.sweeper.params") else argument


def task(composed: DictConfig) -> float:
    """Train the composed config. Returns the metric that a sweeper minimises."""
    settings = HydraConfig.get()
    os.chdir(settings.runtime.cwd)  # a process on a cluster may start elsewhere
    if settings.mode == RunMode.MULTIRUN and composed.ensemble.only is None:
        return run_job(composed, settings)
    if settings.mode == RunMode.MULTIRUN:  # a job of hydra/sweeper=shards
        train(checked_config(composed), Path(settings.run.dir))
        return float("nan")
    assert BeforeRun.config is not None
    try:
        return run_experiment(
            BeforeRun.config, Path(settings.runtime.output_dir), BeforeRun.is_missing
        )
    except (ConfigError, RunError, OSError, MemoryError) as error:
        sys.exit(report_error(error))  # Hydra would print the error again


class BeforeRun(Callback):
    """Checks a run before Hydra creates its folder. Hydra turns a callback's errors into warnings,
    but not SystemExit."""

    config: ClassVar[Config | None] = None  # of the run in this process
    is_missing: ClassVar[bool] = True

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if sweep := config.hydra.runtime.choices.get("sweep"):
                raise ConfigError(f"sweep={sweep}: needs -m (mlpfit -m sweep={sweep})")
            BeforeRun.config = checked_config(config)
            check_hydra_subdir(config.hydra.output_subdir)
            folder = Path(str(config.hydra.run.dir))
            BeforeRun.is_missing = must_train(BeforeRun.config, folder)
            remember_missing(folder)
            Experiments.place = folder


def run_experiment(config: Config, folder: Path, is_missing: bool) -> float:
    """Train a run that :class:`BeforeRun` has checked, if it is missing, and print its numbers.
    Returns the config's metric; NaN of some shards of an ensemble."""
    name = os.path.relpath(folder)
    up_to_date = f"{name} is up to date (force=true trains it again)"
    if not is_missing:
        console.print(up_to_date, soft_wrap=True)
        return objective(load_run(folder), config.metric)
    if config.ensemble.only is not None:
        return run_shards(config, folder)
    if (larger := replicas_to_lose(config, folder)) is not None:
        console.print(
            f"{name}: {len(config.replica_seeds):,} replicas replace {larger:,} of the same "
            "recipe; another output_dir=... keeps both",
            soft_wrap=True,
        )
    try:
        with display(runs=1) as shown:
            bar = shown.add_run(config.name, config.steps)
            if not finish(config, folder, bar):  # another command has meanwhile
                console.print(up_to_date, soft_wrap=True)
                return objective(load_run(folder), config.metric)
            finished = load_run(folder)
            bar.end(finished.provenance["seconds"])
    finally:
        remove_hydra_files(folder)
    console.print(f"{name}: {final_numbers(finished)}", soft_wrap=True)
    if note := departure(finished):
        console.print(note, soft_wrap=True, markup=False)
    return objective(finished, config.metric)


def run_shards(config: Config, folder: Path) -> float:
    """Train the shards named by ``ensemble.only`` of the ensemble in this folder, and print how to
    finish it. Returns NaN, since there is no metric yet."""
    finish(config, folder)
    remove_hydra_files(folder)
    only = ", ".join(map(str, config.ensemble.only or ()))
    console.print(
        f"{os.path.relpath(folder)}: trained shards {only} of {len(config.shard_seeds)}; "
        "the same command without ensemble.only trains the others and finishes the ensemble",
        soft_wrap=True,
    )
    return float("nan")


def final_numbers(run: Run) -> str:
    """Final numbers in one line: medians over the replicas, diverged ones counting as infinite."""
    names = {"mse": "mean squared error", "sse": "sum of squares"}
    if not np.array_equal(run.metrics["mse"], run.metrics["truth_mse"], equal_nan=True):
        names["truth_mse"] = "mean squared distance to the noise-free function"
    if run.classifies:
        names = {"loss": "loss", "accuracy": "accuracy"}
    numbers = ", ".join(f"{label} {objective(run, name):.6g}" for name, label in names.items())
    diverged = int(run.diverged.sum())
    return numbers + f"; {diverged} of {run.replicas} replicas diverged" * (diverged > 0)
