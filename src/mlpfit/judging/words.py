"""What is said of a judgement: README, report, playground, terminal and notebook take their words
from here, so that they can't contradict one another. Arguments are rows of the ledger
(:mod:`mlpfit.judging.ledger`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlpfit.judging.quantities import ERRORS, LABELS
from mlpfit.judging.statistics import BORDERLINE, CURVE_ONLY, MEANINGS, NOT_JUDGED

Row = Mapping[str, Any]
NUMBER_WORDS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
GROUPS = {  # sections of the ledger whose rows may be missing -> what such rows are called
    "numbers": ("published number", "published numbers"),
    "traces": ("trace of losses", "traces of losses"),
    "joint": ("combination of numbers", "combinations of numbers"),
    "conclusions": ("claim", "claims"),
    "slips": ("slip", "slips"),
    "power": ("test of power", "tests of power"),
    "assumptions": ("open question", "open questions"),
    "sensitivity": ("test of sensitivity", "tests of sensitivity"),
}


def in_words(number: int) -> str:
    """A number up to twelve as a word, a larger one in digits."""
    return NUMBER_WORDS[number] if number < len(NUMBER_WORDS) else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "three claims", "14 runs", "one run", "no runs"."""
    return f"{in_words(number)} {noun}{'' if number == 1 else 's'}"


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent; one that is neither 0 nor 1 is never rounded to 0 or 100 %."""
    text = f"{100 * share:.{digits}f}"
    least = 10.0**-digits
    if share > 0 and float(text) == 0:
        return f"less than {least:g} %"
    if share < 1 and float(text) == 100:
        return f"more than {100 - least:g} %"
    return f"{text} %"


def p_value(p: float) -> str:
    """A p with its letter: "p 0.061"."""
    return f"p {p:.2g}"


def band(row: Row) -> str:
    """Median and central 90 % of the replicas: "2.792 (1.972 to 4.506)"."""
    if row["median"] is None:
        return "most seeds diverged"
    if row["p95"] is None:
        return f"{row['median']:.4g} (from {row['p5']:.4g}; more than 5 % diverged)"
    return f"{row['median']:.4g} ({row['p5']:.4g} to {row['p95']:.4g})"


def verdict(row: Row) -> str:
    """A verdict with what it needs to be understood: "borderline between outside and unusual"."""
    words = row["verdict"]
    if row.get("between"):
        words += f" between {row['between']}"
    if row.get("beyond"):
        seeds = f"beyond all {row['replicas']:,} seeds"
        few = f" as far as so few can tell (it lies {seeds})"
        words += f", {seeds}" if row["verdict"] == "outside" else few
    return words


def number_verdict(row: Row) -> str:
    """The verdict of one published number: "unusual, p 0.017", "typical, p 0.77, recovered"."""
    if row["verdict"] == NOT_JUDGED:
        return f"{NOT_JUDGED}: {row['reason']}"
    if "p" not in row:
        return f"{row['verdict']}: {row['reason']}"
    return f"{verdict(row)}, {p_value(row['p'])}" + (", recovered" if row.get("recovered") else "")


def run_verdict(run: Row) -> str:
    """The verdict of a run, what decides it and its p alone, unadjusted; where the last number or
    many single ones look otherwise, that too.

    "typical, p 0.19 (its 20 printed losses together); 13 of its 21 numbers lie outside the central
    90 %, the last one at p 0.074"
    """
    if run["verdict"] == CURVE_ONLY:
        return CURVE_ONLY
    if run["verdict"] == NOT_JUDGED:
        return f"{NOT_JUDGED}: {run['reason']}"
    by = f"its {run['tested']} printed losses together"
    by = by if run["decided_by"] == "trace" else "the one number it prints"
    words = f"{verdict(run)}, {p_value(run['p'])} ({by})"
    judged = sum(
        n for word, n in run["numbers"].items() if word in (*MEANINGS,) and word != "not checkable"
    )
    apart = sum(run["numbers"].get(word, 0) for word in ("unusual", "outside", BORDERLINE))
    if run["decided_by"] == "trace" and apart and run["verdict"] == "typical":
        words += f"; {apart} of its {judged} numbers lie at or outside the edge of the central 90 %"
        if run["last_verdict"] != "typical":
            words += f", the last one at {p_value(run['last_p'])}"
    return words + ("; its numbers follow from one another" if run["recovered"] else "")


def runs(ledger: Row) -> str:
    """How many runs there are and how they are judged: "14 runs: 7 typical, 1 unusual, 6 curve
    only"."""
    counts = Counter(run["verdict"] for run in ledger["experiments"])
    parts = [f"{counts[word]} {of_runs(word)}" for word in MEANINGS if counts[word]]
    number = len(ledger["experiments"])
    return f"{number} run{'s' * (number != 1)}: {', '.join(parts)}"


