"""Every published number, trace, claim and slip, judged by the replicas: mlpfit ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles.

ledger.json: ``numbers`` (one entry per published number: key, tutorial, experiment, quantity, step,
convention, published, evidence, verdict, reason and, where replicas have the quantity, percentile
with interval, p, median, p5, p95, replicas),
``traces`` (experiment, p, adjusted p, verdict, steps), ``findings`` (tutorial, title, text; the
values of each under its own key), ``conclusions`` (tutorial, claim, measure, holds, share with
interval, replicas), ``slips`` (tutorial, what, measure, correct, mean, median, p5, p95), ``runs``
(experiment -> replicas, diverged, first and last seed).
"""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.errors import RunError
from mlpfit.judging import claims, published, statistics
from mlpfit.judging.claims import Claim, Ensembles, Finding, Slip
from mlpfit.judging.published import Number
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER

CHANGED = 3  # exit code: a verdict is another than in the ledger that was there before
COLUMNS = (
    *("key", "published", "evidence", "verdict", "percentile", "low", "high", "p"),
    *("median", "p5", "p95", "replicas", "reason"),
)


def ledger(runs: Ensembles) -> dict[str, Any]:
    """The whole ledger as plain data."""
    names = [tutorial.name for tutorial in tutorials()]
    numbers = {name: published.tutorial(name).numbers for name in names}
    findings = {name: claims.findings(name) for name in names}
    return {
        "numbers": [
            {"key": number.key, "tutorial": name} | judge(number, runs, findings[name])
            for name in names
            for number in numbers[name]
        ],
        "traces": traces([number for name in names for number in numbers[name]], runs),
        **{finding.key: finding.values for name in names for finding in findings[name]},
        "findings": [
            {"tutorial": name, "title": finding.title, "text": finding.text}
            for name in names
            for finding in findings[name]
        ],
        "conclusions": [
            {"tutorial": name} | conclude(claim, runs)
            for name in names
            for claim in claims.listed(name, "CLAIMS")
        ],
        "slips": [
            {"tutorial": name} | effect(slip, runs)
            for name in names
            for slip in claims.listed(name, "SLIPS")
        ],
        "runs": {
            name: {
                "replicas": run.replicas,
                "diverged": int(run.diverged.sum()),
                "seeds": [run.seeds[0], run.seeds[-1]],
            }
            for name, run in runs.items()
        },
    }


def judge(number: Number, runs: Ensembles, findings: list[Finding]) -> dict[str, Any]:
    """One published number: its evidence and its verdict."""
    entry = {k: getattr(number, k) for k in ("experiment", "quantity", "step", "convention")}
    entry["published"] = number.value
    if number.not_checkable:
        verdict = {"evidence": "none", "verdict": "not checkable", "reason": number.not_checkable}
        return entry | verdict
    derived = getattr(claims.part(number.experiment), "derived", lambda *_: None)
    verdict = derived(number, findings) or {}
    if number.experiment not in runs:
        if not verdict:
            raise RunError(f"{number.key}: no experiment, no derivation; say why not_checkable")
        return entry | verdict
    run = runs[number.experiment]
    values = published.measured(run, number.quantity, number.update, number.step)
    place = statistics.position(number.value, values)
    by_replicas = {"evidence": "distribution", "verdict": statistics.verdict(place.p), "reason": ""}
    return entry | by_replicas | verdict | asdict(place)


def traces(numbers: list[Number], runs: Ensembles) -> list[dict[str, Any]]:
    """Each printed trace of losses as a whole, corrected for there being several."""
    entries: list[dict[str, Any]] = []
    for name, run in runs.items():
        losses = [n for n in numbers if n.experiment == name and n.quantity == run.config["loss"]]
        trace = [n for n in losses if n.update == "before" and n.step is not None]
        if len(trace) > 1:
            replicas = [published.measured(run, n.quantity, n.update, n.step) for n in trace]
            printed = np.array([n.value for n in trace])
            p = statistics.trace_test(printed, np.stack(replicas, axis=1))
            entry = {"experiment": name, "steps": [n.step for n in trace], "p": p}
            entries.append(entry | {"replicas": run.replicas})
    for entry, p in zip(entries, statistics.adjusted([e["p"] for e in entries]), strict=True):
        entry |= {"p_adjusted": p, "verdict": statistics.verdict(p)}
    return entries


def conclude(claim: Claim, runs: Ensembles) -> dict[str, Any]:
    """In how many replicas the claim holds."""
    holds = claim.holds(runs)
    share, low, high = statistics.share(int(holds.sum()), len(holds))
    return {
        "claim": claim.claim,
        "measure": claim.measure,
        "holds": int(holds.sum()),
        "replicas": len(holds),
        "share": share,
        "low": low,
        "high": high,
    }


def effect(slip: Slip, runs: Ensembles) -> dict[str, Any]:
    """What the slip changes, over the replicas."""
    if slip.effect is None:
        return {"what": slip.what}
    values = slip.effect(runs)
    values = values[np.isfinite(values)]
    p5, median, p95 = statistics.quantiles(values).tolist()
    return {
        "what": slip.what,
        "measure": slip.measure,
        "correct": slip.correct,
        "mean": float(values.mean()),
        "median": median,
        "p5": p5,
        "p95": p95,
        "replicas": len(values),
    }


def ensembles(outputs: Path) -> Ensembles:
    """All ensembles. Raises RunError, naming what is missing."""
    missing = [
        name for name in experiments() if not (outputs / "ensembles" / name / MARKER).is_file()
    ]
    if missing:
        raise RunError(
            f"no ensembles of {', '.join(missing)} under {outputs}/ensembles: make ensembles first"
        )
    return {name: published_run(name, outputs, "ensembles") for name in experiments()}


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
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(content["numbers"])
    write_file(outputs / "ledger.csv", text.getvalue().encode())
    return changed
