"""Every published number, trace, claim and slip, judged by the replicas: mlpfit ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles. Keys of ledger.json:

legend       verdict -> what it means
experiments  one entry an experiment: verdict, decided_by (trace, number or curve only), between (of
             a borderline verdict), p (adjusted where a trace decides), ratio of the last published
             number to the median, beyond (no replica is as extreme), numbers (verdict -> count)
numbers      one entry a published number: key, tutorial, experiment, quantity, step, convention,
             published, evidence (distribution, law or none), verdict, reason, recovered, halves
             (verdicts of either half of the replicas), and of statistics Position and P
traces       experiment, steps, replicas, P, p_adjusted, verdict, between, halves, in_family
joint        tutorial, what, published, verdict, Position, P
findings     tutorial, title, text; the values of each under its own key
conclusions  tutorial, claim, where, whose, measure, holds, replicas, share, low, high, column,
             own_seed (seed, holds), levels and bounds (name -> share)
slips        tutorial, what; measure, mean, p5, median, p95, replicas, diverged; without, the same
halves       flips between verdicts from one half of the replicas to the other
power, assumptions, sensitivity   see :mod:`mlpfit.judging.variants`
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
from mlpfit.judging import claims, published, statistics, variants
from mlpfit.judging.claims import Claim, Ensembles, Finding, Joint, Slip
from mlpfit.judging.published import Number
from mlpfit.judging.statistics import BORDERLINE, P
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER

CHANGED = 3  # exit code: a verdict is another than in the ledger that was there before
COLUMNS = (
    *("key", "published", "evidence", "verdict", "between", "percentile", "low", "high"),
    *("p", "p_low", "p_high", "median", "p5", "p95", "ratio", "replicas", "reason"),
)
SHARES = {  # column of a claim -> whether the interval of its share puts it there
    "holds in nearly every seed": lambda low, high: low >= 0.95,
    "holds more often than not": lambda low, high: low > 0.5,
    "fails in nearly every seed": lambda low, high: high <= 0.05,
    "luck of the draw": lambda low, high: True,
}


def ledger(runs: Ensembles, names: Sequence[str] = ()) -> dict[str, Any]:
    """The ledger of these tutorials (all, if none is named) as plain data, from the ensembles of
    their experiments and such variants as are there."""
    names = list(names) or [tutorial.name for tutorial in tutorials()]
    for name in names:
        published.check(name)
    own = experiments_of(names)
    findings = {name: claims.findings(name) for name in names}
    numbers = [
        {"key": number.key, "tutorial": name} | judge(number, runs, findings[name])
        for name in names
        for number in published.tutorial(name).numbers
    ]
    judged = traces(own, runs, numbers)
    return {
        "legend": statistics.MEANINGS,
        "experiments": [at_a_glance(name, numbers, judged) for name in own],
        "numbers": numbers,
        "traces": judged,
        "joint": _judge_listed(names, "JOINT", joint, runs),
        **{finding.key: finding.values for name in names for finding in findings[name]},
        "findings": [
            {"tutorial": name, "title": finding.title, "text": finding.text}
            for name in names
            for finding in findings[name]
        ],
        "conclusions": _judge_listed(names, "CLAIMS", conclude, runs),
        "slips": _judge_listed(names, "SLIPS", effect, runs),
        "halves": flips([*numbers, *judged]),
        **variants.tables(runs),
        "runs": {name: _extent(runs[name]) for name in own},
    }


def _judge_listed(names: list[str], kind: str, judge: Any, runs: Ensembles) -> list[dict[str, Any]]:
    """What is listed under this name in the tutorials' claims.py; without what needs a variant that
    is not there."""
    entries = []
    for name in names:
        for entry in claims.listed(name, kind):
            if all(experiment in runs for experiment in entry.experiments):
                title = next(iter(vars(entry).values()))
                with as_config_error(f"{name}/claims.py: {title}"):
                    entries.append({"tutorial": name} | judge(entry, runs, name))
    return entries


def _extent(run: Any) -> dict[str, Any]:
    seeds = [run.seeds[0], run.seeds[-1]]
    return {"replicas": run.replicas, "diverged": int(run.diverged.sum()), "seeds": seeds}


def judge(number: Number, runs: Ensembles, findings: Sequence[Finding]) -> dict[str, Any]:
    """One published number: its evidence and its verdict."""
    entry = {k: getattr(number, k) for k in ("experiment", "quantity", "step", "convention")}
    entry["published"] = number.value
    if number.not_checkable:
        verdict = {"evidence": "none", "verdict": "not checkable", "reason": number.not_checkable}
        return entry | verdict | {"recovered": False}
    own = claims.part(number.experiment)
    reason = getattr(own, "derived", lambda *_: None)(number, findings)
    entry |= {"recovered": reason is not None, "reason": reason or ""}
    law = getattr(own, "LAWS", {}).get(number.quantity)
    if law is not None:
        return entry | {"evidence": "law"} | position_in(number.value, law())
    values = published.measured(runs[number.experiment], number)
    return entry | {"evidence": "distribution"} | position_in(number.value, values)


def position_in(value: float, replicas: np.ndarray) -> dict[str, Any]:
    """Where a value lies among replicas (R,), and its verdict in all and in either half of them."""
    place, p = statistics.position(value, replicas)
    halves = [statistics.position(value, half)[1].verdict for half in np.array_split(replicas, 2)]
    return asdict(place) | asdict(p) | _verdict(p) | {"halves": halves}


def _verdict(p: P) -> dict[str, str]:
    return {"verdict": p.verdict, "between": p.between}


def traces(
    names: list[str], runs: Ensembles, numbers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each printed trace of losses as a whole, corrected for there being several; one that is
    recovered is no test of the recipe, and stays out of the correction."""
    recovered = {entry["experiment"] for entry in numbers if entry["recovered"]}
    entries, tests = [], []
    for name in names:
        if trace := published.trace(name):
            printed, values = [n.value for n in trace], published.traces(runs[name], trace)
            parts = (values, *np.array_split(values, 2))  # all replicas, and either half
            tests.append([statistics.trace_test(np.array(printed), part) for part in parts])
            entry = {"experiment": name, "steps": [n.step for n in trace], "replicas": len(values)}
            entry |= {"in_family": name not in recovered} | asdict(tests[-1][0])
            entries.append(entry)
    family = [own for own, entry in zip(tests, entries, strict=True) if entry["in_family"]]
    for k in range(3):
        for own, p in zip(family, statistics.adjusted([own[k] for own in family]), strict=True):
            own[k] = p
    return [
        entry | _verdict(p) | {"p_adjusted": p.p, "halves": [half.verdict for half in halves]}
        for entry, (p, *halves) in zip(entries, tests, strict=True)
    ]


