"""Every published number, trace, claim and slip, judged by the replicas: mlpfit ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles. Keys of ledger.json:

legend       verdict -> its meaning
experiments  one entry an experiment: verdict, decided_by (trace, number or none), between (of a
             borderline verdict), tested (how many numbers decide) and the fields of P of that test,
             unadjusted; of the last published number last (key), last_verdict, last_p, percentile
             and ratio to the median; recovered, replicas, halves, numbers (verdict -> count)
numbers      one entry a published number: key, tutorial, experiment, quantity, label, step,
             convention, published, evidence (distribution, law or none), verdict, reason,
             recovered, halves (verdict in each half of the replicas), and the fields of
             statistics.Position and P
traces       tutorial, experiment, steps, replicas, p_adjusted, verdict (of p alone), between,
             halves, in_family (p_adjusted is adjusted together with the others), and the fields
             of P
joint        tutorial, what, published, verdict, and the fields of Position and P
findings     tutorial, title, text; the values of each under the finding's key
conclusions  tutorial, claim, where, whose, measure, holds, replicas, share, low, high, column,
             own_seed (seed, holds), levels and bounds (name -> share)
slips        tutorial, what, consequence; measure, mean, p5, median, p95, replicas, diverged;
             without, the same; sides, the same with a name
halves       how many verdicts differ between the halves of the replicas
power, assumptions, sensitivity   see :mod:`mlpfit.judging.comparisons`
runs         experiment -> replicas, diverged, first and last seed, recipe (its hash)

An entry that can't be judged has the verdict (a claim: the column) "not judged", a reason, and
commands, a list of those that train what it needs, instead of its numbers.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_published
from mlpfit.errors import RunError, as_config_error
from mlpfit.files import write_file, write_table
from mlpfit.judging import claims, comparisons, published, statistics, variants, words
from mlpfit.judging.claims import Claim, Ensembles, Finding, Joint, Slip
from mlpfit.judging.evidence import Evidence, command, not_judged, recipe_id
from mlpfit.judging.published import Number
from mlpfit.judging.statistics import BORDERLINE, CURVE_ONLY, NOT_JUDGED, P
from mlpfit.runs.run import Run

CHANGED = 3  # exit code: a verdict differs from the previous ledger's
CSV_COLUMNS = (
    "key published evidence verdict between percentile low high "
    "p p_low p_high median p5 p95 ratio replicas reason"
)
HEADS = (  # keys of a row that say what it is about
    *("tutorial", "experiment", "experiments", "key", "quantity", "label", "step", "convention"),
    *("published", "claim", "where", "whose", "measure", "what", "consequence", "steps"),
    *("change", "question", "choice", "ours", "evidence", "in_family", "numbers", "decided_by"),
    "recovered",
)
CLAIM_COLUMNS = {  # the first whose condition the interval of a claim's share meets
    "holds in nearly every seed": lambda low, high: low >= 0.95,
    "holds in most seeds": lambda low, high: low > 0.5,
    "holds in nearly no seed": lambda low, high: high <= 0.05,
    "holds in fewer than half of the seeds": lambda low, high: high < 0.5,
    "luck of the draw": lambda low, high: True,
}
BY_CONSTRUCTION = "holds by construction"
COLUMNS = [  # all, in the order in which they are shown
    BY_CONSTRUCTION,
    "holds in nearly every seed",
    "holds in most seeds",
    "luck of the draw",
    "holds in fewer than half of the seeds",
    "holds in nearly no seed",
    NOT_JUDGED,
]


def ledger(runs: Ensembles, names: Sequence[str] = ()) -> dict[str, Any]:
    """The ledger of these tutorials (default: all) as plain data, from the ensembles of their
    experiments and of their variants; what lacks its ensemble says so."""
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
        **comparisons.tables(runs, names),
        "runs": {name: _run_entry(runs[name]) for name in experiments if name in runs},
    }


def _judge_entries(names: list[str], kind: str, judge: Any, runs: Ensembles) -> list[Any]:
    """The tutorials' claims, slips or joint quantities, each judged from the runs that it names."""
    judged = []
    for name in names:
        for entry in claims.entries(name, kind):
            title = next(iter(vars(entry).values()))
            if lacking := not_judged(runs, entry.experiments):
                judged.append({"tutorial": name} | _head_of(entry, name) | lacking)
                continue
            own = Compared({e: runs[e] for e in entry.experiments})
            with as_config_error(f"{name}/claims.py: {title}"):
                judged.append({"tutorial": name} | _head_of(entry, name) | judge(entry, own, name))
    return judged


