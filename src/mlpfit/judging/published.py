"""The numbers that the tutorials' pages print, and the same quantities of a run.

``published.yaml`` in a tutorial's folder holds author, title, year, page (its address), summary,
asked (what the page tries, in one plain sentence), featured (the experiment that stands for the
page on the report's first screen; default: the first), seed (the page's own, if it has one),
deviations and numbers.

``deviations`` lists what the page does and we don't, or can't know: sentences, of all experiments,
or {experiment, what}. ``numbers`` is a list of

experiment, quantity  what the values are of: a quantity that is built in, or one of the tutorial's
                      own (:mod:`mlpfit.judging.quantities`)
update                before: before that step's update, of the rows that the step sees;
                      mean_of_steps, mean_of_rows: the mean of these over all steps of an epoch, as
                      many loops print it, or over all rows that they see, as Keras prints it;
                      after: after that step, of all rows; none: no step is involved
convention            of the values, in words
label                 name of the quantity in words
steps or epochs       at which they are printed; an epoch stands for its last step
values                as printed
not_checkable         the reason, where no run has the quantity
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from mlpfit.config import catalogue
from mlpfit.config.checking import Section, read_yaml
from mlpfit.config.compose import as_published
from mlpfit.config.schema import Config, Count
from mlpfit.errors import ConfigError, allowed, naming
from mlpfit.judging import claims, quantities
from mlpfit.runs.run import Run
from mlpfit.training.shard import Schedule

Update = Literal["before", "mean_of_steps", "mean_of_rows", "after", "none"]
MEANS = ("mean_of_steps", "mean_of_rows")
LOSSES = ("mse", "sse")  # whose traces decide, where a page prints others, too
# YAML takes 1e9 for text.
Printed = Annotated[float, BeforeValidator(lambda v: float(v) if isinstance(v, str) else v)]


@dataclass(frozen=True)
class Entry(Section):
    """One entry of ``numbers`` in the file."""

    experiment: str
    quantity: str
    update: Update
    values: tuple[Printed, ...]
    steps: tuple[int | None, ...] = ()
    epochs: tuple[Count, ...] = ()
    convention: str = ""
    not_checkable: str = ""
    label: str = ""


@dataclass(frozen=True)
class Number:
    """One printed number.

    step   at which it is printed; None where no step is involved
    epoch  whose last step that is, where the page counts epochs
    along  after a step before the last one of the training
    apart  what tells it from a number of the same quantity and step, as the end of its key
    """

    experiment: str
    quantity: str
    update: Update
    convention: str
    step: int | None
    value: float
    not_checkable: str = ""
    label: str = ""
    epoch: int | None = None
    along: bool = False
    apart: str = ""

    @property
    def key(self) -> str:
        """Unique name: plane/scratch:mse@10, ramp/steep:val_mae@epoch20."""
        place = "" if self.step is None else f"@{self.step}"
        place = place if self.epoch is None else f"@epoch{self.epoch}"
        return f"{self.experiment}:{self.quantity}{place}{self.apart}"

    @property
    def name(self) -> str:
        """Name of the quantity in words."""
        return self.label or quantities.LABELS.get(self.quantity, self.quantity)


@dataclass(frozen=True)
class Deviation(Section):
    """What the page does and we don't, or can't know; experiment: empty for all of the page's."""

    what: str
    experiment: str = ""


def _deviation(given: Any) -> Any:
    return {"what": given} if isinstance(given, str) else given


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
    deviations: tuple[Annotated[Deviation, BeforeValidator(_deviation)], ...] = ()

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
    owner = catalogue.tutorial(name)
    configs = {e: as_published(e) for e in owner.experiments()} if content.numbers else {}
    entries = [replace(e, experiment=owner.full_name(e.experiment)) for e in content.numbers]
    numbers = [n for entry in entries for n in _numbers(entry, configs.get(entry.experiment), file)]
    deviations = tuple(
        replace(d, experiment=owner.full_name(d.experiment) if d.experiment else "")
        for d in content.deviations
    )
    given = {"numbers": tuple(_told_apart(numbers)), "deviations": deviations}
    return Tutorial(**vars(content) | given)


