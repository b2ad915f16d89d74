"""The rows of ledger.json, table by table. :func:`plain` writes them; what reads them takes the
plain dicts. An ``Any`` is one of the dataclasses named beside it, or absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlpfit.judging.statistics import CURVE_ONLY, NOT_JUDGED, P, Position

ABSENT: Any = object()  # of a field that the row does not have


JUDGED: Any = {"judged": True}  # of a field; others are what the row is about
INLINE: Any = {"judged": True, "inline": True}  # whose own fields are written among the row's


@dataclass(frozen=True)
class Lacking:
    """Why a row is not judged, and the commands that train what it needs."""

    reason: str
    commands: list[str]


@dataclass(frozen=True)
class Among:
    """A published value among the replicas. halves: the verdict in each half of the replicas."""

    position: Position = field(default=ABSENT, metadata=INLINE)
    p: P = field(default=ABSENT, metadata=INLINE)
    verdict: str = ABSENT
    between: str = ABSENT
    halves: list[str] = ABSENT


@dataclass(frozen=True)
class Verdict:
    """That a row is not judged, or can't be."""

    verdict: str = NOT_JUDGED
    lacking: Lacking = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class NumberRow:
    """numbers: one published number. epoch: where the page counts epochs; recovered, reason: it
    follows from others, and how; evidence: distribution, law or none."""

    key: str
    tutorial: str
    experiment: str
    quantity: str
    label: str
    step: int | None
    convention: str
    published: float
    recovered: bool
    reason: str
    evidence: str
    epoch: int = ABSENT
    result: Any = field(default=ABSENT, metadata=INLINE)  # Among, Verdict


@dataclass(frozen=True)
class TraceRow:
    """traces: the numbers of one quantity printed along a training, as a whole.

    in_family   p_adjusted is adjusted together with those of the other traces
    verdict     of p alone
    """

    experiment: str
    tutorial: str
    steps: list[int]
    replicas: int = field(default=ABSENT, metadata=JUDGED)
    in_family: bool = False
    p: P = field(default=ABSENT, metadata=INLINE)
    verdict: str = field(default=NOT_JUDGED, metadata=JUDGED)
    between: str = field(default=ABSENT, metadata=JUDGED)
    halves: list[str] = field(default=ABSENT, metadata=JUDGED)
    p_adjusted: float = field(default=ABSENT, metadata=JUDGED)
    lacking: Lacking = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class RunVerdict:
    """The verdict of a run: that of its trace, else of its last number.

    tested                  how many numbers decide
    last, last_verdict, ... of the last published number; percentile and ratio, too
    """

    tested: int
    last: str
    last_verdict: str
    last_p: float
    recovered: bool
    percentile: float
    ratio: float | None
    verdict: str
    between: str
    replicas: int
    halves: list[str]
    p: P = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class ExperimentRow:
    """experiments: one for each. numbers: verdict -> how many; decided_by: trace, number, none."""

    experiment: str
    tutorial: str
    numbers: dict[str, int]
    decided_by: str = "none"
    result: Any = field(default=Verdict(CURVE_ONLY), metadata=INLINE)  # RunVerdict, Verdict


@dataclass(frozen=True)
class JointRow:
    """joint: a quantity of several published numbers."""

    tutorial: str
    experiments: list[str]
    what: str
    verdict: str = field(default=NOT_JUDGED, metadata=JUDGED)
    published: float = field(default=ABSENT, metadata=JUDGED)
    result: Any = field(default=ABSENT, metadata=INLINE)  # Among, Lacking


@dataclass(frozen=True)
class Held:
    """In how many replicas a claim holds. low, high: 95 % interval of the share, None for one that
    holds by construction; own_seed: seed, holds: in the page's own; levels, bounds: name -> share
    """

    holds: int
    replicas: int
    share: float
    low: float | None
    high: float | None
    own_seed: dict[str, Any] = ABSENT
    levels: dict[str, float] = ABSENT
    bounds: dict[str, float] = ABSENT


@dataclass(frozen=True)
class ClaimRow:
    """conclusions: a claim of the page or a question of ours."""

    tutorial: str
    experiments: list[str]
    claim: str
    where: str | None
    measure: str
    whose: str
    column: str = field(default=NOT_JUDGED, metadata=JUDGED)
    result: Any = field(default=ABSENT, metadata=INLINE)  # Held, Lacking


