"""Claims and slips of the pages as functions over replicas, and predicates that tutorials share.

A tutorial's ``claims.py`` may define

CLAIMS, SLIPS, JOINT  lists of :class:`Claim`, :class:`Slip` and :class:`Joint`
FINDINGS              list of functions that each return a :class:`Finding`
derived               (number, findings) -> why the number follows from others, or None
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from mlpfit.config import catalogue
from mlpfit.errors import ConfigError, RunError, check_text
from mlpfit.judging import quantities
from mlpfit.runs.run import Run

Ensembles = Mapping[str, Run]
Predicate = Callable[[Ensembles], np.ndarray]


@dataclass(frozen=True)
class Claim:
    """A statement that holds or fails in each seed.

    claim        the statement in our words
    measure      how the statement is checked
    experiments  those it compares, variants ("tutorial/experiment:variant") included
    holds        runs -> whether it holds in each replica: (R,)
    where        where the page says it; None for a question of ours
    identity     it can't fail, so its share has no interval
    levels       the same claim with other thresholds
    bounds       the same claim for a bound that no net can beat, or that every net beats
    """

    claim: str
    measure: str
    experiments: tuple[str, ...]
    holds: Predicate
    where: str | None = None
    identity: bool = False
    levels: dict[str, Predicate] = field(default_factory=dict)
    bounds: dict[str, Predicate] = field(default_factory=dict)

    def per_replica(self, runs: Ensembles, predicate: Predicate) -> np.ndarray:
        """The predicate (``holds``, a level or a bound) in each replica: (R,); False where a run
        that the claim compares has diverged. Raises ValueError for a predicate of another kind."""
        holds = np.asarray(predicate(runs))
        replicas = min(runs[name].replicas for name in self.experiments)
        if holds.dtype != bool or holds.shape != (replicas,):
            needed = f"a truth value for each of {replicas} replicas"
            raise ValueError(f"gives {holds.dtype} of shape {holds.shape}; must be {needed}")
        diverged = [runs[name].diverged[:replicas] for name in self.experiments]
        return holds & ~np.logical_or.reduce(diverged)


@dataclass(frozen=True)
class Slip:
    """A mistake on a page.

    what         the mistake, in sentences of their own
    effect       a number per replica that says how much it matters, described by ``measure``; None
                 if it can't be measured
    without      the same number without the mistake
    consequence  what it changes, a sentence, where no number says it
    sides        one quantity as the page has it and as it is without the mistake: two names, each
                 with its number per replica, to be shown side by side; default: effect and without
    """

    what: str
    measure: str = ""
    experiments: tuple[str, ...] = ()
    effect: Predicate | None = None
    without: Predicate | None = None
    consequence: str = ""
    sides: tuple[tuple[str, Predicate], tuple[str, Predicate]] | None = None


@dataclass(frozen=True)
class Joint:
    """A quantity computed from several published numbers (key -> value), and from each replica."""

    what: str
    experiments: tuple[str, ...]
    published: Callable[[Mapping[str, float]], float]
    replicas: Predicate


@dataclass(frozen=True)
class Finding:
    """What the published numbers alone reveal: ``values`` for the ledger under ``key``, and a
    paragraph ``text`` for the report."""

    key: str
    title: str
    values: dict[str, float]
    text: str


KINDS: dict[str, Any] = {"CLAIMS": Claim, "SLIPS": Slip, "JOINT": Joint}  # lists of claims.py
LISTS = (*KINDS, "FINDINGS")


def claims_module(tutorial: str) -> ModuleType | None:
    """The tutorial's claims.py; None if it has none."""
    return catalogue.tutorial(tutorial).module("claims", *LISTS)


def entries(tutorial: str, kind: str) -> list[Any]:
    """The list of this name ("CLAIMS") in the tutorial's claims.py; empty if there is none."""
    return getattr(claims_module(tutorial), kind, [])


def all_entries(tutorial: str) -> list[Any]:
    """Its claims, slips and joint quantities."""
    return [entry for kind in KINDS for entry in entries(tutorial, kind)]


def check_claims(tutorial: str) -> None:
    """Raises ConfigError in one line if a list of the tutorial's claims.py is misspelt, has an
    entry of the wrong class, or names an experiment that does not exist."""
    file = f"{tutorial}/claims.py"
    for name in quantities.LISTS:
        if hasattr(claims_module(tutorial), name):
            raise ConfigError(f"{file}: {name} belongs in {tutorial}/quantities.py")
    for kind, entry_class in KINDS.items():
        for entry in entries(tutorial, kind):
            if not isinstance(entry, entry_class):
                expected = f"must be {entry_class.__name__}(...)"
                raise ConfigError(f"{file}: {kind} holds {entry!r}: {expected}")
            if isinstance(entry.experiments, str):
                example = f'experiments must be a tuple, ("{entry.experiments}",)'
                raise ConfigError(f"{file}: {next(iter(vars(entry).values()))}: {example}")
            for experiment in entry.experiments:
                catalogue.check_experiment(experiment.partition(":")[0], file)
            for text in filter(lambda given: isinstance(given, str), vars(entry).values()):
                check_text(text, f"{file}: {text[:30]!r}")


def findings(tutorial: str) -> list[Finding]:
    return [find() for find in entries(tutorial, "FINDINGS")]


