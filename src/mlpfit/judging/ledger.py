"""Every published number, trace, conclusion and slip, judged by the replicas: python -m
mlpfit.ledger

Writes outputs/ledger.json and outputs/ledger.csv from finished ensembles. Exit code 3 if a verdict
is another than in the ledger that was there before.

ledger.json: ``numbers`` (one entry per published number: key, tutorial, experiment, quantity, step,
convention, published, evidence, verdict, reason and, by evidence, percentile with interval, p,
median, p5, p95, replicas, here),
``traces`` (experiment, p, adjusted p, verdict, steps), ``recovered`` (see evidence.Recovered),
``conclusions`` (tutorial, claim, measure, holds, share with interval, replicas), ``slips``
(tutorial, what, measure, correct, mean, median, p5, p95), ``runs`` (experiment -> replicas,
diverged, identity of code and packages).
"""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.errors import RunError
from mlpfit.judging import published
from mlpfit.judging import statistics as evidence
from mlpfit.judging.conclusions import CONCLUSIONS, Ensembles
from mlpfit.judging.slips import SLIPS, WORDS
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER

CHANGED = 3
NOT_CHECKABLE = {
    "steps_per_second": "the speed of another machine; speed here is measured by make bench",
    "gradient_by_hand_0": "the random inputs of the check are not published",
    "gradient_by_hand_1": "the random inputs of the check are not published",
}


def ledger(runs: Ensembles) -> dict[str, Any]:
    """The whole ledger as plain data."""
    numbers = [n for t in tutorials() for n in published.tutorial(t.name).numbers]
    recovered = recover(numbers)
    return {
        "numbers": [judge(number, runs, recovered) for number in numbers],
        "traces": traces(numbers, runs),
        "recovered": asdict(recovered),
        "conclusions": [conclude(c, runs) for c in CONCLUSIONS],
        "slips": [effect(s, runs) for s in SLIPS]
        + [{"tutorial": t, "what": what} for t, what in WORDS],
        "runs": {
            name: {
                "replicas": run.replicas,
                "diverged": int(run.diverged.sum()),
                "seeds": [run.seeds[0], run.seeds[-1]],
            }
            for name, run in runs.items()
        },
    }


def judge(
    number: published.Number, runs: Ensembles, recovered: evidence.Recovered
) -> dict[str, Any]:
    """One published number: its evidence and its verdict."""
    entry: dict[str, Any] = {"key": number.key, "tutorial": number.experiment.split("/")[0]}
    entry |= {k: getattr(number, k) for k in ("experiment", "quantity", "step", "convention")}
    entry["published"] = number.value
    if number.quantity in NOT_CHECKABLE:
        return entry | {
            "evidence": "none",
            "verdict": "not checkable",
            "reason": NOT_CHECKABLE[number.quantity],
        }
    if number.quantity.startswith("gradient_autograd"):
        return entry | gradient_check(number)
    if number.experiment == "gradient/line_autograd" and recovered.residual < 1e-5:
        reason = f"the closed form of descent gives all 20 to {recovered.residual:.0e} relative"
        found = {"evidence": "recovered", "verdict": "recovered", "reason": reason}
    else:
        found = {"evidence": "distribution", "reason": ""}
    values = published.measured(
        runs[number.experiment], number.quantity, number.update, number.step
    )
    place = evidence.position(number.value, values)
    found = {"verdict": evidence.verdict(place.p)} | found
    return entry | found | asdict(place)


def gradient_check(number: published.Number) -> dict[str, Any]:
    """The autograd gradient is printed with four decimals: it must be the hand-derived one,
    rounded."""
    other = number.quantity.replace("autograd", "by_hand")
    by_hand = next(n.value for n in published.tutorial("gradient").numbers if n.quantity == other)
    agrees = round(by_hand, 4) == number.value
    reason = (
        f"the hand-derived {by_hand} to its four printed decimals"
        if agrees
        else f"not the hand-derived {by_hand}"
    )
    return {
        "evidence": "recovered",
        "verdict": "recovered" if agrees else "outside",
        "reason": reason,
    }


def recover(numbers: list[published.Number]) -> evidence.Recovered:
    trace = [n for n in numbers if n.experiment == "gradient/line_autograd"]
    steps = np.array([n.step for n in trace])
    return evidence.recover_line(steps, np.array([n.value for n in trace]), rows=50, lr=1e-4)


def traces(numbers: list[published.Number], runs: Ensembles) -> list[dict[str, Any]]:
    """Each printed trace of losses as a whole, corrected for there being several."""
    found: list[dict[str, Any]] = []
    for name, run in runs.items():
        trace = [
            n
            for n in numbers
            if n.experiment == name and n.update == "before" and n.step is not None
        ]
        trace = [n for n in trace if n.quantity == run.config["loss"]]
        if len(trace) > 1:
            values = [published.measured(run, n.quantity, n.update, n.step) for n in trace]
            p = evidence.trace_test(np.array([n.value for n in trace]), np.stack(values, axis=1))
            found.append(
                {
                    "experiment": name,
                    "steps": [n.step for n in trace],
                    "p": p,
                    "replicas": run.replicas,
                }
            )
    for entry, p in zip(found, evidence.adjusted([float(e["p"]) for e in found]), strict=True):
        entry |= {"p_adjusted": p, "verdict": evidence.verdict(p)}
    return found


def conclude(conclusion: Any, runs: Ensembles) -> dict[str, Any]:
    holds = conclusion.holds(runs)
    share, low, high = evidence.share(int(holds.sum()), len(holds))
    return {
        **{k: getattr(conclusion, k) for k in ("tutorial", "claim", "measure")},
        **{
            "holds": int(holds.sum()),
            "replicas": len(holds),
            "share": share,
            "low": low,
            "high": high,
        },
    }


def effect(slip: Any, runs: Ensembles) -> dict[str, Any]:
    values = slip.effect(runs)
    values = values[np.isfinite(values)]
    p5, median, p95 = evidence.quantiles(values).tolist()
    return {
        **{k: getattr(slip, k) for k in ("tutorial", "what", "measure", "correct")},
        **{
            "mean": float(values.mean()),
            "median": median,
            "p5": p5,
            "p95": p95,
            "replicas": len(values),
        },
    }


def ensembles(outputs: Path) -> dict[str, Any]:
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
    found = {entry["key"]: entry["verdict"] for entry in content["numbers"]}
    return found | {f"trace {entry['experiment']}": entry["verdict"] for entry in content["traces"]}


def write(content: dict[str, Any], outputs: Path) -> list[str]:
    """Write JSON and CSV. Returns the verdicts that differ from those of the ledger that was
    there."""
    file = outputs / "ledger.json"
    before = verdicts(sealed.read_ledger(outputs)) if file.is_file() else {}
    now = verdicts(content)
    changed = [
        f"{k}: {before[k]}, now {now[k]}" for k in now if k in before and before[k] != now[k]
    ]
    write_file(file, sealed.json_bytes(content))
    text = io.StringIO()
    fields = [
        "key",
        "published",
        "evidence",
        "verdict",
        "percentile",
        "low",
        "high",
        "p",
        "median",
        "p5",
        "p95",
    ]
    writer = csv.DictWriter(
        text, [*fields, "replicas", "reason"], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(content["numbers"])
    write_file(outputs / "ledger.csv", text.getvalue().encode())
    return changed
