"""What the variants tell: power, assumptions and sensitivity, tables of the ledger."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlpfit.judging import published, statistics
from mlpfit.judging.claims import Ensembles
from mlpfit.judging.evidence import lacking
from mlpfit.judging.published import Number
from mlpfit.judging.rows import ABSENT, AssumptionRow, Choice, Noticed, PowerRow, SensitivityRow
from mlpfit.judging.statistics import P
from mlpfit.judging.variants import KINDS, Variant, variants
from mlpfit.runs.run import Run

BASE_REPLICAS = 1000  # of the published recipe, which those of a changed one are compared with


def tables(runs: Ensembles, names: Sequence[str]) -> dict[str, list[Any]]:
    """power, assumptions and sensitivity of these tutorials for the ledger."""
    by_kind: dict[str, list[Variant]] = {kind: [] for kind in KINDS}
    for name in names:
        for variant in variants(name):
            by_kind[variant.kind].append(variant)
    return {
        "power": [power(variant, runs) for variant in by_kind["power"]],
        "assumptions": assumptions(by_kind["assumptions"], runs),
        "sensitivity": [sensitivity(variant, runs) for variant in by_kind["sensitivity"]],
    }


def _head(variant: Variant) -> tuple[str, str, str, int]:
    """Tutorial, experiment, change and replicas of a row."""
    owner = variant.experiment.split("/")[0]
    return owner, variant.experiment, variant.label, variant.replicas


def power(variant: Variant, runs: Ensembles) -> PowerRow:
    """The share of the changed replicas whose final number and whose trace would be noticed."""
    row = PowerRow(*_head(variant))
    if why := lacking(runs, [variant.experiment, variant.key]):
        return replace(row, lacking=why)
    recipes = (runs[variant.experiment], runs[variant.key])
    if number := published.last_number(variant.experiment):
        base, changed = (published.values_in(run, number) for run in recipes)
        p = statistics.p_values(changed, base[:BASE_REPLICAS])
        row = replace(row, final=_noticed(p))
    if trace := published.printed_trace(variant.experiment):
        base, changed = (published.values_of(run, trace) for run in recipes)
        tails = statistics.trace_tails(changed, base[:BASE_REPLICAS])
        row = replace(row, trace=_noticed((1 + tails) / (1 + len(base[:BASE_REPLICAS]))))
    return row


def _noticed(p: np.ndarray) -> Noticed:
    return Noticed(*statistics.proportion(int((p < statistics.TYPICAL_P).sum()), len(p)))


def assumptions(asked: list[Variant], runs: Ensembles) -> list[AssumptionRow]:
    """How well each choice, ours and the others, agrees with the published numbers."""
    choices: dict[tuple[str, str], list[Choice]] = {}
    for variant in asked:
        name = variant.experiment
        ours = Choice(variant.ours, True)
        own = choices.setdefault((name, variant.question), [])
        own += [_judged(ours, name, name, runs)] if not own else []
        own.append(_judged(Choice(variant.label, False), name, variant.key, runs))
    return [
        AssumptionRow(name.split("/")[0], name, question, own, _likeliest(own))
        for (name, question), own in choices.items()
    ]


def _likeliest(choices: list[Choice]) -> str | None:
    if any(choice.p is ABSENT for choice in choices):
        return None
    return max(choices, key=lambda choice: choice.p.p).choice


def _judged(choice: Choice, experiment: str, name: str, runs: Ensembles) -> Choice:
    """The plausibility of a choice, whose replicas have this name: p of the published trace, else
    of the last number, if this run had the page's recipe; the median error alone if no number is
    published."""
    if why := lacking(runs, [name]):
        return replace(choice, lacking=why)
    run = runs[name]
    choice = replace(choice, replicas=run.replicas, diverged=int(run.diverged.sum()))
    if (number := published.last_number(experiment)) is None:
        return replace(choice, median=float(statistics.quantiles(run.final("mse"), (0.5,))[0]))
    position, _ = statistics.position(number.value, published.values_in(run, number))
    test, p = plausibility(experiment, run, number)
    return replace(choice, test=test, p=p, median=position.median, ratio=position.ratio)


def plausibility(experiment: str, run: Run, number: Number) -> tuple[str, P]:
    """Which test decides, trace or final, and the p of what is published among these replicas;
    number: the last that is published."""
    if trace := published.printed_trace(experiment):
        printed = np.array([n.value for n in trace])
        return "trace", statistics.trace_test(printed, published.values_of(run, trace))
    return "final", statistics.position(number.value, published.values_in(run, number))[1]


def sensitivity(variant: Variant, runs: Ensembles) -> SensitivityRow:
    """How far the last number moves: the ratio of the medians, and the p-value of the two-sample
    test of Kolmogorov and Smirnov through scipy, which assumes independent samples."""
    from scipy.stats import ks_2samp

    row = SensitivityRow(*_head(variant))
    if why := lacking(runs, [variant.experiment, variant.key]):
        return replace(row, lacking=why)
    number = published.last_number(variant.experiment)
    base = published.values_in(runs[variant.experiment], number)
    changed = published.values_in(runs[variant.key], number)
    before, after = (float(statistics.quantiles(v, (0.5,))[0]) for v in (base, changed))
    p = float(ks_2samp(*(np.nan_to_num(v, nan=np.inf) for v in (base, changed))).pvalue)
    p = float(f"{p:.6g}")  # the last digits of scipy's sums depend on the processor
    row = replace(row, median=after, ratio=after / before if before else None, p=p)
    if number is None:
        return row
    _, own = plausibility(variant.experiment, runs[variant.key], number)
    return replace(row, p_published=own.p)
