"""Every published number, trace, claim and slip, judged by the replicas: mlpfit ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles. Keys of ledger.json:

legend       verdict -> its meaning
experiments  one entry an experiment: verdict, decided_by (trace, number or curve only), between (of
             a borderline verdict), p (adjusted where a trace decides), ratio of the last published
             number to the median, beyond (no replica is as extreme), numbers (verdict -> count)
numbers      one entry a published number: key, tutorial, experiment, quantity, step, convention,
             published, evidence (distribution, law or none), verdict, reason, recovered, halves
             (verdict in each half of the replicas), and the fields of statistics.Position and P
traces       experiment, steps, replicas, p_adjusted, verdict, between, halves, in_family (p was
             adjusted together with the others), and the fields of P
joint        tutorial, what, published, verdict, and the fields of Position and P
findings     tutorial, title, text; the values of each under the finding's key
conclusions  tutorial, claim, where, whose, measure, holds, replicas, share, low, high, column,
             own_seed (seed, holds), levels and bounds (name -> share)
slips        tutorial, what; measure, mean, p5, median, p95, replicas, diverged; without, the same
untrained    variants that claims and slips compare with, and that are not finished
halves       how many verdicts differ between the halves of the replicas
power, assumptions, sensitivity   see :mod:`mlpfit.judging.comparisons`
runs         experiment -> replicas, diverged, first and last seed
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit import sealed
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.errors import RunError, as_config_error
from mlpfit.files import write_file, write_table
from mlpfit.judging import claims, comparisons, published, statistics, variants
from mlpfit.judging.claims import Claim, Ensembles, Finding, Joint, Slip
from mlpfit.judging.published import Number
from mlpfit.judging.statistics import BORDERLINE, P
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run

CHANGED = 3  # exit code: a verdict differs from the previous ledger's
CSV_COLUMNS = (
    "key published evidence verdict between percentile low high "
    "p p_low p_high median p5 p95 ratio replicas reason"
)
CLAIM_COLUMNS = {  # the first whose condition the interval of a claim's share meets
    "holds in nearly every seed": lambda low, high: low >= 0.95,
    "holds more often than not": lambda low, high: low > 0.5,
    "fails in nearly every seed": lambda low, high: high <= 0.05,
    "fails more often than not": lambda low, high: high < 0.5,
    "luck of the draw": lambda low, high: True,
}


def ledger(runs: Ensembles, names: Sequence[str] = ()) -> dict[str, Any]:
    """The ledger of these tutorials (default: all) as plain data, from the ensembles of their
    experiments and those variants that are finished."""
    names = list(names) or [tutorial.name for tutorial in tutorials()]
    for name in names:
        variants.check(name)
    experiments = experiments_of(names)
    findings = {name: claims.findings(name) for name in names}
    numbers = [
        {"key": number.key, "tutorial": name} | judge_number(number, runs, findings[name])
        for name in names
        for number in published.tutorial(name).numbers
    ]
    traces = judge_traces(experiments, runs, numbers)
    return {
        "legend": statistics.MEANINGS,
        "experiments": [judge_experiment(name, numbers, traces) for name in experiments],
        "numbers": numbers,
        "traces": traces,
        "joint": _judge_entries(names, "JOINT", judge_joint, runs),
        **{finding.key: finding.values for name in names for finding in findings[name]},
        "findings": [
            {"tutorial": name, "title": finding.title, "text": finding.text}
            for name in names
            for finding in findings[name]
        ],
        "conclusions": _judge_entries(names, "CLAIMS", judge_claim, runs),
        "slips": _judge_entries(names, "SLIPS", judge_slip, runs),
        "halves": compare_halves([*numbers, *traces]),
        **comparisons.tables(runs),
        "untrained": sorted(untrained(names, runs)),
        "runs": {name: _run_entry(runs[name]) for name in experiments},
    }


def untrained(names: Sequence[str], runs: Ensembles) -> set[str]:
    """The variants that claims, slips and joint quantities of these tutorials compare with, and
    that are not finished."""
    compared = (entry.experiments for name in names for entry in claims.all_entries(name))
    return {name for experiments in compared for name in experiments if name not in runs}


def _judge_entries(names: list[str], kind: str, judge: Any, runs: Ensembles) -> list[Any]:
    """The tutorials' claims, slips or joint quantities, each judged from the runs that it names; of
    those that need a variant which is not finished, slips are given without their effect."""
    judged = []
    for name in names:
        for entry in claims.entries(name, kind):
            title = next(iter(vars(entry).values()))
            if all(experiment in runs for experiment in entry.experiments):
                own = Compared({e: runs[e] for e in entry.experiments})
                with as_config_error(f"{name}/claims.py: {title}"):
                    judged.append({"tutorial": name} | judge(entry, own, name))
            elif kind == "SLIPS":
                judged.append({"tutorial": name, "what": entry.what})
    return judged


class Compared(dict[str, Run]):
    """The runs that a claim names in ``experiments``."""

    def __missing__(self, name: str) -> Run:
        raise ValueError(f"{name}: name it among its experiments, {', '.join(self)}")


def _run_entry(run: Run) -> dict[str, Any]:
    seeds = [run.seeds[0], run.seeds[-1]]
    return {"replicas": run.replicas, "diverged": int(run.diverged.sum()), "seeds": seeds}


def judge_number(number: Number, runs: Ensembles, findings: Sequence[Finding]) -> dict[str, Any]:
    """Evidence and verdict of one published number."""
    entry = {k: getattr(number, k) for k in ("experiment", "quantity", "step", "convention")}
    entry["published"] = number.value
    if number.not_checkable:
        verdict = {"evidence": "none", "verdict": "not checkable", "reason": number.not_checkable}
        return entry | verdict | {"recovered": False}
    module = claims.claims_module(number.experiment)
    reason = getattr(module, "derived", lambda *_: None)(number, findings)
    entry |= {"recovered": reason is not None, "reason": reason or ""}
    law = getattr(module, "LAWS", {}).get(number.quantity)
    if law is not None:
        return entry | {"evidence": "law"} | verdict_among(number.value, law())
    values = published.values_in(runs[number.experiment], number)
    return entry | {"evidence": "distribution"} | verdict_among(number.value, values)


def verdict_among(value: float, replicas: np.ndarray) -> dict[str, Any]:
    """Position, p and verdict of a value among replicas (R,), and its verdict in each half."""
    position, p = statistics.position(value, replicas)
    halves = [statistics.position(value, half)[1].verdict for half in np.array_split(replicas, 2)]
    return asdict(position) | asdict(p) | _verdict_entry(p) | {"halves": halves}


def _verdict_entry(p: P) -> dict[str, str]:
    return {"verdict": p.verdict, "between": p.between}


def judge_traces(experiments: list[str], runs: Ensembles, numbers: list[Any]) -> list[Any]:
    """The verdict of each printed trace as a whole, p adjusted for the number of traces. A trace
    recovered from the page does not test the recipe, and is left out of the adjustment."""
    recovered = {entry["experiment"] for entry in numbers if entry["recovered"]}
    entries, tests = [], []  # tests: P in all replicas, in the first half, in the second
    for name in experiments:
        if trace := published.printed_trace(name):
            losses = np.array([number.value for number in trace])
            values = published.trace_values(runs[name], trace)
            samples = (values, *np.array_split(values, 2))
            tests.append([statistics.trace_test(losses, sample) for sample in samples])
            entry = {"experiment": name, "steps": [n.step for n in trace], "replicas": len(values)}
            entry |= {"in_family": name not in recovered} | asdict(tests[-1][0])
            entries.append(entry)
    family = [test for test, entry in zip(tests, entries, strict=True) if entry["in_family"]]
    for k in range(3):
        for test, p in zip(family, statistics.adjusted([test[k] for test in family]), strict=True):
            test[k] = p
    return [
        entry | _verdict_entry(p) | {"p_adjusted": p.p, "halves": [half.verdict for half in halves]}
        for entry, (p, *halves) in zip(entries, tests, strict=True)
    ]


def judge_experiment(experiment: str, numbers: list[Any], traces: list[Any]) -> dict[str, Any]:
    """The verdict of an experiment: that of its trace, else of its last checkable number."""
    published_here = [entry for entry in numbers if entry["experiment"] == experiment]
    checked = [entry for entry in published_here if "p" in entry]
    entry: dict[str, Any] = {"experiment": experiment, "tutorial": experiment.split("/")[0]}
    entry |= {"numbers": dict(Counter(e["verdict"] for e in published_here))}
    if not checked:
        return entry | {"decided_by": "curve only", "verdict": "not checkable"}
    last = checked[-1]
    trace = next((t for t in traces if t["experiment"] == experiment), None)
    decisive = trace or last
    return entry | {
        "decided_by": "trace" if trace else "number",
        "p": decisive.get("p_adjusted", decisive["p"]),
        "p_smallest": decisive["p_smallest"],
        "recovered": last["recovered"],
        "percentile": last["percentile"],
        "ratio": last["ratio"],
        **{key: decisive[key] for key in ("verdict", "between", "beyond", "replicas", "halves")},
    }


def judge_joint(quantity: Joint, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """Position and verdict of a quantity of several published numbers."""
    values = {number.key: number.value for number in published.tutorial(tutorial).numbers}
    value = quantity.published(values)
    entry = {"what": quantity.what, "experiments": list(quantity.experiments), "published": value}
    return entry | verdict_among(value, quantity.replicas(runs))


def judge_claim(claim: Claim, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """In how many replicas the claim holds, and whether it does in the page's own seed."""
    page = published.tutorial(tutorial)
    holds = claim.per_replica(runs, claim.holds)
    share, low, high = statistics.proportion(int(holds.sum()), len(holds))
    column = next(name for name, includes in CLAIM_COLUMNS.items() if includes(low, high))
    entry: dict[str, Any] = {"claim": claim.claim, "where": claim.where, "measure": claim.measure}
    entry |= {"whose": f"after {page.author}" if claim.where else "we asked"}
    entry |= {"holds": int(holds.sum()), "replicas": len(holds), "share": share}
    if claim.identity:
        entry |= {"low": None, "high": None, "column": "holds by construction"}
    else:
        entry |= {"low": low, "high": high, "column": column}
    seeds = runs[claim.experiments[0]].seeds
    if page.seed is not None and page.seed in seeds[: len(holds)]:
        entry["own_seed"] = {"seed": page.seed, "holds": bool(holds[seeds.index(page.seed)])}
    for kind in ("levels", "bounds"):
        predicates = getattr(claim, kind).items()
        entry[kind] = {n: float(claim.per_replica(runs, holds).mean()) for n, holds in predicates}
    return entry