def _numbers(entry: Entry, config: Config | None, file: Path) -> list[Number]:
    """The numbers of one entry; config: of its experiment, if there is one. Raises ConfigError for
    another number of values than of steps or epochs."""
    given = f"{file}: {entry.experiment}, {entry.quantity}"
    if bool(entry.steps) == bool(entry.epochs):
        raise ConfigError(f"{given}: needs either steps or epochs")
    places = entry.epochs or entry.steps
    if len(places) != len(entry.values):
        kind = "epochs" if entry.epochs else "steps"
        counts = f"{len(places)} {kind}, {len(entry.values)} values"
        raise ConfigError(f"{given}: {counts}: must be as many")
    fields = {key: value for key, value in vars(entry).items() if key in _COMMON}
    numbers = []
    for place, value in zip(places, entry.values, strict=True):
        step, epoch = place, None
        if entry.epochs and place is not None:
            step, epoch = place * (config.steps_per_epoch if config else 1), place
        last = config.steps if config else 0
        along = entry.update == "after" and step is not None and step < last
        numbers.append(Number(**fields, step=step, epoch=epoch, along=along, value=value))
    return numbers


_COMMON = ("experiment", "quantity", "update", "convention", "not_checkable", "label")


def _told_apart(numbers: list[Number]) -> list[Number]:
    """The numbers; where two of one quantity and step differ in ``update``, all but the first say
    so in their keys."""
    first: dict[str, Update] = {}
    return [
        n if first.setdefault(n.key, n.update) == n.update else replace(n, apart=f",{n.update}")
        for n in numbers
    ]


def check_page(name: str) -> None:
    """Raises ConfigError in one line if a published number or a claim of the tutorial names an
    experiment, a quantity or a step that does not exist."""
    quantities.check_quantities(name)
    page, experiments = tutorial(name), catalogue.tutorial(name).experiments()
    file, own, laws = f"{name}/published.yaml", quantities.own(name), quantities.laws(name)
    configs = {e: as_published(e) for e in experiments}
    for number in page.numbers:
        if number.not_checkable or number.quantity in laws:
            continue
        if number.experiment not in configs:
            wrong = allowed(number.experiment, experiments)
            raise ConfigError(f"{file}: experiment={number.experiment}: {wrong}")
        config = configs[number.experiment]
        if not (number.quantity in quantities.LABELS or number.quantity in (config.loss, *own)):
            wrong = allowed(number.quantity, [*quantities.LABELS, *own])
            raise ConfigError(f"{file}: quantity={number.quantity}: {wrong}")
        if problem := _problem(number, config, own.get(number.quantity)):
            raise ConfigError(f"{file}: {number.key}: {problem}")
    for config in configs.values():
        check_recorded(config, losses=False)
    for experiment in experiments if page.seed is not None else ():
        if (seed := configs[experiment].replica_seeds[0]) != page.seed:
            problem = f"the page's seed is {page.seed}, that of {experiment} is {seed}"
            raise ConfigError(f"{file}: {problem}; set seed: {page.seed} in its YAML")
    if twice := [key for key, count in Counter(n.key for n in page.numbers).items() if count > 1]:
        raise ConfigError(f"{file}: {twice[0]}: given twice")
    if page.featured and catalogue.tutorial(name).full_name(page.featured) not in experiments:
        raise ConfigError(f"{file}: featured: {allowed(page.featured, experiments)}")
    for deviation in page.deviations:
        if deviation.experiment and deviation.experiment not in experiments:
            wrong = allowed(deviation.experiment, experiments)
            raise ConfigError(f"{file}: deviations: experiment={deviation.experiment}: {wrong}")
    claims.check_claims(name)


def _problem(number: Number, config: Config, own: quantities.Quantity | None) -> str:
    """Why no run of the experiment has this number; empty if one has."""
    step, last = number.step, config.steps
    if number.epoch is not None and (step or 0) > last:
        return f"epoch must be between 1 and {last // config.steps_per_epoch}"
    if number.update in MEANS and number.epoch is None:
        return f"{number.update} is of an epoch: give epochs instead of steps"
    if number.update in ("before", *MEANS):
        if not 1 <= (step or 0) <= last:
            return f"step must be between 1 and {last}"
        known = own is not None or quantities.is_known_before(number.quantity, config)
        if not known:
            needed = "only the loss of a step's rows is recorded"
            return f"{needed}, so {number.quantity} can be published with update: after alone"
    if number.update in MEANS and own is not None:
        return "a mean over the steps can be had of the loss alone"
    if number.update == "after" and step is not None and not 0 <= step <= last:
        return f"step must be between 0 and {last}"
    several = number.update == "before" or number.along
    if own is not None and several and not quantities.takes_step(own):
        return f"{number.quantity} must take the step, too: def {number.quantity}(run, step)"
    return ""