def of_runs(verdict: str) -> str:
    """What runs with this verdict are: "typical", "published as curves only"."""
    return "published as curves only" if verdict == CURVE_ONLY else verdict


def in_short(ledger: Row) -> str:
    """What came out, for the first screen: how many runs are typical, and how many conclusions of
    the pages hold in nearly every seed; empty if nothing is judged."""
    judged = Counter(run["verdict"] for run in ledger["experiments"] if "p" in run)
    sentences = []
    if number := judged.total():
        typical = judged["typical"]
        others = [
            f"{in_words(judged[word])} {'is' if judged[word] == 1 else 'are'} {word}"
            for word in MEANINGS
            if word != "typical" and judged[word]
        ]
        of = f"the {in_words(number)} runs" if number > 1 else "one run"
        sentences.append(
            f"{in_words(typical).capitalize()} of {of} whose numbers can be compared "
            f"{'is' if typical == 1 else 'are'} typical: with most other seeds the page would have "
            f"shown much the same" + (f"; {' and '.join(others)}." if others else ".")
        )
    claims = [claim for claim in ledger["conclusions"] if claim["where"] and not is_missing(claim)]
    if claims:
        firm = sum(claim["share"] >= 0.95 for claim in claims)
        rest = f", {in_words(len(claims) - firm)} in fewer" if firm < len(claims) else ""
        sentences.append(
            f"Of {counted(len(claims), 'conclusion')} that the pages draw, {in_words(firm)} "
            f"hold{'s' * (firm == 1)} in at least 95 % of the seeds{rest}."
        )
    return " ".join(sentences)


def numbers(ledger: Row) -> str:
    """How the single numbers are judged: a sentence; empty if none is published."""
    counts = Counter(number["verdict"] for number in ledger["numbers"])
    parts = [f"{counts[word]} {word}" for word in MEANINGS if counts[word]]
    return f"The single numbers by themselves: {', '.join(parts)}." if parts else ""


def family(ledger: Row) -> str:
    """What may be expected of the smallest p of this many runs, independent ones: a sentence; empty
    for fewer than two judged runs."""
    judged = [run for run in ledger["experiments"] if "p" in run]
    if len(judged) < 2:
        return ""
    least = min(judged, key=lambda run: run["p"])
    none_as_small = 1.0
    for _ in judged:
        none_as_small *= 1 - least["p"]
    number = in_words(len(judged))
    return (
        f"The smallest of the {number} values of p is {least['p']:.2g} ({least['experiment']}); "
        f"chance alone gives one at least as small in {100 * (1 - none_as_small):.0f} % of sets of "
        f"{number} independent runs."
    )


def not_judged(rows: Sequence[Row]) -> str:
    """That rows are not judged, and for want of which commands: a sentence."""
    number = "One entry is" if len(rows) == 1 else f"{in_words(len(rows)).capitalize()} entries are"
    return f"{number} not judged yet: run {commands(rows)} to train what is missing."


def missing(ledger: Row) -> str:
    """How many rows are not judged and which commands would judge them: a sentence; empty if all
    are judged."""
    rows = {kind: [row for row in ledger[kind] if is_missing(row)] for kind in GROUPS}
    parts = [
        f"{in_words(len(found))} {GROUPS[kind][len(found) != 1]}"
        for kind, found in rows.items()
        if found
    ]
    if not parts:
        return ""
    needed = commands([row for found in rows.values() for row in found])
    return f"Not judged: {', '.join(parts)}. Run {needed} to train what they need."


def is_missing(row: Row) -> bool:
    """Whether a row, or a choice of it, lacks its evidence."""
    return any(part.get("commands") for part in (row, *row.get("choices", ())))


def commands(rows: Sequence[Row]) -> str:
    """The commands that train what these rows lack: "mlpfit ensembles --variants tower plane"."""
    names: dict[str, dict[str, None]] = {}  # by the command without the name
    for part in (part for row in rows for part in (row, *row.get("choices", ()))):
        for command in part.get("commands", ()):
            start, _, name = command.rpartition(" ")
            names.setdefault(start, {})[name] = None
    return " and ".join(f"{start} {' '.join(own)}" for start, own in names.items())


