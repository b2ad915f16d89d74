"""Training from Python, as a notebook does."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlpfit.config.compose import compose
from mlpfit.errors import ConfigError
from mlpfit.report.notebook import Run, load_run

FITS = Path("outputs/fits")


def fit(experiment: str, *, output_dir: str | Path = FITS, **settings: Any) -> Run:
    """Train an experiment with other settings and return the finished run; at once if it has been
    trained before, here or (with the default output_dir) by a command.

    >>> import mlpfit
    >>> given = {"trainer": {"max_steps": 20}, "optimizer": {"lr": 0.05}}
    >>> mlpfit.fit("parabola/eight_neurons", replicas=3, **given).metrics["mse"].shape
    (3,)

    Settings are the keys of conf/config.yaml; groups take a dict, or the name of another choice:
    optimizer="sgd". The run goes to a folder of output_dir named by the settings, so the published
    runs are left alone. Training stays in this process unless ``ensemble={"processes": n}`` asks
    for more, which a script then has to allow for with
    ``if __name__ == "__main__":``.

    Raises ConfigError for a setting that is not allowed, Diverged if the loss of a single run is
    lost.
    """
    from mlpfit.config.sources import job_folder
    from mlpfit.runs.identity import is_current
    from mlpfit.training.train import train

    overrides = sorted(_overrides(settings))
    place = f"output_dir={_as_override(str(output_dir))}"
    config = compose([f"experiment={_as_override(experiment)}", place, *overrides])
    tutorial = experiment.rpartition("/")[0]
    folder = Path(output_dir) / tutorial / job_folder(overrides, experiment)
    if config.ensemble.processes is None:
        config = replace(config, ensemble=replace(config.ensemble, processes=1))
    by_command = replace(config, output_dir="outputs").folder
    if Path(output_dir) == FITS and not config.force and is_current(config, by_command):
        return load_run(by_command)
    train(config, folder)
    return load_run(folder)


def _overrides(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """{"optimizer": {"lr": 0.05}} -> "optimizer.lr=0.05"."""
    for key, value in settings.items():
        if key == "hydra":
            raise ConfigError("hydra: no such key here; sweeps take it (mlpfit -m)")
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={_as_override(value)}"


def _as_override(value: Any) -> str:
    """As Hydra's command line has it."""
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's numbers and arrays
    if isinstance(value, list | tuple | range):
        return f"[{','.join(map(_as_override, value))}]"
    if isinstance(value, str) and re.fullmatch(r"[\w/-]*\w", value):
        return value
    try:  # texts quoted: they may hold what Hydra's grammar uses
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{error}: allowed are numbers, texts, lists and dicts of them") from None
