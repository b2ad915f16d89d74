"""The numbers table: outputs/results.csv and the table between the README's markers, from finished
runs."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpfit import sealed
from mlpfit.errors import RunError
from mlpfit.figures.draw import drawings
from mlpfit.files import write_file
from mlpfit.judging import published
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import QUANTITIES

MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


@dataclass(frozen=True)
class Result:
    """One experiment's final number, in the quantity and convention of the page's where it prints
    one; at: before the update of which step, if that is not the last."""

    experiment: str
    seed: int
    steps: int
    seconds: float
    quantity: str
    value: float
    published: float | None
    figures: tuple[str, ...]
    at: int | None


def result(experiment: str, outputs: Path) -> Result:
    """Raises RunError if the run is not there."""
    run = published_run(experiment, outputs)
    number = published.final(experiment)
    quantity, update, step = (
        (number.quantity, number.update, number.step) if number else ("mse", "after", None)
    )
    steps = run.history["step"]
    value = float("nan")
    if update != "before" or step in steps:
        value = float(published.measured(run, quantity, update, step)[0])
    figures = tuple(
        f"{outputs}/figures/{p.name}.svg" for p in drawings() if p.experiment == experiment
    )
    return Result(
        experiment,
        run.seeds[0],
        len(steps),
        run.provenance["seconds"],
        quantity,
        value,
        number.value if number else None,
        figures,
        step if update == "before" and step != len(steps) else None,
    )


FIELDS = ("experiment", "seed", "steps", "quantity", "value", "published", "figures")


def write(results: list[Result], outputs: Path) -> Path:
    """outputs/results.csv, without times, so that equal runs give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for r in results:
        known = "" if r.published is None else f"{r.published:.10g}"
        names = " ".join(Path(f).stem for f in r.figures)
        writer.writerow([r.experiment, r.seed, r.steps, r.quantity, f"{r.value:.6g}", known, names])
    file = outputs / "results.csv"
    write_file(file, text.getvalue().encode())
    return file


def readme_table(outputs: Path) -> str:
    """The README's table: results.csv, and what the ledger says of each final number. Raises
    RunError if one of them can't be read."""
    file = outputs / "ledger.json"
    judged = {n["key"]: n for n in sealed.read_ledger(outputs)["numbers"]} if file.is_file() else {}
    try:
        return _table(outputs, judged)
    except (ValueError, KeyError, TypeError, csv.Error):
        raise RunError(
            f"{outputs}/results.csv: damaged; make clean reproduce writes it again"
        ) from None


def _table(outputs: Path, judged: dict[str, Any]) -> str:
    head = [
        "experiment",
        "figures",
        "final number",
        "here",
        "page",
        "median of replicas (5 to 95 %)",
        "verdict",
    ]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    with open(outputs / "results.csv", newline="") as table:
        for row in csv.DictReader(table):
            folder = f"{outputs.name}/figures/{row['experiment'].split('/')[0]}"
            links = ", ".join(f"[{name}]({folder}/{name}.svg)" for name in row["figures"].split())
            number = published.final(row["experiment"])
            entry = judged.get(number.key) if number else None
            band = (
                f"{entry['median']:.4g} ({entry['p5']:.4g} to {entry['p95']:.4g})" if entry else ""
            )
            verdict = in_words(entry) if entry else ""
            here = f"{float(row['value']):.4g}"
            cells = (
                f"`{row['experiment']}`",
                links,
                QUANTITIES[row["quantity"]],
                here,
                row["published"] or "curve only",
            )
            lines.append(f"| {' | '.join([*cells, band, verdict])} |")
    return "\n".join(lines) + "\n"


def in_words(entry: dict[str, Any]) -> str:
    """A number's verdict in the ledger, with what stands beside it."""
    parts = [entry["verdict"] + (f" between {entry['between']}" if entry["between"] else "")]
    parts += [f"beyond all {entry['replicas']}"] if entry["beyond"] else []
    return ", ".join([*parts, *(["recovered"] if entry["recovered"] else [])])


def update_readme(outputs: Path, readme: Path = Path("README.md")) -> None:
    """Put the table between the README's markers, if there is a README here. Raises RunError if
    they are gone."""
    if not readme.is_file():
        return
    text = readme.read_text()
    if not MARKERS.search(text):
        raise RunError(
            f"{readme}: no <!-- results --> ... <!-- /results --> to put the table between"
        )
    table = readme_table(outputs)
    updated = MARKERS.sub(lambda m: m[1] + table + m[2], text)
    if updated != text:
        write_file(readme, updated.encode())