def _head_of(entry: Claim | Slip | Joint, tutorial: str) -> dict[str, Any]:
    """What a claim, slip or joint quantity says, judged or not."""
    experiments = {"experiments": list(entry.experiments)}
    if isinstance(entry, Claim):
        author = published.tutorial(tutorial).author
        whose = f"after {author}" if entry.where else "we asked"
        head = {"claim": entry.claim, "where": entry.where, "measure": entry.measure}
        return experiments | head | {"whose": whose, "column": NOT_JUDGED}
    if isinstance(entry, Slip):
        return experiments | {"what": entry.what, "consequence": entry.consequence}
    return experiments | {"what": entry.what, "verdict": NOT_JUDGED}


class Compared(dict[str, Run]):
    """The runs that a claim names in ``experiments``."""

    def __missing__(self, name: str) -> Run:
        raise ValueError(f"{name}: name it among its experiments, {', '.join(self)}")


def _run_entry(run: Run) -> dict[str, Any]:
    seeds = [run.seeds[0], run.seeds[-1]]
    entry = {"replicas": run.replicas, "diverged": int(run.diverged.sum()), "seeds": seeds}
    return entry | {"recipe": recipe_id(run.identity["recipe"])}


def judge_number(number: Number, runs: Ensembles, findings: Sequence[Finding]) -> dict[str, Any]:
    """Evidence and verdict of one published number."""
    heads = ("experiment", "quantity", "label", "step", "convention")
    entry = {key: getattr(number, key) for key in heads}
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
    if lacking := not_judged(runs, [number.experiment]):
        return entry | {"evidence": "none", "verdict": NOT_JUDGED} | lacking
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
    """The verdict of each printed trace as a whole, by its p alone. p_adjusted is adjusted for the
    number of traces; a trace recovered from the page does not test the recipe, and is left out of
    the adjustment."""
    recovered = {entry["experiment"] for entry in numbers if entry["recovered"]}
    entries, tests, apart = [], [], []
    for name in experiments:
        if trace := published.printed_trace(name):
            head: dict[str, Any] = {"experiment": name, "tutorial": name.split("/")[0]}
            head["steps"] = [number.step for number in trace]
            if lacking := not_judged(runs, [name]):
                apart.append(head | {"in_family": False, "verdict": NOT_JUDGED} | lacking)
                continue
            losses = np.array([number.value for number in trace])
            values = published.trace_values(runs[name], trace)
            samples = (values, *np.array_split(values, 2))
            test, *halves = (statistics.trace_test(losses, sample) for sample in samples)
            entry = head | {"replicas": len(values), "in_family": name not in recovered}
            entry |= asdict(test) | _verdict_entry(test)
            entries.append(entry | {"halves": [half.verdict for half in halves]})
            tests.append(test)
    pairs = list(zip(entries, tests, strict=True))
    family = [test for entry, test in pairs if entry["in_family"]]
    corrected = iter(statistics.adjusted(family))
    for entry, test in pairs:
        entry["p_adjusted"] = (next(corrected) if entry["in_family"] else test).p
    return sorted([*entries, *apart], key=lambda entry: experiments.index(entry["experiment"]))


