"""Every published number, trace, claim and slip, judged by the replicas: mlpfit ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles. The rows of ledger.json
are the dataclasses of :mod:`mlpfit.judging.rows`, under the names of their tables. Beside them are

legend    verdict -> its meaning
findings  tutorial, title, text; the values of each under the finding's key
halves    how many verdicts differ between the halves of the replicas
runs      experiment -> replicas, diverged, first and last seed, recipe (its hash)

A row that can't be judged has the verdict (a claim: the column) "not judged", a reason, and
commands, a list of those that train what it needs, instead of its numbers.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_published
from mlpfit.errors import RunError, as_config_error
from mlpfit.files import read_file, write_file, write_table
from mlpfit.judging import (
    claims,
    comparisons,
    published,
    quantities,
    rows,
    statistics,
    variants,
    words,
)
from mlpfit.judging.claims import Claim, Ensembles, Finding, Joint, Slip
from mlpfit.judging.evidence import Evidence, command, lacking, recipe_id
from mlpfit.judging.positions import positions
from mlpfit.judging.published import Number
from mlpfit.judging.rows import (
    ABSENT,
    Among,
    ClaimRow,
    DeviationRow,
    ExperimentRow,
    Held,
    JointRow,
    NumberRow,
    RunVerdict,
    Side,
    SlipRow,
    Spread,
    TraceRow,
    Verdict,
)
from mlpfit.judging.statistics import BORDERLINE, NOT_JUDGED
from mlpfit.runs.run import Run

AT_ONCE = 2**22  # numbers of replicas that are held at once
CHANGED = 3  # exit code: a verdict differs from the previous ledger's
CSV_COLUMNS = (
    "key published evidence verdict between percentile low high "
    "p p_low p_high median p5 p95 ratio replicas reason"
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
        variants.check_tutorial(name)
    experiments = experiments_of(names)
    findings = {name: claims.findings(name) for name in names}
    numbers = [
        row
        for name in names
        for row in judge_numbers(published.tutorial(name).numbers, runs, findings[name])
    ]
    traces = judge_traces(experiments, runs, {row.experiment for row in numbers if row.recovered})
    content: dict[str, Any] = {
        "legend": statistics.MEANINGS,
        "experiments": judge_experiments(experiments, numbers, traces),
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
        "deviations": [
            DeviationRow(name, deviation.experiment or None, deviation.what)
            for name in names
            for deviation in published.tutorial(name).deviations
        ],
        "halves": compare_halves(numbers, traces),
        **comparisons.tables(runs, names),
        "runs": {name: _run_entry(runs[name]) for name in experiments if name in runs},
    }
    return {key: rows.plain(value) for key, value in content.items()}


def _judge_entries(names: list[str], kind: str, judge: Any, runs: Ensembles) -> list[Any]:
    """The tutorials' claims, slips or joint quantities, each judged from the runs that it names."""
    judged = []
    for name in names:
        for entry in claims.entries(name, kind):
            title = next(iter(vars(entry).values()))
            if why := lacking(runs, entry.experiments):
                judged.append(replace(_row_of(entry, name), result=why))
                continue
            own = Compared({e: runs[e] for e in entry.experiments})
            with as_config_error(f"{name}/claims.py: {title}"):
                judged.append(judge(entry, own, name))
    return judged


def _row_of(entry: Claim | Slip | Joint, tutorial: str) -> Any:
    """The row of a claim, slip or joint quantity that is not judged yet."""
    experiments = list(entry.experiments)
    if isinstance(entry, Claim):
        author = published.tutorial(tutorial).author
        whose = f"after {author}" if entry.where else "we asked"
        return ClaimRow(tutorial, experiments, entry.claim, entry.where, entry.measure, whose)
    if isinstance(entry, Slip):
        return SlipRow(tutorial, experiments, entry.what, entry.consequence)
    return JointRow(tutorial, experiments, entry.what)


class Compared(dict[str, Run]):
    """The runs that a claim names in ``experiments``."""

    def __missing__(self, name: str) -> Run:
        raise ValueError(f"{name}: name it among its experiments, {', '.join(self)}")


