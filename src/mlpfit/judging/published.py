"""The numbers that the tutorials' pages print, and the same quantities of a run.

``published.yaml`` in a tutorial's folder holds author, title, year, page (its address), summary,
asked (what the page tries, in one plain sentence), featured (the experiment that stands for the
page on the report's first screen; default: the first), seed (the page's own, if it has one)
and numbers, a list of

experiment, quantity  what the values are of
update                before: before that step's update, of the rows that the step sees;
                      after: after the last one, of all rows; none: no step is involved
convention            of the values, in words
label                 name of the quantity in words, of one that ``QUANTITIES`` of claims.py defines
steps, values         as printed
not_checkable         the reason, where no run has the quantity
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from mlpfit.config import catalogue
from mlpfit.config.checking import Section, read_yaml
from mlpfit.config.compose import as_published
from mlpfit.errors import ConfigError, RunError, allowed, as_config_error
from mlpfit.judging import claims
from mlpfit.runs.run import Run

LOSSES = ("mse", "sse")
Update = Literal["before", "after", "none"]
# YAML takes 1e9 for text.
Printed = Annotated[float, BeforeValidator(lambda v: float(v) if isinstance(v, str) else v)]


@dataclass(frozen=True)
class Entry(Section):
    """One entry of ``numbers`` in the file."""

    experiment: str
    quantity: str
    update: Update
    steps: tuple[int | None, ...]
    values: tuple[Printed, ...]
    convention: str = ""
    not_checkable: str = ""
    label: str = ""


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
    label: str = ""

    @property
    def key(self) -> str:
        """Unique name: plane/scratch:mse@10."""
        return f"{self.experiment}:{self.quantity}" + ("" if self.step is None else f"@{self.step}")


@dataclass(frozen=True)
class Page(Section):
    """What a tutorial says of its page; of an unpublished one, nothing."""

    author: str = ""
    title: str = ""
    year: int | None = None
    page: str | None = None
    summary: str = ""
    asked: str = ""
    featured: str = ""
    seed: int | None = None

    def citation(self) -> str:
        """Author, title and year; empty if nothing is published."""
        if not self.title:
            return ""
        return f'{self.author}, "{self.title}"' + (f" ({self.year})" if self.year else "")


@dataclass(frozen=True)
class File(Page):
    """published.yaml as it is written."""

    numbers: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Tutorial(Page):
    """What is published of a tutorial, number by number."""

    numbers: tuple[Number, ...] = ()


def tutorial(name: str) -> Tutorial:
    """What is published of this tutorial. Raises ConfigError in one line for a damaged file."""
    return _read(name, catalogue.tutorial(name).folder / "published.yaml")


@cache
def _read(name: str, file: Path) -> Tutorial:
    if not file.is_file():
        return Tutorial()
    content: File = read_yaml(File, file)
    numbers = tuple(number for entry in content.numbers for number in _numbers(entry, name, file))
    shown = (content.author, content.title, content.page, content.summary, content.asked)
    per_number = (text for n in numbers for text in (n.convention, n.not_checkable, n.label))
    claims.check_texts(file, *shown, *per_number)
    return Tutorial(**vars(content) | {"numbers": numbers})


def check(name: str) -> None:
    """Raises ConfigError in one line if a published number or a claim of the tutorial names an
    experiment, a quantity or a step that does not exist."""
    module, page = claims.claims_module(name), tutorial(name)
    experiments = catalogue.tutorial(name).experiments()
    quantities = [*LOSSES, *getattr(module, "QUANTITIES", {})]
    file, laws = f"{name}/published.yaml", getattr(module, "LAWS", {})
    max_steps = {e: as_published(e).steps for e in experiments}
    for number in page.numbers:
        if number.not_checkable or number.quantity in laws:
            continue
        for key, values in (("experiment", experiments), ("quantity", quantities)):
            if (value := getattr(number, key)) not in values:
                raise ConfigError(f"{file}: {key}={value}: {allowed(value, values)}")
        last = max_steps[number.experiment]
        if number.update == "before" and not 1 <= (number.step or 0) <= last:
            raise ConfigError(f"{file}: {number.key}: step must be between 1 and {last}")
        if number.update == "after" and number.step not in (None, last):
            problem = f"after must be at the last step, {last}; losses along the way are before"
            raise ConfigError(f"{file}: {number.key}: {problem}")
    for experiment in experiments if page.seed is not None else ():
        if (seed := as_published(experiment).replica_seeds[0]) != page.seed:
            problem = f"the page's seed is {page.seed}, that of {experiment} is {seed}"
            raise ConfigError(f"{file}: {problem}; set seed: {page.seed} in its YAML")
    if twice := [key for key, count in Counter(n.key for n in page.numbers).items() if count > 1]:
        raise ConfigError(f"{file}: {twice[0]}: given twice")
    if page.featured and catalogue.tutorial(name).full_name(page.featured) not in experiments:
        raise ConfigError(f"{file}: featured: {allowed(page.featured, experiments)}")
    claims.check(name)


def _numbers(entry: Entry, tutorial: str, file: Path) -> list[Number]:
    """The numbers of one entry. Raises ConfigError for another number of values than of steps."""
    name = catalogue.tutorial(tutorial).full_name(entry.experiment)
    fields = vars(entry) | {"experiment": name}
    steps, values = fields.pop("steps"), fields.pop("values")
    if len(steps) != len(values):
        given = f"{entry.experiment}, {entry.quantity}: {len(steps)} steps, {len(values)} values"
        raise ConfigError(f"{file}: {given}: must be as many")
    return [Number(**fields, step=s, value=v) for s, v in zip(steps, values, strict=True)]


def checkable(experiment: str) -> list[Number]:
    """The published numbers of an experiment that a run has, too, in the page's order."""
    numbers = tutorial(experiment.split("/")[0]).numbers
    return [n for n in numbers if n.experiment == experiment and not n.not_checkable]


