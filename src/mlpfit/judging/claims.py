"""What pages claim and where they slip, as functions over replicas, and the predicates that several
tutorials share.

A tutorial's ``claims.py`` may hold ``CLAIMS``, ``SLIPS``, ``JOINT``, ``FINDINGS`` (lists of what is
defined here), ``QUANTITIES`` (name of a published quantity -> its value in every replica of a run),
``LAWS`` (of one that no run has -> draws from its distribution) and ``derived`` (a published number
that follows from others: number, findings -> the reason, or None).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from mlpfit.config import catalogue
from mlpfit.errors import ConfigError, RunError
from mlpfit.runs.run import Run

Ensembles = Mapping[str, Run]
Predicate = Callable[[Ensembles], np.ndarray]


@dataclass(frozen=True)
class Claim:
    """A statement that holds or fails in each seed.

    claim: in our words; where: the place on the page that says it, None for a question of ours;
    measure: how it is made checkable; holds: a truth value per replica; experiments: those it looks
    at, variants ("tutorial/experiment:variant") among them. identity: it can't fail, so its share
    has no interval. levels: the same with other thresholds; bounds: the same of what no net could
    beat, or any would.
    """

    claim: str
    measure: str
    experiments: tuple[str, ...]
    holds: Predicate
    where: str | None = None
    identity: bool = False
    levels: dict[str, Predicate] = field(default_factory=dict)
    bounds: dict[str, Predicate] = field(default_factory=dict)

    def in_each(self, runs: Ensembles, holds: Predicate) -> np.ndarray:
        """Whether holds (or a level) does: (R,); never where a run it looks at has diverged."""
        truth = np.asarray(holds(runs))
        diverged = [runs[name].diverged[: len(truth)] for name in self.experiments]
        return truth & ~np.logical_or.reduce(diverged)


@dataclass(frozen=True)
class Slip:
    """what went wrong, and, where it can be counted, effect: a number per replica that says how
    much it matters (named in ``measure``); without: the same measure had the page not slipped."""

    what: str
    measure: str = ""
    experiments: tuple[str, ...] = ()
    effect: Predicate | None = None
    without: Predicate | None = None


@dataclass(frozen=True)
class Joint:
    """One quantity of several published numbers (key -> value) that belong together."""

    what: str
    experiments: tuple[str, ...]
    published: Callable[[Mapping[str, float]], float]
    replicas: Predicate


@dataclass(frozen=True)
class Finding:
    """What published numbers tell by themselves: values for the ledger under ``key``, and a
    paragraph for the report."""

    key: str
    title: str
    values: dict[str, float]
    text: str


KINDS: dict[str, Any] = {"CLAIMS": Claim, "SLIPS": Slip, "JOINT": Joint}  # lists of claims.py
LISTS = (*KINDS, "FINDINGS", "QUANTITIES", "LAWS")


def part(tutorial: str) -> ModuleType | None:
    """Its claims.py, if it has one."""
    return catalogue.tutorial(tutorial).module("claims", *LISTS)


def listed(tutorial: str, name: str) -> list[Any]:
    """A list of its claims.py ("CLAIMS"); empty if it has none."""
    return getattr(part(tutorial), name, [])


def check(tutorial: str) -> None:
    """Raises ConfigError in one line if a list of its claims.py is misspelt, holds something else
    than it should, or looks at an experiment that there is not."""
    file = f"{tutorial}/claims.py"
    for name, kind in KINDS.items():
        for stated in listed(tutorial, name):
            if not isinstance(stated, kind):
                raise ConfigError(f"{file}: {name} holds {stated!r}: must be {kind.__name__}(...)")
            for experiment in stated.experiments:
                catalogue.existing(experiment.partition(":")[0], file)


def findings(tutorial: str) -> list[Finding]:
    return [find() for find in listed(tutorial, "FINDINGS")]


def finals(runs: Ensembles, name: str, *experiments: str) -> np.ndarray:
    """A final number of the replicas that all of these have, seed by seed: (experiments, R).

    Raises RunError if their seeds are not the same.
    """
    replicas = min(runs[experiment].replicas for experiment in experiments)
    seeds = {tuple(runs[experiment].seeds[:replicas]) for experiment in experiments}
    if len(seeds) > 1:
        raise RunError(f"{', '.join(experiments)}: other seeds, so nothing to compare one by one")
    return np.stack([runs[experiment].final(name)[:replicas] for experiment in experiments])


def less(name: str, *experiments: str) -> Predicate:
    """The final number grows strictly along these experiments, seed by seed."""

    def holds(runs: Ensembles) -> np.ndarray:
        values = finals(runs, name, *experiments)
        return np.logical_and.reduce([a < b for a, b in pairwise(values)])

    return holds


def ratio(name: str, numerator: str, denominator: str) -> Predicate:
    """Of two final numbers, seed by seed."""

    def values(runs: Ensembles) -> np.ndarray:
        above, below = finals(runs, name, numerator, denominator)
        with np.errstate(invalid="ignore"):  # both diverged
            return above / below

    return values


def always_falls(experiment: str, every: int) -> Predicate:
    """The loss is smaller at each of the steps every, 2 every, ... than at the one before."""

    def holds(runs: Ensembles) -> np.ndarray:
        history = runs[experiment].history
        printed = history["loss"][history["step"] % every == 0]
        return (np.diff(printed, axis=0) < 0).all(axis=0)

    return holds


def falls(experiment: str, losses: str, every: int) -> Claim:
    """Of a page that prints every so many losses, in words."""
    return Claim(
        f"{losses} fall at every step, as on the page",
        f"losses before the update of every {every}th step",
        (experiment,),
        always_falls(experiment, every),
    )


def r2(run: Run) -> np.ndarray:
    """Share of the variance of the training rows that the fit explains."""
    y = run.data["y"][..., 0]
    return 1 - run.metrics["sse"] / ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)


def sections(experiment: str, units: str, where: str | None = None) -> Claim:
    """That its hidden units (in words) bend the curve apart from one another."""
    return Claim(
        f"{units} takes its own section of the curve",
        "kinks -b/w inside the range, none closer than 1 % of it",
        (experiment,),
        own_sections(experiment, 0.01),
        where=where,
        levels={
            f"{gap:.1%} apart": own_sections(experiment, gap) for gap in (0, 0.005, 0.01, 0.02)
        },
    )


def own_sections(experiment: str, gap: float) -> Predicate:
    """All kinks inside the range of the inputs and no two closer than this share of it."""

    def holds(runs: Ensembles) -> np.ndarray:
        run = runs[experiment]
        low, high = run.data["pool_x"].min(), run.data["pool_x"].max()
        places = np.sort(run.kinks(), axis=1)
        inside = ((places > low) & (places < high)).all(axis=1)
        return inside & (np.diff(places, axis=1) > gap * (high - low)).all(axis=1)

    return holds


def best_line_mse(run: Run) -> np.ndarray:
    """Mean squared error of the least-squares straight line through the rows of one input: (R,)."""
    x, y = run.data["x"][..., 0], run.data["y"][..., 0]
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    return (y**2).mean(1) - (x * y).mean(1) ** 2 / (x**2).mean(1)


def gradients_agree(run: Run) -> np.ndarray:
    """Largest deviation of the chain rule written out by hand from autograd, at the initial
    weights, below 1e-5 of the gradient's largest entry."""
    import torch

    from mlpfit.model import losses, mlp

    x, y = (torch.tensor(run.data[name], dtype=torch.float64) for name in ("x", "y"))
    parameters = [
        torch.from_numpy(array).double().requires_grad_()
        for layer in run.parameters(step=0)
        for array in layer
    ]
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    kind, activation = run.config["loss"], run.config["model"]["activation"]
    outputs = mlp.outputs(layers, x, activation)
    by_autograd = torch.autograd.grad(losses.loss(kind, outputs[-1], y).sum(), parameters)
    with torch.no_grad():
        error = losses.derivative(kind, outputs[-1], y)
        by_hand = mlp.gradients(layers, outputs, error, activation)
    pairs = list(zip(by_autograd, by_hand, strict=True))
    deviation = torch.stack([(a - h).abs().amax((1, 2)) for a, h in pairs]).amax(0)
    largest = torch.stack([a.abs().amax((1, 2)) for a, _ in pairs]).amax(0)
    return (deviation <= 1e-5 * largest).numpy()