def share(claim: Row) -> str:
    """In how many seeds a claim holds: "42.4 % of 20,000 seeds", "all 1,000 seeds"."""
    if claim["holds"] == claim["replicas"]:
        return f"all {claim['replicas']:,} seeds"
    if claim["holds"] == 0:
        return f"none of {claim['replicas']:,} seeds"
    return f"{percent(claim['share'])} of {claim['replicas']:,} seeds"


def interval(claim: Row) -> str:
    """The 95 % interval of a claim's share."""
    if claim["low"] is None:
        return "by construction"
    low, high = percent(claim["low"]), percent(claim["high"])
    if claim["high"] == 1 and low.startswith("more"):
        return low
    if claim["low"] == 0 and high.startswith("less"):
        return high
    return f"{low.removesuffix(' %')} to {high}"


def claim_verdict(claim: Row) -> str:
    """In how many seeds a claim holds, as a verb: "holds in 42.4 % of 20,000 seeds"."""
    if is_missing(claim):
        return f"{NOT_JUDGED}: {claim['reason']}"
    return f"holds in {share(claim)}" + (" by construction" if claim["low"] is None else "")


def own_seed(claim: Row) -> str:
    """Whether a claim holds in the seed that the page itself has; empty if it has none."""
    if "own_seed" not in claim:
        return ""
    verb = "holds" if claim["own_seed"]["holds"] else "fails"
    return f"{verb} in the page's own seed {claim['own_seed']['seed']}"


def spread(values: Row) -> str:
    """ "median of 20,000 seeds 1.46, 90 % of them from 1.01 to 3.325"; one value alone."""
    if values["replicas"] == 1:
        return f"{values['median']:.4g}"
    if values["median"] is None:
        return f"most of {values['replicas']:,} seeds diverged"
    text = f"median of {values['replicas']:,} seeds {values['median']:.4g}"
    if values["p95"] is None:
        return f"{text}, 5 % of them at most {values['p5']:.4g}; {values['diverged']:,} diverged"
    text += f", 90 % of them from {values['p5']:.4g} to {values['p95']:.4g}"
    return text + (f"; {values['diverged']:,} diverged" if values["diverged"] else "")


def slip_effect(slip: Row) -> str:
    """What a slip does and how much, a sentence."""
    if is_missing(slip):
        return f"{NOT_JUDGED.capitalize()}: {slip['reason']}."
    if "median" not in slip:
        return slip["consequence"] or "It changes no number here."
    text = f"{slip['measure']}: {spread(slip)}"
    text += f". Without the slip: {spread(slip['without'])}" if "without" in slip else ""
    return f"{text[0].upper()}{text[1:]}."


def power(row: Row) -> str:
    """In which share of seeds a changed recipe would be noticed."""
    if is_missing(row):
        return f"{NOT_JUDGED}: {row['reason']}"
    names = {"final": "of seeds by the last number", "trace": "of seeds by all printed losses"}
    parts = (
        f"{percent(row[test]['share'], 0)} {how}" for test, how in names.items() if test in row
    )
    noticed = ", in ".join(parts)
    return f"noticed in {noticed}" if noticed else "no number is published that could tell"


def sensitivity(row: Row) -> str:
    """How far a change that should not matter moves the median."""
    if is_missing(row):
        return f"{NOT_JUDGED}: {row['reason']}"
    ratio = "" if row["ratio"] is None else f", {row['ratio']:.3f} times the recipe's"
    differ = "two samples of one recipe differ as much with"
    return f"median {row['median']:.4g}{ratio}; {differ} {p_value(row['p'])}"


def likeliest(row: Row) -> str:
    """Which choice agrees best with what is printed."""
    if row["likeliest"]:
        return f"what is printed fits best with {row['likeliest']}"
    if any(is_missing(choice) for choice in row["choices"]):
        return f"{NOT_JUDGED}: {next(c['reason'] for c in row['choices'] if is_missing(c))}"
    return "nothing is printed that could tell them apart"