@dataclass(frozen=True)
class Spread:
    """Numbers of the replicas. p5, median, p95: None where diverged ones are; mean: of the rest."""

    p5: float | None
    median: float | None
    p95: float | None
    mean: float | None
    replicas: int
    diverged: int


@dataclass(frozen=True)
class Side:
    """A quantity as the page has it, or without the slip."""

    name: str
    spread: Spread = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class SlipRow:
    """slips: a mistake on the page and its effect."""

    tutorial: str
    experiments: list[str]
    what: str
    consequence: str
    measure: str = ABSENT
    result: Any = field(default=ABSENT, metadata=INLINE)  # Spread, Lacking
    without: Spread = field(default=ABSENT, metadata=JUDGED)
    sides: list[Side] = field(default=ABSENT, metadata=JUDGED)


@dataclass(frozen=True)
class DeviationRow:
    """deviations: what the page does and we don't, or can't know; experiment: None for all."""

    tutorial: str
    experiment: str | None
    what: str


@dataclass(frozen=True)
class Noticed:
    """Share, with its 95 % interval, of the changed replicas whose p among the published recipe's
    is below 0.1."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerRow:
    """power: would a change of the recipe be noticed, by the last number and by the trace?"""

    tutorial: str
    experiment: str
    change: str
    replicas: int
    final: Noticed = field(default=ABSENT, metadata=JUDGED)
    trace: Noticed = field(default=ABSENT, metadata=JUDGED)
    lacking: Lacking = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class Choice:
    """How well what is printed agrees with a choice. test: trace or final; ratio: the published
    number over the median."""

    choice: str
    ours: bool
    replicas: int = field(default=ABSENT, metadata=JUDGED)
    diverged: int = field(default=ABSENT, metadata=JUDGED)
    test: str = field(default=ABSENT, metadata=JUDGED)
    p: P = field(default=ABSENT, metadata=INLINE)
    median: float = field(default=ABSENT, metadata=JUDGED)
    ratio: float | None = field(default=ABSENT, metadata=JUDGED)
    lacking: Lacking = field(default=ABSENT, metadata=INLINE)


@dataclass(frozen=True)
class AssumptionRow:
    """assumptions: what the page leaves open. likeliest: the choice with the largest p."""

    tutorial: str
    experiment: str
    question: str
    choices: list[Choice]
    likeliest: str | None


@dataclass(frozen=True)
class SensitivityRow:
    """sensitivity: a change that should not matter.

    ratio        of the median to the published recipe's
    p            of equal distributions
    p_published  as in assumptions
    """

    tutorial: str
    experiment: str
    change: str
    replicas: int
    median: float = field(default=ABSENT, metadata=JUDGED)
    ratio: float | None = field(default=ABSENT, metadata=JUDGED)
    p: float = field(default=ABSENT, metadata=JUDGED)
    p_published: float = field(default=ABSENT, metadata=JUDGED)
    lacking: Lacking = field(default=ABSENT, metadata=INLINE)


TABLES: dict[str, type[Any]] = {
    "experiments": ExperimentRow,
    "numbers": NumberRow,
    "traces": TraceRow,
    "joint": JointRow,
    "conclusions": ClaimRow,
    "slips": SlipRow,
    "power": PowerRow,
    "assumptions": AssumptionRow,
    "sensitivity": SensitivityRow,
}


LEAVES = frozenset([str, int, float, bool, type(None)])


def plain(row: Any) -> Any:
    """A row as it is written: without absent fields, and with those of an inline one in its place.

    >>> plain(Side("a", Spread(1.0, 2.0, 3.0, 2.0, 9, 0)))["median"]
    2.0
    """
    if type(row) in LEAVES:
        return row
    if isinstance(row, dict):
        return {key: plain(value) for key, value in row.items()}
    if isinstance(row, list | tuple):
        return [plain(part) for part in row]
    written: dict[str, Any] = {}
    for part in fields(row):  # of a dataclass: nothing else is in a row
        if (value := getattr(row, part.name)) is not ABSENT:
            own = plain(value)
            written |= own if part.metadata.get("inline") else {part.name: own}
    return written


def head(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a plain row of this table is about, without what is judged of it."""
    row_class = Choice if "choice" in row else TABLES[kind]
    names = [part.name for part in fields(row_class) if not part.metadata.get("judged")]
    return {name: row[name] for name in names if name in row}
