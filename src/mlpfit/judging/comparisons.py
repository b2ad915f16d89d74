"""What the variants tell: tables for the ledger.

power         tutorial, experiment, change, replicas, final and trace: share (with low, high) of the
              changed replicas whose p among the published recipe's is below 0.1
assumptions   tutorial, experiment, question, choices (choice, ours, replicas, diverged, median and,
              where numbers are published, test (trace or final), the fields of P, and ratio, the
              published number over the median), likeliest (the choice with the largest p)
sensitivity   tutorial, experiment, change, replicas, median, ratio (to the published recipe's
              median), p (of equal distributions), p_published (as in assumptions)
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlpfit.judging import published, statistics
from mlpfit.judging.claims import Ensembles
from mlpfit.judging.evidence import not_judged
from mlpfit.judging.variants import KINDS, Variant, variants
from mlpfit.runs.run import Run

BASE_REPLICAS = 1000  # of the published recipe, which those of a changed one are compared with


def tables(runs: Ensembles, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """power, assumptions and sensitivity of these tutorials for the ledger."""
    by_kind: dict[str, list[tuple[str, Variant]]] = {kind: [] for kind in KINDS}
    for name in names:
        for variant in variants(name):
            by_kind[variant.kind].append((name, variant))
    return {
        "power": [_head(*pair) | _judged(power, pair[1], runs) for pair in by_kind["power"]],
        "assumptions": assumptions(by_kind["assumptions"], runs),
        "sensitivity": [
            _head(*pair) | _judged(sensitivity, pair[1], runs) for pair in by_kind["sensitivity"]
        ],
    }


def _judged(judge: Any, variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """The judgement of a variant; what is missing instead if its replicas are."""
    return not_judged(runs, [variant.experiment, variant.key]) or judge(variant, runs)


def _head(tutorial: str, variant: Variant) -> dict[str, Any]:
    head = {"tutorial": tutorial, "experiment": variant.experiment}
    return head | {"change": variant.label, "replicas": variant.replicas}


def power(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """The share of the changed replicas whose final number and whose trace would be noticed."""
    recipes = (runs[variant.experiment], runs[variant.key])
    p_values = {}
    if number := published.final_number(variant.experiment):
        base, changed = (published.values_in(run, number) for run in recipes)
        p_values["final"] = statistics.p_values(changed, base[:BASE_REPLICAS])
    if trace := published.printed_trace(variant.experiment):
        base, changed = (published.trace_values(run, trace) for run in recipes)
        tails = statistics.trace_tails(changed, base[:BASE_REPLICAS])
        p_values["trace"] = (1 + tails) / (1 + len(base[:BASE_REPLICAS]))
    return {test: _share_noticed(p) for test, p in p_values.items()}


def _share_noticed(p: np.ndarray) -> dict[str, float]:
    share, low, high = statistics.proportion(int((p < statistics.TYPICAL_P).sum()), len(p))
    return {"share": share, "low": low, "high": high}


def assumptions(pairs: list[tuple[str, Variant]], runs: Ensembles) -> list[dict[str, Any]]:
    """How well each choice, ours and the others, agrees with the published numbers; pairs: tutorial
    and variant."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for tutorial, variant in pairs:
        question = (variant.experiment, variant.question)
        if question not in entries:
            ours = {"choice": variant.ours, "ours": True}
            ours |= _choice(variant.experiment, variant.experiment, runs)
            head = {"tutorial": tutorial, "experiment": variant.experiment}
            entries[question] = head | {"question": variant.question, "choices": [ours]}
        other = {"choice": variant.label, "ours": False}
        other |= _choice(variant.experiment, variant.key, runs)
        entries[question]["choices"].append(other)
    for entry in entries.values():
        tested = [choice for choice in entry["choices"] if "p" in choice]
        complete = len(tested) == len(entry["choices"])
        entry["likeliest"] = max(tested, key=lambda c: c["p"])["choice"] if complete else None
    return list(entries.values())


def _choice(experiment: str, name: str, runs: Ensembles) -> dict[str, Any]:
    """The plausibility of a choice, whose replicas have this name; what is missing instead."""
    return not_judged(runs, [name]) or _plausibility(experiment, runs[name])


def _plausibility(experiment: str, run: Run) -> dict[str, Any]:
    """p of the published trace, else of the final number, if this run had the page's recipe; the
    median error alone if no number is published."""
    number, diverged = published.final_number(experiment), int(run.diverged.sum())
    entry: dict[str, Any] = {"replicas": run.replicas, "diverged": diverged}
    if number is None:
        return entry | {"median": float(statistics.quantiles(run.final("mse"), (0.5,))[0])}
    position, p = statistics.position(number.value, published.values_in(run, number))
    if trace := published.printed_trace(experiment):
        losses = np.array([n.value for n in trace])
        p = statistics.trace_test(losses, published.trace_values(run, trace))
    entry |= {"test": "trace" if trace else "final"} | asdict(p)
    return entry | {"median": position.median, "ratio": position.ratio}


def sensitivity(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """How far the final number moves: the ratio of the medians, and the p-value of the two-sample
    test of Kolmogorov and Smirnov through scipy, which assumes independent samples."""
    from scipy.stats import ks_2samp

    number = published.final_number(variant.experiment)
    base = published.values_in(runs[variant.experiment], number)
    changed = published.values_in(runs[variant.key], number)
    before, after = (float(statistics.quantiles(v, (0.5,))[0]) for v in (base, changed))
    p = float(ks_2samp(*(np.nan_to_num(v, nan=np.inf) for v in (base, changed))).pvalue)
    p = float(f"{p:.6g}")  # the last digits of scipy's sums depend on the processor
    entry = {"median": after, "ratio": after / before if before else None, "p": p}
    plausibility = _plausibility(variant.experiment, runs[variant.key])
    return entry | ({"p_published": plausibility["p"]} if number else {})