def judge_experiment(experiment: str, numbers: list[Any], traces: list[Any]) -> dict[str, Any]:
    """The verdict of an experiment: that of its trace, else of its last checkable number."""
    own = [entry for entry in numbers if entry["experiment"] == experiment]
    checkable = [entry for entry in own if entry["verdict"] != "not checkable"]
    entry: dict[str, Any] = {"experiment": experiment, "tutorial": experiment.split("/")[0]}
    entry |= {"numbers": dict(Counter(e["verdict"] for e in own))}
    if not checkable:
        return entry | {"decided_by": "none", "verdict": CURVE_ONLY}
    last = checkable[-1]
    trace = next((t for t in traces if t["experiment"] == experiment), None)
    decisive = trace or last
    entry |= {"decided_by": "trace" if trace else "number"}
    if words.is_missing(decisive):
        return entry | {key: decisive[key] for key in ("verdict", "reason", "commands")}
    keys = ("verdict", "between", "replicas", "halves", *P.__dataclass_fields__)
    return entry | {
        "tested": len(trace["steps"]) if trace else 1,
        "last": last["key"],
        "last_verdict": last["verdict"],
        "last_p": last["p"],
        "recovered": last["recovered"],
        "percentile": last["percentile"],
        "ratio": last["ratio"],
        **{key: decisive[key] for key in keys},
    }


