"""The report, one self-contained page of finished runs, figures and the ledger: mlpfit report

outputs/report.html needs no network and no script, and can be read in light and dark mode, on a
phone and on paper. Its text is in ``templates/``; what it says of a judgement is in
:mod:`mlpfit.judging.words`; this module collects the numbers for both.
"""

import base64
import html
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mlpfit.config.catalogue import CONF, Tutorial, ready_sweep, tutorials
from mlpfit.errors import RunError
from mlpfit.figures.draw import drawings, stale_ensembles
from mlpfit.figures.save import narrow_file, size_of
from mlpfit.judging import ledger as judging
from mlpfit.judging import published, quantities, words
from mlpfit.judging.evidence import flattened
from mlpfit.report.playground import obstacle_of
from mlpfit.report.table import summary
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import Run
from mlpfit.sweeps.closing import answer
from mlpfit.sweeps.summary import read_summary

# Keys of the ledger with lists whose entries each belong to a tutorial.
LISTS = (
    *("experiments", "numbers", "traces", "joint", "findings", "conclusions", "slips"),
    *("deviations", "power", "assumptions", "sensitivity"),
)
# Keys of a config that affect no number.
IGNORED = ("name", "question", "output_dir", "logger.", "ensemble.")
PIXELS = 96 / 72  # in a point
LOGARITHMIC = 20  # a scale of positive numbers that span more than this factor is logarithmic