def judge_slip(slip: Slip, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """How much the slip matters, over the replicas."""
    entry: dict[str, Any] = {"what": slip.what}
    if slip.effect is None:
        return entry
    entry |= {"measure": slip.measure} | _summary(slip.effect(runs))
    return entry | ({"without": _summary(slip.without(runs))} if slip.without else {})


def _summary(values: np.ndarray) -> dict[str, Any]:
    """Quantiles of values (R,), diverged ones above all others, and the mean of the finite ones."""
    finite = values[np.isfinite(values)]
    points = zip(statistics.QUANTILES, statistics.quantiles(values).tolist(), strict=True)
    summary = {name: value if np.isfinite(value) else None for name, value in points}
    mean = float(finite.mean()) if len(finite) else None
    return summary | {"mean": mean, "replicas": len(values), "diverged": len(values) - len(finite)}


def compare_halves(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """How many verdicts differ between the halves of the replicas: those to or from borderline are
    counted, those from one clear verdict to another (rare with enough replicas) are listed."""
    pairs = {
        e.get("key", f"trace {e['experiment']}"): e["halves"] for e in entries if "halves" in e
    }
    differing = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    clear = {key: pair for key, pair in differing.items() if BORDERLINE not in pair}
    return {"judged": len(pairs), "borderline": len(differing) - len(clear), "flips": clear}


def experiments_of(names: Sequence[str]) -> list[str]:
    """The experiments of these tutorials (default: all)."""
    return [e for e in experiments() if not names or e.split("/")[0] in names]


def ensembles(outputs: Path, names: Sequence[str] = ()) -> Ensembles:
    """The ensembles of these tutorials (default: all) and their finished variants. Raises RunError,
    naming what is missing."""
    wanted = experiments_of(names)
    missing = [name for name in wanted if not (outputs / "ensembles" / name / MARKER).is_file()]
    if missing:
        raise RunError(
            f"no ensembles of {', '.join(missing)} under {outputs}/ensembles: "
            f"mlpfit ensembles {' '.join(names)}".rstrip()
        )
    owners = dict.fromkeys(name.split("/")[0] for name in wanted)
    runs = {name: published_run(name, outputs, "ensembles") for name in wanted}
    return runs | variants.finished(outputs, [*owners])


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    """The verdict of every number and trace, which must not change unnoticed."""
    numbers = {entry["key"]: entry["verdict"] for entry in content["numbers"]}
    return numbers | {f"trace {e['experiment']}": e["verdict"] for e in content["traces"]}


def write(content: dict[str, Any], outputs: Path) -> list[str]:
    """Write JSON and CSV. Returns the verdicts that differ from the previous ledger's."""
    file = outputs / "ledger.json"
    before = verdicts(sealed.read_ledger(outputs)) if file.is_file() else {}
    now = verdicts(content)
    changed = [f"{k}: {v}, now {now[k]}" for k, v in before.items() if k in now and now[k] != v]
    write_file(file, sealed.json_bytes(content))
    write_table(outputs / "ledger.csv", CSV_COLUMNS.split(), content["numbers"])
    return changed