def judge_joint(quantity: Joint, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """Position and verdict of a quantity of several published numbers."""
    values = {number.key: number.value for number in published.tutorial(tutorial).numbers}
    value = quantity.published(values)
    return {"published": value} | verdict_among(value, quantity.replicas(runs))


def judge_claim(claim: Claim, runs: Ensembles, tutorial: str) -> dict[str, Any]:
    """In how many replicas the claim holds, and whether it does in the page's own seed."""
    page = published.tutorial(tutorial)
    holds = claim.per_replica(runs, claim.holds)
    share, low, high = statistics.proportion(int(holds.sum()), len(holds))
    column = next(name for name, includes in CLAIM_COLUMNS.items() if includes(low, high))
    entry = _head_of(claim, tutorial) | {
        "holds": int(holds.sum()),
        "replicas": len(holds),
        "share": share,
    }
    if claim.identity:
        entry |= {"low": None, "high": None, "column": BY_CONSTRUCTION}
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
    if slip.effect is None:
        return {}
    entry = {"measure": slip.measure} | _summary(slip.effect(runs))
    entry |= {"without": _summary(slip.without(runs))} if slip.without else {}
    sides = slip.sides or ()
    if slip.without and not slip.sides:
        sides = (("on the page", slip.effect), ("without the slip", slip.without))
    return entry | {"sides": [{"name": name} | _summary(value(runs)) for name, value in sides]}


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


def ensembles(outputs: Path, names: Sequence[str] = ()) -> Evidence:
    """The ensembles of these tutorials (default: all) and of their variants, as far as they are
    finished and of the recipes that are asked for. Raises RunError if there is no ensemble."""
    wanted = experiments_of(names)
    evidence = Evidence()
    for name in wanted:
        evidence.add(name, outputs / "ensembles" / name, as_published(name), seeds=False)
    if not evidence:
        why = next(iter(evidence.missing.values()), "there is no experiment")
        raise RunError(f"no ensemble to judge by: {why}")
    for owner in dict.fromkeys(name.split("/")[0] for name in wanted):
        for variant in variants.variants(owner):
            config = variant.config(outputs)
            evidence.add(variant.key, config.folder, config, seeds=True)
    return evidence


def departing(content: dict[str, Any]) -> dict[str, str]:
    """The experiments whose YAML now asks for another recipe than that of the ledger's seeds, and a
    reason for the rows about them."""
    apart = {}
    for name, entry in content["runs"].items():
        known = name in experiments()
        if not known or recipe_id(as_published(name).recipe()) != entry["recipe"]:
            apart[name] = f"the seeds of {name} in the ledger are of another recipe than its YAML's"
    return apart


def without(content: dict[str, Any], apart: Mapping[str, str]) -> dict[str, Any]:
    """The ledger with the rows about these experiments (name -> reason) not judged."""

    def row_without(row: dict[str, Any]) -> dict[str, Any]:
        names = row["experiments"] if "experiments" in row else [row["experiment"]]
        lacking = [name for name in names if name.partition(":")[0] in apart]
        if not lacking:
            return row
        if "choices" in row:  # an assumption is judged choice by choice
            choices = [cleared(c, lacking) for c in row["choices"]]
            return row | {"choices": choices, "likeliest": None}
        return cleared(row, lacking)

    def cleared(row: dict[str, Any], lacking: list[str]) -> dict[str, Any]:
        head = {key: value for key, value in row.items() if key in HEADS}
        head |= {key: NOT_JUDGED for key in ("verdict", "column") if key in row}
        reasons = dict.fromkeys(apart[name.partition(":")[0]] for name in lacking)
        return head | {"reason": "; ".join(reasons), "commands": list(map(command, lacking))}

    kinds = ("experiments", *words.GROUPS)
    return content | {kind: [row_without(row) for row in content[kind]] for kind in kinds}


def read(outputs: Path) -> dict[str, Any]:
    """Content of ledger.json. Raises RunError if it is missing or damaged."""
    file = outputs / "ledger.json"
    try:
        content = json.loads(file.read_bytes())
        if isinstance(content, dict):
            return content
    except FileNotFoundError:
        own = "mlpfit report <tutorial> needs none"
        raise RunError(f"{file} is not there: make ensembles report writes it; {own}") from None
    except (ValueError, RecursionError):
        pass
    raise RunError(f"{file}: damaged; remove it, and make ensembles report writes it again")


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    """The verdict of every judged number and trace, which must not change unnoticed."""
    rows = {entry["key"]: entry for entry in content["numbers"]}
    rows |= {f"trace {entry['experiment']}": entry for entry in content["traces"]}
    return {key: row["verdict"] for key, row in rows.items() if row["verdict"] != NOT_JUDGED}


def replicas_of_rows(content: dict[str, Any]) -> dict[tuple[str, ...], int]:
    """How many replicas each row is judged by, 0 if it is not judged; keys: section and names."""
    found = {}
    heads = ("tutorial", "key", "experiment", "claim", "what", "change", "question", "choice")
    for kind in words.GROUPS:
        for row in content.get(kind, []):
            # An assumption is judged choice by choice.
            for part in row.get("choices", [row]):
                both = row | part
                key = (kind, *(str(both[head]) for head in heads if head in both))
                found[key] = 0 if words.is_missing(part) else int(part.get("replicas", 0))
    return found


def lost(before: dict[str, Any], now: dict[str, Any]) -> dict[str, int]:
    """How many rows of each section were judged by more replicas before: section -> rows."""
    kept = replicas_of_rows(now)
    poorer = [key for key, n in replicas_of_rows(before).items() if key in kept and kept[key] < n]
    return dict(Counter(key[0] for key in poorer))


class Poorer(RunError):
    """A ledger that judges less than the one that is there."""


def check_richness(content: dict[str, Any], outputs: Path) -> None:
    """Raises Poorer if the ledger that is there judges more, or by more replicas."""
    file = outputs / "ledger.json"
    if not file.is_file():
        return
    fewer = lost(read(outputs), content)
    if not fewer:
        return
    rows = ", ".join(f"{n} of {kind}" for kind, n in fewer.items())
    lacking = [row for kind in words.GROUPS for row in content[kind] if words.is_missing(row)]
    needed = words.commands(lacking)
    first = f"{needed} trains what they need" if needed else "train more replicas"
    raise Poorer(
        f"{file} is kept, since the ensembles here judge fewer rows or by fewer replicas ({rows}): "
        f"{first}, or --partial writes the poorer one"
    )


def write(content: dict[str, Any], outputs: Path, partial: bool = False) -> list[str]:
    """Write JSON and CSV. Returns the verdicts that differ from the previous ledger's. Raises
    Poorer, and writes nothing, if that one is richer, unless ``partial``."""
    if not partial:
        check_richness(content, outputs)
    file = outputs / "ledger.json"
    before = verdicts(read(outputs)) if file.is_file() else {}
    now = verdicts(content)
    changed = [f"{k}: {v}, now {now[k]}" for k, v in before.items() if k in now and now[k] != v]
    write_file(file, (json.dumps(content, indent=1) + "\n").encode())
    write_table(outputs / "ledger.csv", CSV_COLUMNS.split(), content["numbers"])
    return changed