def _run_entry(run: Run) -> dict[str, Any]:
    seeds = [run.seeds[0], run.seeds[-1]]
    entry = {"replicas": run.replicas, "diverged": int(run.diverged.sum()), "seeds": seeds}
    return entry | {"recipe": recipe_id(run.identity["recipe"])}


def judge_numbers(
    numbers: Sequence[Number], runs: Ensembles, findings: Sequence[Finding]
) -> list[NumberRow]:
    """Evidence and verdicts of published numbers of one tutorial."""
    if not numbers:
        return []
    tutorial = numbers[0].experiment.split("/")[0]
    derived = getattr(claims.claims_module(tutorial), "derived", lambda *_: None)
    laws = quantities.laws(tutorial)
    judged = [_row_of_number(number) for number in numbers]
    among_replicas: dict[str, list[int]] = {}
    for place, number in enumerate(numbers):
        if number.not_checkable:
            continue
        reason = derived(number, findings)
        row = replace(judged[place], recovered=reason is not None, reason=reason or "")
        if number.quantity in laws:
            (result,) = among([number.value], laws[number.quantity]()[:, None])
            row = replace(row, evidence="law", result=result)
        elif why := lacking(runs, [number.experiment]):
            row = replace(row, result=Verdict(lacking=why))
        else:
            among_replicas.setdefault(number.experiment, []).append(place)
        judged[place] = row
    for experiment, places in among_replicas.items():
        run = runs[experiment]
        size = max(1, AT_ONCE // run.replicas)
        for some in (places[i : i + size] for i in range(0, len(places), size)):
            own = [numbers[place] for place in some]
            results = among([number.value for number in own], published.values_of(run, own))
            for place, result in zip(some, results, strict=True):
                judged[place] = replace(judged[place], evidence="distribution", result=result)
    return judged


def _row_of_number(number: Number) -> NumberRow:
    """The row of a number that can't be judged."""
    return NumberRow(
        key=number.key,
        tutorial=number.experiment.split("/")[0],
        experiment=number.experiment,
        quantity=number.quantity,
        label=number.label,
        step=number.step,
        convention=number.convention,
        published=number.value,
        recovered=False,
        reason=number.not_checkable,
        evidence="none",
        epoch=ABSENT if number.epoch is None else number.epoch,
        result=Verdict("not checkable"),
    )


def among(values: Sequence[float], replicas: np.ndarray) -> list[Among]:
    """Position, p and verdict of each value (N,) among its replicas (R, N), and its verdict in each
    half of them."""
    printed = np.array(values)
    whole, *halves = (positions(printed, part) for part in (replicas, *np.array_split(replicas, 2)))
    return [
        Among(position, p, p.verdict, p.between, [half.verdict for _, half in own])
        for (position, p), *own in zip(whole, *halves, strict=True)
    ]


def judge_traces(
    experiments: list[str], runs: Ensembles, recovered: Collection[str]
) -> list[TraceRow]:
    """The verdict of each printed trace as a whole, by its p alone. p_adjusted is adjusted for the
    number of traces; that of an experiment whose numbers are recovered from the page does not test
    the recipe, and is left out of the adjustment."""
    judged = {}
    traces = {name: trace for name in experiments if (trace := published.printed_trace(name))}
    for name, trace in traces.items():
        row = TraceRow(name, name.split("/")[0], [number.step or 0 for number in trace])
        if why := lacking(runs, [name]):
            judged[name] = replace(row, lacking=why)
            continue
        printed = np.array([number.value for number in trace])
        values = published.values_of(runs[name], trace)
        samples = (values, *np.array_split(values, 2))
        test, *halves = (statistics.trace_test(printed, sample) for sample in samples)
        judged[name] = replace(
            row,
            replicas=len(values),
            in_family=name not in recovered,
            p=test,
            verdict=test.verdict,
            between=test.between,
            halves=[half.verdict for half in halves],
            p_adjusted=test.p,
        )
    family = [name for name, row in judged.items() if row.in_family]
    corrected = statistics.adjusted([judged[name].p for name in family])
    for name, p in zip(family, corrected, strict=True):
        judged[name] = replace(judged[name], p_adjusted=p.p)
    return list(judged.values())


def judge_experiments(
    experiments: Sequence[str], numbers: Sequence[NumberRow], traces: Sequence[TraceRow]
) -> list[ExperimentRow]:
    """The verdict of each experiment: that of its trace, else of its last checkable number."""
    own: dict[str, list[NumberRow]] = {name: [] for name in experiments}
    for number in numbers:
        own.setdefault(number.experiment, []).append(number)
    by_name = {trace.experiment: trace for trace in traces}
    return [_judge_experiment(name, own[name], by_name.get(name)) for name in experiments]


def _judge_experiment(
    experiment: str, numbers: list[NumberRow], trace: TraceRow | None
) -> ExperimentRow:
    checkable = [number for number in numbers if number.result.verdict != "not checkable"]
    counts = dict(Counter(number.result.verdict for number in numbers))
    row = ExperimentRow(experiment, experiment.split("/")[0], counts)
    if not checkable:
        return row
    last = checkable[-1]
    row = replace(row, decided_by="trace" if trace else "number")
    decisive = trace or last.result
    if decisive.verdict == NOT_JUDGED:
        return replace(row, result=Verdict(lacking=decisive.lacking))
    result = RunVerdict(
        tested=len(trace.steps) if trace else 1,
        last=last.key,
        last_verdict=last.result.verdict,
        last_p=last.result.p.p,
        recovered=last.recovered,
        percentile=last.result.position.percentile,
        ratio=last.result.position.ratio,
        verdict=decisive.verdict,
        between=decisive.between,
        replicas=trace.replicas if trace else last.result.position.replicas,
        halves=decisive.halves,
        p=decisive.p,
    )
    return replace(row, result=result)


def judge_joint(quantity: Joint, runs: Ensembles, tutorial: str) -> JointRow:
    """Position and verdict of a quantity of several published numbers."""
    values = {number.key: number.value for number in published.tutorial(tutorial).numbers}
    value = quantity.published(values)
    (result,) = among([value], quantity.replicas(runs)[:, None])
    row = _row_of(quantity, tutorial)
    return replace(row, verdict=result.verdict, published=value, result=result)


def judge_claim(claim: Claim, runs: Ensembles, tutorial: str) -> ClaimRow:
    """In how many replicas the claim holds, and whether it does in the page's own seed."""
    page = published.tutorial(tutorial)
    holds = claim.per_replica(runs, claim.holds)
    share, low, high = statistics.proportion(int(holds.sum()), len(holds))
    column = next(name for name, includes in CLAIM_COLUMNS.items() if includes(low, high))
    seeds, own_seed = runs[claim.experiments[0]].seeds, ABSENT
    if page.seed is not None and page.seed in seeds[: len(holds)]:
        own_seed = {"seed": page.seed, "holds": bool(holds[seeds.index(page.seed)])}
    levels, bounds = (
        {name: float(claim.per_replica(runs, other).mean()) for name, other in predicates.items()}
        for predicates in (claim.levels, claim.bounds)
    )
    held = Held(
        holds=int(holds.sum()),
        replicas=len(holds),
        share=share,
        low=None if claim.identity else low,
        high=None if claim.identity else high,
        own_seed=own_seed,
        levels=levels,
        bounds=bounds,
    )
    column = BY_CONSTRUCTION if claim.identity else column
    return replace(_row_of(claim, tutorial), column=column, result=held)


def judge_slip(slip: Slip, runs: Ensembles, tutorial: str) -> SlipRow:
    """How much the slip matters, over the replicas."""
    row = _row_of(slip, tutorial)
    if slip.effect is None:
        return row
    sides = slip.sides or ()
    if slip.without and not slip.sides:
        sides = (("on the page", slip.effect), ("without the slip", slip.without))
    return replace(
        row,
        measure=slip.measure,
        result=_spread(slip.effect(runs)),
        without=_spread(slip.without(runs)) if slip.without else ABSENT,
        sides=[Side(name, _spread(value(runs))) for name, value in sides],
    )


def _spread(values: np.ndarray) -> Spread:
    """Quantiles of values (R,), diverged ones above all others, and the mean of the finite ones."""
    finite = values[np.isfinite(values)]
    p5, median, p95 = (v if np.isfinite(v) else None for v in statistics.quantiles(values).tolist())
    mean = float(finite.mean()) if len(finite) else None
    return Spread(p5, median, p95, mean, len(values), len(values) - len(finite))


def compare_halves(numbers: Sequence[NumberRow], traces: Sequence[TraceRow]) -> dict[str, Any]:
    """How many verdicts differ between the halves of the replicas: those to or from borderline are
    counted, those from one clear verdict to another (rare with enough replicas) are listed."""
    pairs = {row.key: row.result.halves for row in numbers if isinstance(row.result, Among)}
    pairs |= {f"trace {row.experiment}": row.halves for row in traces if row.p is not ABSENT}
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
        for key, config in variants.configs(owner, outputs).items():
            evidence.add(key, config.folder, config, seeds=True)
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

    def row_without(kind: str, row: dict[str, Any]) -> dict[str, Any]:
        names = row["experiments"] if "experiments" in row else [row["experiment"]]
        departed = [name for name in names if name.partition(":")[0] in apart]
        if not departed:
            return row
        if "choices" in row:  # an assumption is judged choice by choice
            choices = [cleared(kind, c, departed) for c in row["choices"]]
            return row | {"choices": choices, "likeliest": None}
        return cleared(kind, row, departed)

    def cleared(kind: str, row: dict[str, Any], departed: list[str]) -> dict[str, Any]:
        head = rows.head(kind, row)
        head |= {key: NOT_JUDGED for key in ("verdict", "column") if key in row}
        reasons = dict.fromkeys(apart[name.partition(":")[0]] for name in departed)
        return head | {"reason": "; ".join(reasons), "commands": list(map(command, departed))}

    tables = {kind: [row_without(kind, row) for row in content[kind]] for kind in rows.TABLES}
    return content | tables


_ROWS = (
    *("experiments", "numbers", "traces", "joint", "findings", "conclusions", "slips"),
    *("deviations", "power", "assumptions", "sensitivity"),
)


def read(outputs: Path, whole: bool = False) -> dict[str, Any]:
    """Content of ledger.json. Raises RunError if it is missing or damaged, with ``whole`` also if
    it lacks a section."""
    file = outputs / "ledger.json"
    try:
        content = json.loads(read_file(file))
        if isinstance(content, dict) and not (whole and _lacks_sections(content)):
            return content
    except FileNotFoundError:
        own = "mlpfit report <tutorial> needs none"
        raise RunError(f"{file} is not there: make ensembles report writes it; {own}") from None
    except (ValueError, RecursionError):
        pass
    raise RunError(f"{file}: damaged; remove it, and make ensembles report writes it again")


def _lacks_sections(content: dict[str, Any]) -> bool:
    sections = [content.get(name) for name in _ROWS]
    rows = [isinstance(s, list) and all(isinstance(row, dict) for row in s) for s in sections]
    dicts = [isinstance(content.get(name), dict) for name in ("legend", "halves", "runs")]
    return not all([*rows, *dicts])


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    """The verdict of every judged number and trace, which must not change unnoticed."""
    judged = {entry["key"]: entry for entry in content["numbers"]}
    judged |= {f"trace {entry['experiment']}": entry for entry in content["traces"]}
    return {key: row["verdict"] for key, row in judged.items() if row["verdict"] != NOT_JUDGED}


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
    poorer = ", ".join(f"{n} of {kind}" for kind, n in fewer.items())
    needed = words.commands(
        [row for kind in words.GROUPS for row in content[kind] if words.is_missing(row)]
    )
    first = f"{needed} trains what they need" if needed else "train more replicas"
    raise Poorer(
        f"{file} is kept, since the ensembles here judge fewer rows or by fewer replicas "
        f"({poorer}): {first}, or --partial writes the poorer one"
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
