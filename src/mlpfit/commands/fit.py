"""Training from Python, for notebooks and scripts."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlpfit.config.compose import WITH_ARGUMENTS, compose
from mlpfit.errors import ConfigError, check_text
from mlpfit.process import unchanged_process
from mlpfit.runs.run import Run, load_run

FITS = Path("outputs/fits")


def fit(experiment: str, *, output_dir: str | Path = FITS, **settings: Any) -> Run:
    """Train an experiment with these settings and return the finished run. A run that was trained
    before, by this function or (with the default output_dir) by a command, is only loaded.

    >>> import mlpfit
    >>> given = {"trainer": {"max_steps": 20}, "optimizer": {"lr": 0.05}}
    >>> mlpfit.fit("parabola/eight_neurons", replicas=3, **given).metrics["mse"].shape
    (3,)

    Settings are the keys of conf/config.yaml; groups take a dict, or the name of another choice:
    optimizer="sgd". The folder of the run in output_dir is named by the settings, so published runs
    are not changed. Training is in this process, unless ``ensemble={"processes": n}``; a script
    then needs ``if __name__ == "__main__":``.

    Raises ConfigError for a setting that is not allowed, Diverged if the loss of a single run is
    not finite, KeyboardInterrupt if it is interrupted; the same call then goes on. What is global
    to the process (Hydra, random generators, threads of torch, loggers, environment) is as before.
    """
    from mlpfit.config.sources import job_folder
    from mlpfit.runs.identity import is_current
    from mlpfit.training.train import train

    overrides = sorted(_overrides(settings))
    output = f"output_dir={_as_override(str(output_dir))}"
    config = compose([f"experiment={_as_override(experiment)}", output, *overrides])
    tutorial = experiment.rpartition("/")[0]
    folder = (
        Path(output_dir) / tutorial / job_folder([o.lstrip("+") for o in overrides], experiment)
    )
    if config.ensemble.processes is None:
        config = replace(config, ensemble=replace(config.ensemble, processes=1))
    command_folder = replace(config, output_dir="outputs").folder
    if Path(output_dir) == FITS and not config.force and is_current(config, command_folder):
        return load_run(command_folder)
    with unchanged_process():
        try:
            train(config, folder)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
    return load_run(folder)


GROUPS = (
    "optimizer",
    "scheduler",
    "target",
)  # whose name is that of a file in conf/, with its other keys
OPTIONAL = ("scheduler", "callbacks", "logger")  # may be None
OPEN = ("callbacks", "logger", "trainer")  # take keys that conf/ does not list


def _overrides(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """{"optimizer": {"lr": 0.05}} -> "optimizer.lr=0.05"."""
    for key, value in settings.items():
        full = f"{prefix}{key}"
        if key == "hydra":
            raise ConfigError("hydra: no such key here; sweeps take it (mlpfit -m)")
        if value is None and full in OPTIONAL:
            value = "none"
        if full in OPEN and not isinstance(value, Mapping | str):
            raise ConfigError(
                f"{full}: takes a name of conf/{full}, or a dict such as "
                '{"mine": {"_target_": "lightning.pytorch.callbacks.Timer"}}'
            )
        if isinstance(value, Mapping) and full not in WITH_ARGUMENTS:
            if full in GROUPS and isinstance(value.get("name"), str):
                yield f"{full}={_as_override(value['name'])}"
                value = {k: v for k, v in value.items() if k != "name"}
            yield from _overrides(value, f"{full}.")
        else:
            added = "++" if full.partition(".")[0] in OPEN and "." in full else ""
            yield f"{added}{full}={_as_override(value)}"


def _as_override(value: Any) -> str:
    """A value in the grammar of Hydra's overrides. Raises ConfigError."""
    value = value.tolist() if hasattr(value, "tolist") else value  # of numpy
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple | range):
        return f"[{','.join(map(_as_override, value))}]"
    if isinstance(value, str):
        check_text(value, value)
    if isinstance(value, str) and re.fullmatch(r"[\w/-]*\w", value):
        return value
    try:  # strings quoted, since they may have special characters
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{error}: allowed are numbers, texts, lists and dicts of them") from None