def report(outputs: Path, ledger: dict[str, Any], names: Sequence[str] = ()) -> str:
    """The page of these tutorials (default: all). A run, an ensemble or a row of the ledger that is
    missing or of another recipe is left out, and the page says why. Raises RunError if there is no
    run, or if a figure is missing."""
    chosen = [t for t in tutorials() if not names or t.name in names]
    runs, without_run = {}, {}
    for name in (name for t in chosen for name in t.experiments()):
        try:
            runs[name] = published_run(name, outputs)
            runs[name].check_files()
        except RunError as error:
            without_run[name] = str(error)
            runs.pop(name, None)
    if not runs:
        raise RunError(next(iter(without_run.values()), "there is no experiment to report on"))
    apart = without_run | stale_ensembles([*runs], outputs) | judging.departing(ledger)
    ledger = judging.without(ledger, apart)
    content = [section(t, ledger, runs, apart, outputs) for t in chosen]
    overview = outputs / "figures" / "overview.svg"
    shown = len(chosen) > 1 and not apart and overview.is_file()
    return (
        _environment()
        .get_template("page.html")
        .render(
            ledger=ledger,
            what=chosen[0].name if len(chosen) == 1 else f"{len(chosen)} tutorials",
            pages=words.counted(len(chosen), "page"),
            playground=not names,
            overview=image("overview", overview) if shown else None,
            replicas=max((run["replicas"] for run in ledger["runs"].values()), default=0),
            summary=[line for line in summary(ledger) if line],
            provenance=next(iter(runs.values())).provenance,
            sections=content,
            apart=apart,
            columns=judging.COLUMNS,
            glossary=words.GLOSSARY,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mlpfit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"form": form, "linked": linked, "web": web_address}
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.globals |= {"words": words, "LABELS": quantities.LABELS}
    return environment


def form(value: float | None, spec: str) -> str:
    """A number in this format; "none" for None."""
    return "none" if value is None else format(value, spec)


def linked(text: str) -> Markup:
    """The text with the first occurrence of each word of the glossary linked to it."""
    marked = str(escape(text))
    for term in words.GLOSSARY:
        link = f'<a class="term" href="#{term_id(term)}">\\1</a>'
        marked = re.sub(rf"(?<![\w>/-])({term}s?)(?![\w/<-])", link, marked, count=1)
    return Markup(marked)


def term_id(term: str) -> str:
    """The anchor of a word of the glossary."""
    return f"word-{term.replace(' ', '-')}"


def web_address(text: str | None) -> str:
    """An address on the web, as it may be linked; "" for any other text."""
    return text if text and re.match(r"https?://[^\s]+$", text) else ""


def section(
    tutorial: Tutorial,
    ledger: dict[str, Any],
    runs: dict[str, Run],
    apart: dict[str, str],
    outputs: Path,
) -> dict[str, Any]:
    """The page's content about one tutorial; apart: experiments without evidence of their recipe,
    and why. Raises RunError if a figure is missing."""
    names = [name for name in tutorial.experiments() if name in runs]
    page = published.tutorial(tutorial.name)
    rows = {
        key: [entry for entry in ledger.get(key, []) if entry["tutorial"] == tutorial.name]
        for key in LISTS
    }
    return rows | {
        "name": tutorial.name,
        "page": page,
        "card": card(tutorial, page, rows, apart, outputs),
        "images": images(tutorial, runs, apart, outputs),
        "slips": [slip | {"bars": bars(slip.get("sides", []))} for slip in rows["slips"]],
        "sweeps": [sweep(name, outputs) for name in tutorial.sweeps()],
        "runs": {name: runs[name] for name in names},
        "settings": {name: settings(runs[name]) for name in names},
        "apart": {name: why for name, why in apart.items() if name in tutorial.experiments()},
    }


def card(
    tutorial: Tutorial,
    page: published.Tutorial,
    rows: dict[str, list[dict[str, Any]]],
    apart: dict[str, str],
    outputs: Path,
) -> dict[str, Any]:
    """A tutorial on the first screen: its question, a small picture and one sentence."""
    name = published.featured(tutorial.name)
    run = next(e for e in rows["experiments"] if e["experiment"] == name)
    number = next((n for n in rows["numbers"] if n["key"] == run.get("last")), None)
    claims = [c for c in rows["conclusions"] if c["where"] and name in c["experiments"]]
    file = outputs / "figures" / tutorial.name / "portrait.svg"
    drawn = file.is_file() and name not in apart
    question = page.asked or next(iter(ready_question(name)), "")
    return {
        "experiment": name,
        "asked": question,
        "sentence": words.featured(run, number, claims, page.author),
        "image": image("portrait", file) if drawn else None,
        "live": obstacle_of(name) is None,
    }


def ready_question(experiment: str) -> list[str]:
    """The question in an experiment's YAML, if it asks one."""
    from mlpfit.config.compose import as_published

    question = as_published(experiment).question
    return [question] if question else []


def bars(sides: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sides of a slip as bars from 5 to 95 % on one scale from 0 to 100, with the median; a
    logarithmic scale if the numbers span a large factor."""
    values = [s[q] for s in sides for q in ("p5", "median", "p95") if s[q] is not None]
    if not sides or len(values) < 2:
        return []
    is_log = min(values) > 0 and max(values) > LOGARITHMIC * min(values)
    scale = math.log if is_log else float
    low, high = scale(min(values)), scale(max(values))
    if not is_log and low > 0 and low < 0.5 * high:
        low = 0.0
    width = (high - low) or 1.0

    def place(value: float | None) -> float:
        return 100.0 if value is None else round(100 * (scale(value) - low) / width, 1)

    return [
        side
        | {"from": place(side["p5"]), "at": place(side["median"]), "to": place(side["p95"])}
        | {"open": side["p95"] is None, "log": is_log}
        for side in sides
    ]


def images(
    tutorial: Tutorial, runs: dict[str, Run], apart: dict[str, str], outputs: Path
) -> list[dict[str, Any]]:
    """Every figure of a finished run, over its band if there is one, and the distribution of the
    last numbers. Raises RunError if one is missing."""
    shown = []
    for drawing in drawings():
        if drawing.tutorial != tutorial.name or drawing.experiment not in runs:
            continue
        ends = ("", "_band")
        alone, band = (outputs / "figures" / f"{drawing.name}{end}.svg" for end in ends)
        file = band if band.is_file() and drawing.experiment not in apart else alone
        if not file.is_file():
            raise RunError(f"{file} is not there: make figures draws it")
        shown.append(image(drawing.name, file))
    file = outputs / "figures" / tutorial.name / "distribution.svg"
    if file.is_file() and not apart.keys() & {*tutorial.experiments()}:
        shown.append(image(f"{tutorial.name}/distribution", file))
    return shown


def image(name: str, file: Path) -> dict[str, Any]:
    """An SVG as base64 with the title it contains, its size in pixels, and its version for narrow
    screens if there is one."""
    svg = file.read_bytes()
    title = re.search(rb"<dc:title>(.*?)</dc:title>", svg, re.DOTALL)
    narrow = narrow_file(file)
    return encoded(svg) | {
        "name": name,
        "caption": html.unescape(title[1].decode()) if title else name,
        "wide": size_of(svg)[0] > 400,
        "narrow": encoded(narrow.read_bytes()) if narrow.is_file() else None,
    }


def encoded(svg: bytes) -> dict[str, Any]:
    """An SVG as base64 and its size in pixels."""
    width, height = (round(PIXELS * points) for points in size_of(svg))
    return {"data": base64.b64encode(svg).decode(), "width": width, "height": height}


def sweep(name: str, outputs: Path) -> dict[str, Any]:
    """Question, answer, figure and finished jobs of a ready sweep; the question alone if it has not
    been run. Raises RunError if its summary is damaged."""
    folder, question = outputs / "sweeps" / name, ready_sweep(name).question
    entry = {"name": name, "question": question, "image": None}
    if not (folder / "figure.svg").is_file():
        return entry
    keys, rows = read_summary(folder)
    finished = [row for row in rows if not row["failure"]]
    picture = image(f"sweep {name}", folder / "figure.svg") | {"caption": question}
    return entry | {"answer": answer(name, rows), "image": picture, "swept": keys, "rows": finished}


def settings(run: Run) -> dict[str, str]:
    """Keys of the run's config that differ from the defaults and may affect its numbers."""
    defaults: dict[str, Any] = yaml.safe_load((CONF / "config.yaml").read_text())
    trainer = yaml.safe_load((CONF / "trainer/default.yaml").read_text())
    default = flattened(defaults | {"trainer": trainer})
    return {
        key: json.dumps(value)
        for key, value in flattened(run.config).items()
        if not key.startswith(IGNORED) and default.get(key, "none") != value
    }
