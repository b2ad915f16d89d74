"""Every sentence that the code composes of a judgement, in all its forms:

python tests/judging/sentences.py
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from mlpfit.config.catalogue import tutorials
from mlpfit.judging import claims, words
from mlpfit.judging.statistics import MEANINGS
from mlpfit.report.table import summary

LACKING = {
    "reason": "no replicas of own/ramp yet",
    "commands": ["mlpfit ensembles own/ramp"],
}
SPREAD = {"p5": 0.9, "median": 1.2, "p95": 1.5, "mean": 1.2, "replicas": 20000, "diverged": 0}
LOST = SPREAD | {"p95": None, "diverged": 1500}
MOST_LOST = LOST | {"median": None}
ONE = SPREAD | {"replicas": 1}


def run(verdict: str, **changes: Any) -> dict[str, Any]:
    """An entry of ``experiments``."""
    row = {"experiment": "own/ramp", "tutorial": "own", "decided_by": "trace", "verdict": verdict}
    row |= {"tested": 10, "numbers": {"typical": 8, "unusual": 3}, "p": 0.061, "replicas": 20000}
    row |= {"between": "", "beyond": False, "recovered": False, "last_verdict": "typical"}
    return row | {"last_p": 0.4, "percentile": 0.8} | changes


def runs() -> Iterator[dict[str, Any]]:
    yield run("curve only")
    yield run("not judged", **LACKING)
    borderline = {"between": "typical and unusual"}
    for verdict, trace, recovered in product(
        ("typical", "borderline", "unusual", "outside"), (True, False), (True, False)
    ):
        row = run(verdict, recovered=recovered, **borderline if verdict == "borderline" else {})
        row |= {"beyond": verdict == "outside", "p": {"typical": 0.19}.get(verdict, 0.061)}
        if not trace:
            row |= {"decided_by": "number", "tested": 1, "numbers": {verdict: 1}}
        yield row
        if trace and verdict == "typical":
            yield row | {"last_verdict": "unusual", "last_p": 0.074}
            yield row | {"numbers": {"typical": 11}}


def numbers() -> Iterator[dict[str, Any]]:
    """Entries of ``numbers``."""
    base = {"quantity": "mse", "label": "", "step": 100, "published": 0.1764, "reason": ""}
    base |= {"recovered": False, "between": "", "beyond": False, "replicas": 20000, "p": 0.017}
    for verdict, share in product(
        ("typical", "unusual", "outside"), (0, 0.001, 0.01, 0.37, 0.999, 1)
    ):
        row = base | {"verdict": verdict, "percentile": share, "beyond": share in (0, 1)}
        if row["beyond"] and verdict != "outside":  # of few replicas
            row |= {"replicas": 4, "p": 0.4}
        yield row
    yield base | {"verdict": "borderline", "percentile": 0.05, "between": "typical and unusual"}
    yield base | {"verdict": "typical", "percentile": 0.4, "recovered": True}
    missing = {key: base[key] for key in ("quantity", "label", "step", "published", "recovered")}
    yield missing | {"verdict": "not judged"} | LACKING
    yield missing | {"verdict": "not checkable", "reason": "the speed of another machine"}


def conclusions() -> Iterator[dict[str, Any]]:
    """Entries of ``conclusions``."""
    base = {"claim": "the loss falls", "tutorial": "own", "where": "last line", "replicas": 1000}
    yield base | LACKING
    for holds in (0, 1, 424, 999, 1000):
        row = base | {"holds": holds, "share": holds / 1000}
        yield row | {"low": max(0, holds / 1000 - 0.03), "high": min(1, holds / 1000 + 0.03)}
    always = base | {"holds": 1000, "share": 1.0, "low": None, "high": None}
    yield always
    yield always | {"own_seed": {"seed": 19, "holds": True}}
    yield always | {"own_seed": {"seed": 19, "holds": False}}


def slips() -> Iterator[dict[str, Any]]:
    """Entries of ``slips``: those of the tutorials, each with made-up numbers of every kind."""
    for tutorial in tutorials():
        for slip in claims.entries(tutorial.name, "SLIPS"):
            head = {"what": slip.what, "consequence": slip.consequence}
            if slip.effect is None:
                yield head
                continue
            yield head | LACKING
            for values in (SPREAD, LOST, MOST_LOST, ONE):
                row = head | {"measure": slip.measure} | values
                yield row | ({"without": SPREAD} if slip.without else {})


def ledgers() -> Iterator[dict[str, Any]]:
    """Ledgers with few and many runs, complete and not."""
    empty: dict[str, Any] = {kind: [] for kind in words.GROUPS}
    for own in (
        [run("typical")],
        [run("typical"), run("unusual", p=0.03)],
        [run("curve only")],
        [run("typical") for _ in range(7)] + [run("unusual")] + [run("curve only")] * 6,
        [
            run(verdict, **LACKING) if verdict == "not judged" else run(verdict)
            for verdict in MEANINGS
        ],
    ):
        yield empty | {"experiments": own}
    for count in (1, 3, 13):
        lacking = {kind: [LACKING] * count for kind in words.GROUPS}
        yield empty | {"experiments": [run("not judged", **LACKING)]} | lacking


def all_forms() -> Iterator[tuple[str, str]]:
    """Name of the function and what it says, in all forms."""
    for row in runs():
        yield "run_verdict", words.run_verdict(row)
    for row in numbers():
        yield "number_verdict", words.number_verdict(row)
        if "p" in row:
            for own in (
                own for own in runs() if own["verdict"] not in ("curve only", "not judged")
            ):
                yield "featured", words.featured(own, row, [], "A. Author")
    for row in conclusions():
        yield "claim_verdict", words.claim_verdict(row)
        yield "featured", words.featured(run("curve only"), None, [row], "A. Author")
        if "own_seed" in row:
            yield "own_seed", words.own_seed(row)
        if row.get("low") is not None:
            yield "interval", words.interval(row)
    yield "featured", words.featured(run("curve only"), None, [], "A. Author")
    yield "featured", words.featured(run("curve only"), None, [], "")
    yield "featured", words.featured(run("not judged", **LACKING), None, [], "A. Author")
    for row in slips():
        yield "slip", row["what"]
        yield "slip_effect", words.slip_effect(row)
    for values in (SPREAD, LOST, MOST_LOST, ONE):
        yield "band", words.band(values)
    share = {"share": 0.5, "low": 0.4, "high": 0.6}
    for row in ({"final": share}, {"trace": share}, {"final": share, "trace": share}, LACKING):
        yield "power", words.power(row)
    for ratio in (1.01, None):
        yield "sensitivity", words.sensitivity({"median": 1.2, "ratio": ratio, "p": 0.4})
    yield "sensitivity", words.sensitivity(LACKING)
    choices: list[dict[str, Any]] = [{"choice": "20 rows"}, {"choice": "10 rows"}]
    for likeliest in ("20 rows", None):
        yield "likeliest", words.likeliest({"likeliest": likeliest, "choices": choices})
    yield "likeliest", words.likeliest({"likeliest": None, "choices": [*choices, LACKING]})
    for ledger in ledgers():
        for line in filter(None, summary(ledger)):
            yield "summary", line
    for claims_judged in ([], [0.97], [0.99, 0.4, 1.0]):
        rows = [{"where": "last line", "share": share} for share in claims_judged]
        for ledger in ledgers():
            yield "in_short", words.in_short(ledger | {"conclusions": rows})
    for count in (1, 2):
        yield "not_judged", words.not_judged([LACKING] * count)
    for tutorial in tutorials():
        for finding in claims.findings(tutorial.name):
            yield "finding", finding.text
        for claim in claims.entries(tutorial.name, "CLAIMS"):
            yield "claim", f"The page concludes: “{claim.claim}”. {claim.measure}."
    for term, meaning in words.GLOSSARY.items():
        yield "glossary", f"{term}: {meaning}"


if __name__ == "__main__":
    for name, text in dict.fromkeys(all_forms()):
        print(f"{name:<16} {text}")
