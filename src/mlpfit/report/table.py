"""The final numbers of finished runs: outputs/results.csv, and the table in the README."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpfit import sealed
from mlpfit.errors import RunError
from mlpfit.figures.draw import drawings
from mlpfit.files import write_file, write_table
from mlpfit.judging import published
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import QUANTITIES

MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
FIELDS = ("experiment", "seed", "steps", "quantity", "value", "published", "figures")
HEAD = (
    "experiment | figures | final number | here | page | median of replicas (5 to 95 %) | verdict"
)


@dataclass(frozen=True)
class Result:
    """One experiment's final number, in the quantity and convention of the page if it prints one.
    at: the step before whose update the number is taken, None for the last."""

    experiment: str
    seed: int
    steps: int
    seconds: float
    quantity: str
    value: float
    published: str  # empty if the page prints none
    figures: list[str]
    at: int | None


def result(experiment: str, outputs: Path) -> Result:
    """The result of a finished run; its value is nan if the run has no record of the step. Raises
    RunError if the run is missing."""
    run, number = published_run(experiment, outputs), published.final_number(experiment)
    steps, step = run.history["step"], number.step if number and number.update == "before" else None
    is_recorded = step is None or step in steps
    return Result(
        experiment,
        run.seeds[0],
        len(steps),
        run.provenance["seconds"],
        number.quantity if number else "mse",
        float(published.values_in(run, number)[0]) if is_recorded else float("nan"),
        f"{number.value:.10g}" if number else "",
        [d.name.split("/")[1] for d in drawings() if d.experiment == experiment],
        step if step != len(steps) else None,
    )


def write(results: list[Result], outputs: Path) -> None:
    """Write outputs/results.csv, without times, so that equal runs give equal bytes."""
    rows = [vars(r) | {"value": f"{r.value:.6g}", "figures": " ".join(r.figures)} for r in results]
    write_table(outputs / "results.csv", FIELDS, rows)


def readme_table(outputs: Path) -> str:
    """The README's table in Markdown: results.csv with the ledger's verdict on each final number.
    Raises RunError if one of the two is damaged."""
    verdicts: dict[str, Any] = {}  # key of a published number -> its entry in the ledger
    if (outputs / "ledger.json").is_file():
        verdicts = {n["key"]: n for n in sealed.read_ledger(outputs)["numbers"]}
    lines = [f"| {HEAD} |", "|" + " --- |" * 7]
    try:
        with open(outputs / "results.csv", newline="") as table:
            lines += [_line(row, outputs.name, verdicts) for row in csv.DictReader(table)]
    except (ValueError, KeyError, TypeError, csv.Error):
        remedy = "make clean reproduce writes it again"
        raise RunError(f"{outputs}/results.csv: damaged; {remedy}") from None
    return "\n".join(lines) + "\n"


def _line(row: dict[str, str], outputs: str, verdicts: dict[str, Any]) -> str:
    name, number = row["experiment"], published.final_number(row["experiment"])
    folder = f"{outputs}/figures/{name.split('/')[0]}"
    links = ", ".join(f"[{figure}]({folder}/{figure}.svg)" for figure in row["figures"].split())
    cells = [f"`{name}`", links, QUANTITIES[row["quantity"]], f"{float(row['value']):.4g}"]
    cells += [row["published"] or "curve only", "", ""]
    if entry := verdicts.get(number.key) if number else None:
        band = f"{entry['median']:.4g} ({entry['p5']:.4g} to {entry['p95']:.4g})"
        cells[-2:] = band, verdict_in_words(entry)
    return f"| {' | '.join(cells)} |"


def verdict_in_words(entry: dict[str, Any]) -> str:
    """A number's verdict in the ledger: "borderline between outside and unusual, beyond all 9"."""
    words = entry["verdict"] + (f" between {entry['between']}" if entry["between"] else "")
    words += f", beyond all {entry['replicas']}" if entry["beyond"] else ""
    return words + (", recovered" if entry["recovered"] else "")


def update_readme(outputs: Path, readme: Path = Path("README.md")) -> None:
    """Put the table between the README's markers, if the README exists and has them."""
    text = readme.read_text() if readme.is_file() else ""
    if MARKERS.search(text) and (outputs / "results.csv").is_file():
        table = readme_table(outputs)
        updated = MARKERS.sub(lambda m: m[1] + table + m[2], text)
        if updated != text:
            write_file(readme, updated.encode())