def paired_finals(runs: Ensembles, quantity: str, *experiments: str) -> np.ndarray:
    """A final number of each experiment in the R seeds that all of them have: (experiments, R).

    Raises RunError if the first R seeds of the experiments differ.
    """
    replicas = min(runs[experiment].replicas for experiment in experiments)
    seeds = {tuple(runs[experiment].seeds[:replicas]) for experiment in experiments}
    if len(seeds) > 1:
        names = ", ".join(experiments)
        raise RunError(f"{names}: seeds differ, so replicas can't be paired; train with equal ones")
    return np.stack([runs[experiment].final(quantity)[:replicas] for experiment in experiments])


def less(quantity: str, *experiments: str) -> Predicate:
    """The final number increases strictly from each experiment to the next, seed by seed.

    ``less("sse", "tower/large", "tower/small")``
    """

    def holds(runs: Ensembles) -> np.ndarray:
        finals = paired_finals(runs, quantity, *experiments)
        return np.logical_and.reduce([a < b for a, b in pairwise(finals)])

    return holds


def final(quantity: str, experiment: str) -> Predicate:
    """The final number of an experiment."""
    return lambda runs: runs[experiment].final(quantity)


def ratio(quantity: str, numerator: str, denominator: str) -> Predicate:
    """Ratio of the final numbers of two experiments, seed by seed."""

    def ratios(runs: Ensembles) -> np.ndarray:
        above, below = paired_finals(runs, quantity, numerator, denominator)
        with np.errstate(invalid="ignore"):  # both diverged
            return above / below

    return ratios


def always_falls(experiment: str, interval: int) -> Predicate:
    """The losses at the steps interval, 2 interval, ... decrease strictly."""

    def holds(runs: Ensembles) -> np.ndarray:
        history = runs[experiment].history
        last = int(history["step"][-1])
        if last < 2 * interval:
            raise ValueError(f"of {last} steps every {interval}th are fewer than two")
        kept = history["step"] % interval == 0
        if kept.sum() != last // interval:
            raise ValueError(
                f"the losses of every {interval}th step of {experiment} are not kept; "
                f"ensemble.history_points={last} keeps all"
            )
        losses = history["loss"][kept]
        return (np.diff(losses, axis=0) < 0).all(axis=0)

    return holds


def falling_losses(experiment: str, losses: str, interval: int, where: str | None = None) -> Claim:
    """The claim that the losses a page prints, one per interval of steps, always fall; losses: what
    to call them."""
    return Claim(
        f"{losses} fall at every step",
        f"losses before the update of every {interval}th step",
        (experiment,),
        always_falls(experiment, interval),
        where=where,
    )


def separate_sections(experiment: str, units: str, where: str | None = None) -> Claim:
    """The claim that hidden units bend the curve in different places; units: their name."""
    return Claim(
        f"{units} takes its own section of the curve",
        "kinks -b/w inside the range, none closer than 1 % of it",
        (experiment,),
        kinks_apart(experiment, 0.01),
        where=where,
        levels={
            f"{100 * gap:.1f} % apart": kinks_apart(experiment, gap)
            for gap in (0, 0.005, 0.01, 0.02)
        },
    )


def kinks_apart(experiment: str, gap: float) -> Predicate:
    """All kinks lie inside the range of the inputs, any two farther apart than this share of it."""

    def holds(runs: Ensembles) -> np.ndarray:
        run = runs[experiment]
        low, high = run.data["pool_x"].min(), run.data["pool_x"].max()
        kinks = np.sort(run.kinks(), axis=1)
        inside = ((kinks > low) & (kinks < high)).all(axis=1)
        return inside & (np.diff(kinks, axis=1) > gap * (high - low)).all(axis=1)

    return holds


def best_line_mse(run: Run) -> np.ndarray:
    """Mean squared error of the least-squares line through the rows, for one input: (R,)."""
    x, y = run.data["x"][..., 0], run.data["y"][..., 0]
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    return (y**2).mean(1) - (x * y).mean(1) ** 2 / (x**2).mean(1)


def gradients_agree(run: Run) -> np.ndarray:
    """Whether, at the initial weights, the hand-written chain rule deviates from autograd by at
    most 1e-5 of the gradient's largest entry: (R,)."""
    import torch

    from mlpfit.model import losses, mlp

    x, y = (torch.tensor(run.data[name], dtype=torch.float64) for name in ("x", "y"))
    parameters = [
        torch.from_numpy(array).double().requires_grad_()
        for layer in run.parameters(step=0)
        for array in layer
    ]
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    loss, activation = run.config["loss"], run.config["model"]["activation"]
    outputs = mlp.outputs(layers, x, activation)
    by_autograd = torch.autograd.grad(losses.loss(loss, outputs[-1], y).sum(), parameters)
    with torch.no_grad():
        error = losses.derivative(loss, outputs[-1], y)
        _, *by_hand = mlp.gradients(layers, outputs, error, activation)  # the first is of x
    pairs = list(zip(by_autograd, by_hand, strict=True))
    deviation = torch.stack([(a - h).abs().amax((1, 2)) for a, h in pairs]).amax(0)
    largest = torch.stack([a.abs().amax((1, 2)) for a, _ in pairs]).amax(0)
    return (deviation <= 1e-5 * largest).numpy()
