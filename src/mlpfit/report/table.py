"""The numbers of finished runs: outputs/results.csv, and the results in the README."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpfit.config.catalogue import experiments, tutorial
from mlpfit.errors import RunError
from mlpfit.figures.draw import drawings
from mlpfit.files import write_file, write_table
from mlpfit.judging import evidence, published, words
from mlpfit.judging import ledger as judging
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import QUANTITIES

MARKERS = re.compile(r"(<!-- results -->\r?\n).*?(<!-- /results -->)", re.DOTALL)
FIELDS = ("experiment", "seed", "steps", "quantity", "value", "published", "recipe", "figures")
HEAD = (
    "experiment | figures | last number | here | page | median of the seeds (5 to 95 %) | the run"
)


@dataclass(frozen=True)
class Result:
    """One experiment's last number, in the quantity and convention of the page if it prints one.
    at: the step before whose update the number is taken, None for the last; recipe: the hash by
    which the ledger knows the recipe."""

    experiment: str
    seed: int
    steps: int
    seconds: float
    quantity: str
    value: float
    published: str  # empty if the page prints none
    recipe: str
    figures: list[str]
    at: int | None


def result(experiment: str, outputs: Path) -> Result:
    """The result of a finished run; its value is nan if the run has no record of the step. Raises
    RunError if the run is missing."""
    run, number = published_run(experiment, outputs), published.last_number(experiment)
    along = number is not None and (number.along or number.update in ("before", *published.MEANS))
    steps, step = run.history["step"], number.step if number and along else None
    is_recorded = step is None or step <= len(steps)
    return Result(
        experiment,
        run.seeds[0],
        len(steps),
        run.provenance["seconds"],
        number.quantity if number else "mse",
        float(published.values_in(run, number)[0]) if is_recorded else float("nan"),
        f"{number.value:.10g}" if number else "",
        evidence.recipe_id(run.identity["recipe"]),
        [d.name.split("/")[1] for d in drawings() if d.experiment == experiment],
        step if step != len(steps) else None,
    )


def write(results: list[Result], outputs: Path) -> None:
    """Write outputs/results.csv, without times, so that equal runs give equal bytes."""
    rows = [vars(r) | {"value": f"{r.value:.6g}", "figures": " ".join(r.figures)} for r in results]
    write_table(outputs / "results.csv", FIELDS, rows)


def readme_table(outputs: Path) -> str:
    """The README's results in Markdown: results.csv with the ledger's verdict on each run, and what
    the verdicts amount to. Raises RunError if one of the two files is damaged."""
    ledger = judging.read(outputs) if (outputs / "ledger.json").is_file() else None
    lines = [f"| {HEAD} |", "|" + " --- |" * 7]
    rows = _rows(outputs)
    marks, notes = footnotes([row["experiment"] for row in rows], ledger)
    lines += [
        _line(row, outputs.name, _judged(row, ledger), marks[row["experiment"]]) for row in rows
    ]
    sums = summary(ledger) if ledger is not None and not departures(outputs) else []
    if below := [line for line in (*sums, notes) if line]:
        lines += ["", " ".join(below)]
    return "\n".join(lines) + "\n"


def footnotes(names: list[str], ledger: dict[str, Any] | None) -> tuple[dict[str, str], str]:
    """Marks of these experiments, and the deviations from their pages that the marks refer to."""
    marks: dict[str, str] = dict.fromkeys(names, "")
    owners: dict[str, list[str]] = {}
    for row in ledger.get("deviations", []) if ledger else ():
        of_page = [name for name in names if name.split("/")[0] == row["tutorial"]]
        about = [name for name in of_page if row["experiment"] in (name, None)]
        owners.setdefault(row["what"], []).extend(about)
    for number, about in enumerate(owners.values(), start=1):
        for name in about:
            marks[name] += f"<sup>{number}</sup>"
    notes = " ".join(f"<sup>{k}</sup> {what}" for k, what in enumerate(owners, start=1))
    return marks, notes


def summary(ledger: dict[str, Any]) -> list[str]:
    """What the verdicts amount to, in sentences: of README, report and terminal."""
    return [f"{words.runs(ledger)}. {words.family(ledger)}".strip(), words.missing(ledger)]


def _rows(outputs: Path) -> list[dict[str, Any]]:
    """The rows of results.csv: value a number, all else texts. Raises RunError if it is damaged."""
    import pandas  # here, since it takes a second

    file = outputs / "results.csv"
    try:
        table = pandas.read_csv(file, dtype=str, keep_default_na=False)[list(FIELDS)]
        return table.astype({"value": float}).to_dict("records")
    except (ValueError, KeyError):
        raise RunError(f"{file}: damaged; make clean reproduce writes it again") from None


def _judged(row: dict[str, Any], ledger: dict[str, Any] | None) -> dict[str, Any]:
    """The ledger's entry on the run of this row, with its last number as "number"; without a
    verdict, and with the reason, if there is none of this recipe."""
    name = row["experiment"]
    if ledger is None:
        return {"reason": "no ledger: make ensembles report"}
    entry = next((e for e in ledger["experiments"] if e["experiment"] == name), None)
    if entry is None:
        return {"reason": "not in the ledger: make ensembles report"}
    if (why := departure(row, ledger)) is not None:
        return {"reason": why}
    number = next((n for n in ledger["numbers"] if n["key"] == entry.get("last")), None)
    return entry | {"number": number}


def departure(row: dict[str, Any], ledger: dict[str, Any]) -> str | None:
    """Why the ledger's seeds of an experiment are not of this run's recipe; None if they are, or if
    there are none."""
    name = row["experiment"]
    seeds = ledger["runs"].get(name)
    if seeds is None or seeds.get("recipe") == row["recipe"]:
        return None
    return f"the ledger's seeds are of another recipe: `{evidence.command(name)}`"


def departures(outputs: Path) -> list[str]:
    """The experiments whose run in results.csv and whose seeds in the ledger differ in recipe."""
    ledger = judging.read(outputs)
    return [row["experiment"] for row in _rows(outputs) if departure(row, ledger) is not None]


def _line(row: dict[str, Any], outputs: str, judged: dict[str, Any], mark: str) -> str:
    name, number = row["experiment"], published.last_number(row["experiment"])
    folder = f"{outputs}/figures/{name.split('/')[0]}"
    links = ", ".join(f"[{figure}]({folder}/{figure}.svg)" for figure in row["figures"].split())
    quantity = number.name if number else QUANTITIES[row["quantity"]]
    cells = [f"`{name}`{mark}", links, quantity, f"{row['value']:.4g}"]
    cells += [row["published"] or words.CURVE_ONLY, "", ""]
    if "verdict" not in judged:
        cells[-1] = judged["reason"]
    elif judged["number"] is not None:
        cells[-2:] = words.band(judged["number"]), words.run_verdict(judged)
    elif judged["verdict"] != words.CURVE_ONLY:
        cells[-1] = words.run_verdict(judged)
    return f"| {' | '.join(cells)} |"


def update_readme(outputs: Path, readme: Path = Path("README.md")) -> str | None:
    """Put the results between the README's markers, if the README exists and has them. Returns why
    it was left as it is, None if it is up to date: README's results are those of runs and seeds of
    one recipe, of all the package's experiments."""
    # Bytes that are not UTF-8 and the ends of its lines stay as they are.
    text = readme.read_bytes().decode(errors="surrogateescape") if readme.is_file() else ""
    if not MARKERS.search(text) or not (outputs / "results.csv").is_file():
        return None
    if not (outputs / "ledger.json").is_file():
        return f"{readme} keeps its results: there is no ledger (make ensembles report)"
    if apart := departures(outputs):
        again = f"mlpfit ensembles {' '.join(apart)}, then mlpfit ledger"
        return f"{readme} keeps its results: run and seeds differ in recipe; {again}"
    named = [row["experiment"] for row in _rows(outputs)]
    if named != [name for name in experiments() if tutorial(name).packaged]:
        return f"{readme} keeps its results: {outputs}/results.csv is not of all experiments"
    results = readme_table(outputs)
    if "\r\n" in text:
        results = results.replace("\n", "\r\n")
    updated = MARKERS.sub(lambda m: m[1] + results + m[2], text)
    if updated != text:
        write_file(readme.resolve(), updated.encode(errors="surrogateescape"))
    return None