def featured(name: str) -> str:
    """The experiment that stands for a tutorial's page."""
    owner = catalogue.tutorial(name)
    chosen = tutorial(name).featured
    return owner.full_name(chosen) if chosen else owner.experiments()[0]


def last_number(experiment: str) -> Number | None:
    """The last number that the page prints of the experiment's run and that a run has, too."""
    return next(reversed(checkable(experiment)), None)


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

    ``mse`` and ``sse`` before a step's update come from the history, and are of the rows that the
    step sees (``data.batch_size``); after the last update they come from the metrics and are of all
    rows. Other quantities are defined by QUANTITIES of the tutorial's claims.py.
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
    steps = run.history["step"].tolist()
    if step is None or step > steps[-1]:
        raise RunError(f"{number.key}: not a step of this run, which took {steps[-1]}")
    if step not in steps:
        remedy = f"ensemble.history_points={steps[-1]} keeps all"
        raise RunError(f"{number.key}: {run.path} has not kept the loss of that step; {remedy}")
    loss, is_sum = run.config["loss"], quantity == "sse"
    # A loss of the published kind needs no rows; they cancel.
    rows = run.data["x"].shape[1] if (loss == "sse") == is_sum else rows_of_step(run, step)
    to_mse = {"mse": 1.0, "half_mse": 2.0, "sse": 1 / rows}[loss]
    return run.history["loss"][steps.index(step)] * to_mse * (rows if is_sum else 1)


def rows_of_step(run: Run, step: int) -> int:
    """Rows that a step, counted from 1, sees in every replica. Raises RunError where batches of one
    step have other lengths in other replicas."""
    data, rows = run.config["data"], run.data["x"].shape[1]
    batch = data["batch_size"] or rows
    if data["order"] in ("shuffle", "sequential"):  # the last batch of an epoch may be shorter
        return min(batch, rows - (step - 1) % -(-rows // batch) * batch)
    if data["order"] == "blocks" and (data["macro_batch"] % batch or rows % batch):
        given = "data.order=blocks with batches of several lengths"
        raise RunError(f"{run.path}: {given}: publish losses as {run.config['loss']}")
    return batch