def at_a_glance(
    experiment: str, numbers: list[dict[str, Any]], judged: list[dict[str, Any]]
) -> dict[str, Any]:
    """The verdict of a run: that of its trace, else of its last number; its numbers follow."""
    own = [entry for entry in numbers if entry["experiment"] == experiment]
    checked = [entry for entry in own if "p" in entry]
    entry: dict[str, Any] = {"experiment": experiment, "tutorial": experiment.split("/")[0]}
    entry |= {"numbers": dict(Counter(e["verdict"] for e in own))}
    if not checked:
        return entry | {"decided_by": "curve only", "verdict": "not checkable"}
    last, trace = checked[-1], [t for t in judged if t["experiment"] == experiment]
    leader = trace[0] if trace else last
    return entry | {
        "decided_by": "trace" if trace else "number",
        "p": leader.get("p_adjusted", leader["p"]),
        "p_smallest": leader["p_smallest"],
        "recovered": last["recovered"],
        "percentile": last["percentile"],
        "ratio": last["ratio"],
        **{key: leader[key] for key in ("verdict", "between", "beyond", "replicas", "halves")},
    }


def joint(quantity: Joint, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """One quantity of several published numbers."""
    values = {number.key: number.value for number in published.tutorial(tutorial).numbers}
    value = quantity.published(values)
    entry = {"what": quantity.what, "experiments": list(quantity.experiments), "published": value}
    return entry | position_in(value, quantity.replicas(runs))


def conclude(claim: Claim, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """In how many replicas the claim holds, and whether in that of the page's own seed."""
    page = published.tutorial(tutorial)
    holds = claim.in_each(runs, claim.holds)
    share, low, high = statistics.share(int(holds.sum()), len(holds))
    column = next(name for name, inside in SHARES.items() if inside(low, high))
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
        others = {name: claim.in_each(runs, other) for name, other in getattr(claim, kind).items()}
        entry[kind] = {name: float(other.mean()) for name, other in others.items()}
    return entry


def effect(slip: Slip, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """What the slip changes, over the replicas."""
    entry: dict[str, Any] = {"what": slip.what}
    if slip.effect is None:
        return entry
    entry |= {"measure": slip.measure} | _spread(slip.effect(runs))
    return entry | ({"without": _spread(slip.without(runs))} if slip.without else {})


def _spread(values: np.ndarray) -> dict[str, Any]:
    """Quantiles of values over the replicas, a diverged one above every other; their mean without
    these."""
    finite = values[np.isfinite(values)]
    spread = dict(zip(statistics.QUANTILES, statistics.quantiles(values).tolist(), strict=True))
    spread = {name: value if np.isfinite(value) else None for name, value in spread.items()}
    mean = float(finite.mean()) if len(finite) else None
    return spread | {"mean": mean, "replicas": len(values), "diverged": len(values) - len(finite)}


def flips(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """How many verdicts differ between the halves of the replicas: to or from borderline, and
    (which enough replicas exclude) from one clear verdict to another."""
    pairs = {
        e.get("key", f"trace {e['experiment']}"): e["halves"] for e in entries if "halves" in e
    }
    differing = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    clear = {key: pair for key, pair in differing.items() if BORDERLINE not in pair}
    return {"judged": len(pairs), "borderline": len(differing) - len(clear), "flips": clear}


def experiments_of(names: Sequence[str]) -> list[str]:
    """The experiments of these tutorials; all, if none is named."""
    return [e for e in experiments() if not names or e.split("/")[0] in names]


def ensembles(outputs: Path, names: Sequence[str] = ()) -> Ensembles:
    """The ensembles of these tutorials (all, if none is named) and the variants that are there.
    Raises RunError, naming what is missing."""
    own = experiments_of(names)
    missing = [name for name in own if not (outputs / "ensembles" / name / MARKER).is_file()]
    if missing:
        raise RunError(
            f"no ensembles of {', '.join(missing)} under {outputs}/ensembles: "
            f"mlpfit ensembles {' '.join(names)}".rstrip()
        )
    owners = dict.fromkeys(name.split("/")[0] for name in own)
    own_runs = {name: published_run(name, outputs, "ensembles") for name in own}
    return own_runs | variants.finished(outputs, [*owners])


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    """What must not change unnoticed: the verdict of every number and trace."""
    numbers = {entry["key"]: entry["verdict"] for entry in content["numbers"]}
    return numbers | {f"trace {e['experiment']}": e["verdict"] for e in content["traces"]}


def write(content: dict[str, Any], outputs: Path) -> list[str]:
    """Write JSON and CSV. Returns the verdicts that differ from those of the ledger that was
    there."""
    file = outputs / "ledger.json"
    before = verdicts(sealed.read_ledger(outputs)) if file.is_file() else {}
    now = verdicts(content)
    changed = [f"{k}: {v}, now {now[k]}" for k, v in before.items() if k in now and now[k] != v]
    write_file(file, sealed.json_bytes(content))
    write_table(outputs / "ledger.csv", COLUMNS, content["numbers"])
    return changed