def check_recorded(config: Config, *, losses: bool = True) -> None:
    """Raises ConfigError, with the key to set, if an ensemble of this config would not record what
    its page's numbers need; losses: among it the losses of steps."""
    steps, weights = _needed(config)
    given = f"{config.name}: its page prints numbers that an ensemble would not record"
    schedule = Schedule(replace(config, replicas=2, seeds=None))
    missing = sorted(steps - {*schedule.recorded_steps(config.steps).tolist()})
    if missing and losses:
        remedy = f"set ensemble.history_points={config.steps}"
        if epochs := sorted(
            {n.epoch for n in checkable(config.name) if n.epoch and n.update in MEANS}
        ):
            remedy = f"set recording.losses_of_epochs={epochs}"
        raise ConfigError(f"{given} (the loss of step {missing[0]}): {remedy}")
    if weights - {*schedule.snapshots}:
        remedy = f"set recording.weights_after={sorted(weights)}"
        raise ConfigError(f"{given} (from the weights after a step): {remedy}")


def _needed(config: Config) -> tuple[set[int], set[int]]:
    """Steps of which the loss, and after which the weights must be kept for the page's numbers, as
    far as the config has them."""
    losses: set[int] = set()
    weights: set[int] = set()
    own = quantities.own(config.name)
    for number in (n for n in in_runs(config.name) if n.step is not None and n.quantity not in own):
        step = number.step or 0
        if number.along:
            weights.add(step)
        elif number.update in ("before", *MEANS):
            steps = _steps_of(number)
            if quantities.follows_from_loss(number.quantity, config.loss):
                losses |= {*steps}
            else:
                weights |= {step - 1 for step in steps}
    last = config.steps
    return {step for step in losses if step <= last}, {step for step in weights if step < last}


def _steps_of(number: Number) -> range:
    """The steps whose numbers are averaged; of all but means, the step alone."""
    step = number.step or 0
    length = step // number.epoch if number.epoch and number.update in MEANS else 1
    return range(step - length + 1, step + 1)


def checkable(experiment: str) -> list[Number]:
    """The published numbers of an experiment that can be judged, in the page's order."""
    owner = experiment.split("/")[0]
    file = catalogue.tutorial(owner).folder / "published.yaml"
    return _checkable(owner, file).get(experiment, [])


@cache
def _checkable(name: str, file: Path) -> dict[str, list[Number]]:
    """The numbers of a page that can be judged, by experiment."""
    by_experiment: dict[str, list[Number]] = {}
    for number in _read(name, file).numbers:
        if not number.not_checkable:
            by_experiment.setdefault(number.experiment, []).append(number)
    return by_experiment


def in_runs(experiment: str) -> list[Number]:
    """The published numbers of an experiment that a run has, too, in the page's order."""
    laws = quantities.laws(experiment)
    return [n for n in checkable(experiment) if n.quantity not in laws]


def featured(name: str) -> str:
    """The experiment that stands for a tutorial's page."""
    owner = catalogue.tutorial(name)
    chosen = tutorial(name).featured
    return owner.full_name(chosen) if chosen else owner.experiments()[0]


def last_number(experiment: str) -> Number | None:
    """The last number that the page prints of the experiment's run and that a run has, too."""
    return next(reversed(in_runs(experiment)), None)


def printed_trace(experiment: str) -> list[Number]:
    """The numbers of one quantity printed along training, its losses if there are some; empty if
    fewer than two."""
    traces: dict[tuple[str, str], list[Number]] = {}
    for number in in_runs(experiment):
        if number.update != "none" and number.step is not None:
            traces.setdefault((number.quantity, number.update), []).append(number)
    order = sorted(traces, key=lambda kind: (*LOSSES, kind[0]).index(kind[0]))
    return next((traces[kind] for kind in order if len(traces[kind]) > 1), [])


def values_of(run: Run, numbers: Sequence[Number]) -> np.ndarray:
    """The quantities of published numbers of one experiment in each replica: (R, numbers). Raises
    RunError if the run has not recorded one."""
    owner = numbers[0].experiment.split("/")[0]
    own = quantities.own(owner)
    return np.stack([_values(run, number, owner, own) for number in numbers], axis=1)


def values_in(run: Run, number: Number | None) -> np.ndarray:
    """The quantity of a published number in each replica: (R,); of None, the final mse. Raises
    RunError if the run has not recorded it.

    Before a step's update it is of the rows that the step sees (``data.batch_size``); after an
    update it is of all rows.
    """
    return run.final("mse") if number is None else values_of(run, [number])[:, 0]


def _values(run: Run, number: Number, owner: str, own: Mapping[str, Any]) -> np.ndarray:
    quantity, step = number.quantity, number.step
    if quantity in own:
        return quantities.own_values(owner, quantity, run, step)
    with naming(number.key):
        if number.update in MEANS:
            by_rows = number.update == "mean_of_rows"
            return quantities.epoch_mean(run, quantity, _steps_of(number), by_rows)
        if number.update == "before":
            return quantities.before_step(run, quantity, step or 0)
        if number.along:
            return quantities.after_step(run, quantity, step or 0)
        return quantities.after_last(run, quantity)
