"""The numbers the tutorials print (``published.yaml`` in a tutorial's folder), and the same
quantity of a run.

A file holds author, title, year, page, a summary and the page's seed, if it has one; ``sensitive``,
the experiments whose recipe amplifies rounding errors; and ``numbers``: experiment, quantity,
update (the value stands before or after that step's update; ``none``: no step is involved),
convention in words, steps and values as printed, and ``not_checkable``, the reason, where nothing
here has the quantity.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from mlpfit.config import catalogue
from mlpfit.config.compose import as_published
from mlpfit.errors import ConfigError, RunError, allowed, as_config_error
from mlpfit.judging import claims
from mlpfit.runs.run import Run

LOSSES = ("mse", "sse")
ENTRY = ("experiment", "quantity", "update", "convention", "steps", "values", "not_checkable")
Update = Literal["before", "after", "none"]


@dataclass(frozen=True)
class Number:
    """One printed number."""

    experiment: str
    quantity: str
    update: Update
    convention: str
    step: int | None
    value: float
    not_checkable: str = ""

    @property
    def key(self) -> str:
        """Unique name: plane/scratch:mse@10."""
        return f"{self.experiment}:{self.quantity}" + ("" if self.step is None else f"@{self.step}")


@dataclass(frozen=True)
class Tutorial:
    """What is published of a tutorial; of one that is published nowhere, its name alone."""

    name: str
    author: str = ""
    title: str = ""
    year: int | None = None
    page: str | None = None
    summary: str = ""
    seed: int | None = None
    sensitive: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()

    def citation(self) -> str:
        """Author, title and year; empty if nothing is published."""
        if not self.title:
            return ""
        return f'{self.author}, "{self.title}"' + (f" ({self.year})" if self.year else "")


def tutorial(name: str) -> Tutorial:
    """What is published of this tutorial. Raises ConfigError in one line for a damaged file."""
    return _read(name, catalogue.tutorial(name).folder / "published.yaml")


@cache
def _read(name: str, file: Path) -> Tutorial:
    if not file.is_file():
        return Tutorial(name)
    with as_config_error(str(file)):
        content: dict[str, Any] = yaml.safe_load(file.read_text())
        entries = content.pop("numbers", None) or []
        numbers = tuple(number for entry in entries for number in _numbers(**entry))
        stems = content.pop("sensitive", None) or []
        sensitive = tuple(catalogue.tutorial(name).full_name(stem) for stem in stems)
        return Tutorial(name, sensitive=sensitive, numbers=numbers, **content)


def check(name: str) -> None:
    """Raises ConfigError in one line if what a tutorial publishes or claims is of an experiment, a
    quantity or a step that there is not."""
    own, page = claims.part(name), tutorial(name)
    known = catalogue.tutorial(name).experiments()
    quantities = [*LOSSES, *getattr(own, "QUANTITIES", {})]
    file, laws = f"{name}/published.yaml", getattr(own, "LAWS", {})
    steps = {experiment: as_published(experiment).trainer.max_steps for experiment in known}
    for number in page.numbers:
        if number.not_checkable or number.quantity in laws:
            continue
        for given, names in ((number.experiment, known), (number.quantity, quantities)):
            if given not in names:
                raise ConfigError(f"{file}: {given}: {allowed(given, names)}")
        last = steps[number.experiment]
        if number.update == "before" and not 1 <= (number.step or 0) <= last:
            raise ConfigError(f"{file}: {number.key}: step must be one of 1 to {last}")
    if unknown := [stem for stem in page.sensitive if stem not in known]:
        raise ConfigError(f"{file}: sensitive: {unknown[0]}: {allowed(unknown[0], known)}")
    claims.check(name)


def _numbers(
    steps: list[int | None], values: list[Any], experiment: str, update: Any, **rest: Any
) -> list[Number]:
    """One entry's. Raises ValueError in words for what would be left out in silence."""
    given, fields = f"{experiment}, {rest.get('quantity')}", Number.__dataclass_fields__
    if unknown := [key for key in rest if key not in fields]:
        raise ValueError(f"{given}: {unknown[0]}: no such key; {allowed(unknown[0], ENTRY)}")
    if len(steps) != len(values):
        raise ValueError(f"{given}: {len(steps)} steps, {len(values)} values")
    if update not in get_args(Update):
        raise ValueError(f"{given}: update={update}: {allowed(update, get_args(Update))}")
    pairs = zip(steps, values, strict=True)  # YAML takes 1e9 for text
    return [
        Number(**rest, experiment=experiment, update=update, step=step, value=float(value))
        for step, value in pairs
    ]


def amplifies_rounding(experiment: str) -> bool:
    """Whether runs on other machines may drift apart by more than rounding errors."""
    return experiment in tutorial(experiment.split("/")[0]).sensitive


def printed(experiment: str) -> list[Number]:
    """What the page prints of an experiment and a run has, in its order."""
    numbers = tutorial(experiment.split("/")[0]).numbers
    return [n for n in numbers if n.experiment == experiment and not n.not_checkable]


def final(experiment: str) -> Number | None:
    """The last loss or sum of squares published for the experiment."""
    return next((n for n in reversed(printed(experiment)) if n.quantity in LOSSES), None)


def trace(experiment: str) -> list[Number]:
    """The losses printed along training, each before its step's update; empty if not several."""
    before = [n for n in printed(experiment) if n.update == "before"]
    every = ([n for n in before if n.quantity == quantity] for quantity in LOSSES)
    return next((trace for trace in every if len(trace) > 1), [])


def traces(run: Run, numbers: list[Number]) -> np.ndarray:
    """The run's own values of a printed trace: (R, steps)."""
    return np.stack([measured(run, number) for number in numbers], axis=1)


def measured(run: Run, number: Number | None) -> np.ndarray:
    """The run's own value of a published number, one per replica: (R,); of None, its final mse.

    ``mse`` and ``sse`` before the update of a step come from the history, after the last update
    from the metrics; others are the tutorial's own (QUANTITIES of its claims.py).
    """
    if number is None:
        return run.final("mse")
    quantity, step = number.quantity, number.step
    if quantity not in LOSSES:
        own = getattr(claims.part(run.config["name"]), "QUANTITIES", {})
        with as_config_error(f"{quantity} of {run.config['name']}"):
            return own[quantity](run)
    if number.update != "before":
        return run.metrics[quantity]
    rows, steps = run.data["x"].shape[1], run.history["step"].tolist()
    if step is None or step > steps[-1]:
        raise RunError(f"{number.key}: not a step of this run, which took {steps[-1]}")
    if step not in steps:
        kept = f"ensemble.history_points={steps[-1]} keeps all"
        raise RunError(f"{number.key}: {run.path} has not kept the loss of that step; {kept}")
    to_mse = {"mse": 1.0, "half_mse": 2.0, "sse": 1 / rows}[run.config["loss"]]
    return run.history["loss"][steps.index(step)] * to_mse * (rows if quantity == "sse" else 1)