def featured(run: Row, number: Row | None, claims: Sequence[Row], author: str) -> str:
    """One plain sentence on a page's run for the first screen: its last number among the seeds,
    else the first claim of the page about it, else that nothing can be judged."""
    if number is not None and "percentile" in number and number["step"] is not None:
        return _featured_number(run, number)
    judged = [claim for claim in claims if not is_missing(claim)]
    if judged:
        claim = judged[0]
        return f"The page concludes: “{claim['claim']}”. This holds in {of_a_hundred(claim)}."
    if run["verdict"] == NOT_JUDGED:
        return f"{NOT_JUDGED.capitalize()}: {run['reason']}."
    return (
        "The page prints no number and draws no conclusion that seeds could test."
        if author
        else "Nothing is published of it."
    )


def _featured_number(run: Row, number: Row) -> str:
    below = hundred(number["percentile"])
    quantity = number["label"] or LABELS.get(number["quantity"], number["quantity"])
    one, value = below in ("one", "fewer than one"), f"{number['published']:.3g}"
    if number["quantity"] in ERRORS:
        result, verb = f"an error of {value} ({quantity})", "does better" if one else "do better"
    else:
        result, verb = f"{quantity} {value}", "ends lower" if one else "end lower"
    sentence = f"The page's net ends with {result}. Of 100 seeds, {below} {verb}"
    by_trace = run["decided_by"] == "trace"
    if by_trace and (run["verdict"], number["verdict"]) != ("typical", "typical"):
        together = f"{sentence}. Taken together, the {in_words(run['tested'])} losses it prints are"
        kinds = {
            "typical": f"typical: {percent(run['p'], 0)} of seeds stray as far.",
            "unusual": f"unusual: only {percent(run['p'], 0)} of seeds stray as far.",
            "outside": f"outside what {run['replicas']:,} seeds do.",
            BORDERLINE: f"on the border between {run.get('between', '')}.",
        }
        return f"{together} {kinds[run['verdict']]}"
    kinds = {
        "typical": "a typical run.",
        "unusual": f"an unusual run; only {percent(run['p'], 0)} of seeds stray as far.",
        "outside": f"outside what {run['replicas']:,} seeds do.",
        BORDERLINE: f"on the border between {run.get('between', '')}.",
    }
    return f"{sentence}: {kinds[run['verdict']]}"


def of_a_hundred(claim: Row) -> str:
    """In how many seeds a claim holds, in round numbers: "98 of 100 seeds"."""
    if claim["holds"] in (0, claim["replicas"]):
        return share(claim)
    return f"{hundred(claim['share'])} of 100 seeds"


def hundred(share: float) -> str:
    """A share as a count of a hundred: "82", "one", "none", "all", "fewer than one"."""
    count = round(100 * share)
    if share == 0:
        return "none"
    if share == 1:
        return "all"
    return (
        "fewer than one"
        if count == 0
        else "one"
        if count == 1
        else "more than 99"
        if count == 100
        else str(count)
    )


GLOSSARY = {  # the words a reader needs, each explained by those before it
    "seed": (
        "A number that fixes all that is random in a training: the data that are drawn, the "
        "weights it starts from, the order of the rows. The same seed gives the same result to the "
        "last bit; another seed is another try."
    ),
    "replica": (
        "One training with one seed. Thousands of replicas of one recipe show what that recipe "
        "does, apart from the luck of one try."
    ),
    "percentile": (
        "The share of the replicas that end below a number. Percentile 82: of 100 seeds, 82 end "
        "lower and 18 higher."
    ),
    "band": (
        "Where the replicas lie, drawn as a shaded area: the wide one holds the central 90 % of "
        "them, the narrow one the central 50 %, and the dotted line in it is their median."
    ),
    "trace": (
        "The losses that a page prints along one training. They belong to one run, so they are "
        "judged together, by one p."
    ),
    "p": (
        "The share of seeds that would give a result at least as far from the middle as the "
        "page's. p 0.06: six seeds in a hundred do. No other run's p enters into it."
    ),
    "typical": ("p is at least 0.1: the result lies inside the central 90 % of the seeds."),
    "borderline": (
        "p is so close to a limit between two verdicts that only more replicas would decide."
    ),
    "unusual": (
        "p is below 0.1 (below 0.002: outside). Chance alone makes one run in ten unusual."
    ),
    "luck of the draw": (
        "A claim that holds in about half of the seeds: the page could have found the opposite."
    ),
    "power": (
        "The share of seeds in which a changed recipe would be noticed (p below 0.1). A test that "
        "sees nothing notices one in 10 %."
    ),
    "recovered": (
        "A printed number that follows from others on the page, by a formula or by rounding."
    ),
}
