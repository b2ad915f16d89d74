"""One self-contained page from finished runs, figures and the ledger: mlpfit report

Writes outputs/report.html: no network, light and dark, readable on a phone and on paper, usable
without a script. What it says stands in ``templates/``; here the numbers for it are put together.
"""

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlpfit.config.catalogue import CONF, Tutorial, ready_sweep, tutorials
from mlpfit.errors import RunError
from mlpfit.figures.draw import drawings
from mlpfit.judging import published
from mlpfit.report.explorer import explorer
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import Run
from mlpfit.sealed import read_svg
from mlpfit.sweeps.closing import answer
from mlpfit.sweeps.summary import read

KINDS = (  # of the ledger, entry by entry a tutorial's
    *("experiments", "numbers", "joint", "findings", "conclusions", "slips"),
    *("power", "assumptions", "sensitivity"),
)
UNSAID = ("name", "question", "output_dir", "logger.")  # keys that decide no number


def report(outputs: Path, ledger: dict[str, Any], names: Sequence[str] = ()) -> str:
    """The page of these tutorials; of all, if none is named. Raises RunError if a run or a figure
    is missing."""
    own = [t for t in tutorials() if not names or t.name in names]
    runs = {name: published_run(name, outputs) for t in own for name in t.experiments()}
    environment = Environment(
        loader=PackageLoader("mlpfit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"form": format, "zip": zip}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    picture = outputs / "figures" / "overview.svg"
    return environment.get_template("page.html").render(
        ledger=ledger,
        overview=image("overview", picture) if len(own) > 1 and picture.is_file() else None,
        replicas=max(run["replicas"] for run in ledger["runs"].values()),
        seconds=sum(run.provenance["seconds"] for run in runs.values()),
        provenance=next(iter(runs.values())).provenance,
        sections=[section(t, ledger, runs, outputs) for t in own],
    )


def section(
    tutorial: Tutorial, ledger: dict[str, Any], runs: dict[str, Run], outputs: Path
) -> dict[str, Any]:
    """All the page shows of one tutorial. Raises RunError if a figure is missing."""
    names = tutorial.experiments()
    return {
        "name": tutorial.name,
        "page": published.tutorial(tutorial.name),
        "images": images(tutorial, outputs),
        "explorers": [explorer(name, runs[name]) for name in names],
        "sweeps": [sweep(name, outputs) for name in tutorial.sweeps()],
        "runs": {name: runs[name] for name in names},
        "settings": {name: settings(runs[name]) for name in names},
    } | {
        kind: [entry for entry in ledger[kind] if entry["tutorial"] == tutorial.name]
        for kind in KINDS
    }


def images(tutorial: Tutorial, outputs: Path) -> list[dict[str, Any]]:
    """Every figure, over its band where there is one, and the distribution of the final numbers."""
    names = [drawing.name for drawing in drawings() if drawing.tutorial == tutorial.name]
    gathered = []
    for name in (*names, f"{tutorial.name}/distribution"):
        alone, band = (outputs / "figures" / f"{name}{end}.svg" for end in ("", "_band"))
        file = band if band.is_file() else alone
        if not file.is_file():
            raise RunError(f"{file} is not there: draw it with make figures")
        gathered.append(image(name, file))
    return gathered


def image(name: str, file: Path) -> dict[str, Any]:
    """An SVG as base64, and the title in it. Raises RunError unless it is as it was written."""
    svg = read_svg(file)
    title = re.search(rb"<dc:title>(.*?)</dc:title>", svg, re.DOTALL)
    width = re.search(rb'viewBox="0 0 ([\d.]+)', svg)  # in points
    return {
        "name": name,
        "caption": html.unescape(title[1].decode()) if title else name,
        "data": base64.b64encode(svg).decode(),
        "wide": width is not None and float(width[1]) > 400,
    }


def sweep(name: str, outputs: Path) -> dict[str, Any]:
    """A ready sweep; without an image if it has not been run. Raises RunError if its figure or its
    summary is not as it was written."""
    folder, question = outputs / "sweeps" / name, ready_sweep(name).question
    asked = {"name": name, "question": question, "image": None}
    if not (folder / "figure.svg").is_file():
        return asked
    keys, rows = read(folder)
    finished = [row for row in rows if not row["failure"]]
    picture = image(f"sweep {name}", folder / "figure.svg") | {"caption": question}
    return asked | {"answer": answer(name, rows), "image": picture, "swept": keys, "rows": finished}


def settings(run: Run) -> dict[str, str]:
    """Keys of the run's config that differ from the defaults and may decide its numbers."""
    defaults, trainer = (
        yaml.safe_load((CONF / name).read_text())
        for name in ("config.yaml", "trainer/default.yaml")
    )
    usual = flat(defaults | {"trainer": trainer})
    return {
        key: json.dumps(value)
        for key, value in flat(run.config).items()
        if not key.startswith(UNSAID) and usual.get(key, "none") != value
    }


def flat(tree: Any, key: str = "") -> dict[str, Any]:
    """Nested keys as "optimizer.lr"."""
    if not isinstance(tree, dict):
        return {key: tree}
    return {
        k: v
        for name, branch in tree.items()
        for k, v in flat(branch, f"{key}.{name}" if key else name).items()
    }
