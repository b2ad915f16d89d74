"""The numbers that the tutorials' pages print, and the same quantities of a run.

``published.yaml`` in a tutorial's folder holds author, title, year, page (its address), summary,
seed (the page's own, if it has one), sensitive (experiments whose recipe amplifies rounding errors)
and numbers, a list of

experiment, quantity  what the values are of
update                before or after that step's update; none: no step is involved
convention            of the values, in words
steps, values         as printed
not_checkable         the reason, where no run has the quantity
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
KEYS = ("experiment", "quantity", "update", "convention", "steps", "values", "not_checkable")
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
    """What is published of a tutorial; of an unpublished one, its name alone."""

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
        numbers = tuple(number for entry in entries for number in _parsed(**entry))
        sensitive = tuple(
            map(catalogue.tutorial(name).full_name, content.pop("sensitive", None) or ())
        )
        return Tutorial(name, sensitive=sensitive, numbers=numbers, **content)


def check(name: str) -> None:
    """Raises ConfigError in one line if a published number or a claim of the tutorial names an
    experiment, a quantity or a step that does not exist."""
    module, page = claims.claims_module(name), tutorial(name)
    experiments = catalogue.tutorial(name).experiments()
    quantities = [*LOSSES, *getattr(module, "QUANTITIES", {})]
    file, laws = f"{name}/published.yaml", getattr(module, "LAWS", {})
    max_steps = {e: as_published(e).trainer.max_steps for e in experiments}
    for number in page.numbers:
        if number.not_checkable or number.quantity in laws:
            continue
        for value, values in ((number.experiment, experiments), (number.quantity, quantities)):
            if value not in values:
                raise ConfigError(f"{file}: {value}: {allowed(value, values)}")
        last = max_steps[number.experiment]
        if number.update == "before" and not 1 <= (number.step or 0) <= last:
            raise ConfigError(f"{file}: {number.key}: step must be one of 1 to {last}")
    if unknown := [name for name in page.sensitive if name not in experiments]:
        raise ConfigError(f"{file}: sensitive: {unknown[0]}: {allowed(unknown[0], experiments)}")
    claims.check(name)


def _parsed(
    steps: list[int | None], values: list[Any], experiment: str, update: Any, **rest: Any
) -> list[Number]:
    """The numbers of one entry. Raises ValueError for an unknown key, for another number of values
    than of steps, and for an unknown update."""
    entry, fields = f"{experiment}, {rest.get('quantity')}", Number.__dataclass_fields__
    if unknown := [key for key in rest if key not in fields]:
        raise ValueError(f"{entry}: {unknown[0]}: no such key; {allowed(unknown[0], KEYS)}")
    if len(steps) != len(values):
        raise ValueError(f"{entry}: {len(steps)} steps, {len(values)} values")
    if update not in get_args(Update):
        raise ValueError(f"{entry}: update={update}: {allowed(update, get_args(Update))}")
    common = {**rest, "experiment": experiment, "update": update}
    pairs = zip(steps, values, strict=True)
    return [Number(**common, step=step, value=float(v)) for step, v in pairs]  # YAML: 1e9 is text


def amplifies_rounding(experiment: str) -> bool:
    """Whether runs on other machines may differ by more than rounding errors."""
    return experiment in tutorial(experiment.split("/")[0]).sensitive


def checkable(experiment: str) -> list[Number]:
    """The published numbers of an experiment that a run has, too, in the page's order."""
    numbers = tutorial(experiment.split("/")[0]).numbers
    return [n for n in numbers if n.experiment == experiment and not n.not_checkable]


def final_number(experiment: str) -> Number | None:
    """The last loss or sum of squares published for the experiment."""
    return next((n for n in reversed(checkable(experiment)) if n.quantity in LOSSES), None)


def printed_trace(experiment: str) -> list[Number]:
    """The losses printed along training, each before its step's update; empty if fewer than two."""
    before = [n for n in checkable(experiment) if n.update == "before"]
    traces = ([n for n in before if n.quantity == quantity] for quantity in LOSSES)
    return next((trace for trace in traces if len(trace) > 1), [])


def trace_values(run: Run, trace: list[Number]) -> np.ndarray:
    """The quantities of a printed trace in each replica: (R, steps)."""
    return np.stack([values_in(run, number) for number in trace], axis=1)


def values_in(run: Run, number: Number | None) -> np.ndarray:
    """The quantity of a published number in each replica: (R,); of None, the final mse.

    ``mse`` and ``sse`` before a step's update come from the history, after the last update from the
    metrics; other quantities are defined by QUANTITIES of the tutorial's claims.py.
    """
    if number is None:
        return run.final("mse")
    quantity, step = number.quantity, number.step
    if quantity not in LOSSES:
        quantities = getattr(claims.claims_module(run.config["name"]), "QUANTITIES", {})
        with as_config_error(f"{quantity} of {run.config['name']}"):
            return quantities[quantity](run)
    if number.update != "before":
        return run.metrics[quantity]
    rows, steps = run.data["x"].shape[1], run.history["step"].tolist()
    if step is None or step > steps[-1]:
        raise RunError(f"{number.key}: not a step of this run, which took {steps[-1]}")
    if step not in steps:
        remedy = f"ensemble.history_points={steps[-1]} keeps all"
        raise RunError(f"{number.key}: {run.path} has not kept the loss of that step; {remedy}")
    to_mse = {"mse": 1.0, "half_mse": 2.0, "sse": 1 / rows}[run.config["loss"]]
    return run.history["loss"][steps.index(step)] * to_mse * (rows if quantity == "sse" else 1)
