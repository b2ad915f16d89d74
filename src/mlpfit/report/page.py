"""The report, one self-contained page of finished runs, figures and the ledger: mlpfit report

outputs/report.html needs no network and no script, and can be read in light and dark mode, on a
phone and on paper. Its text is in ``templates/``; this module collects the numbers for it.
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
from mlpfit.figures.draw import drawings, stale_ensembles
from mlpfit.judging import published
from mlpfit.report.explorer import explorer
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import Run
from mlpfit.sealed import read_svg
from mlpfit.sweeps.closing import answer
from mlpfit.sweeps.summary import read_summary

# Keys of the ledger with lists whose entries each belong to a tutorial.
LISTS = "experiments numbers joint findings conclusions slips power assumptions sensitivity"
# Keys of a config that affect no number.
IGNORED = ("name", "question", "output_dir", "logger.", "ensemble.")


def report(outputs: Path, ledger: dict[str, Any], names: Sequence[str] = ()) -> str:
    """The page of these tutorials (default: all). Raises RunError for a missing run or figure."""
    chosen = [t for t in tutorials() if not names or t.name in names]
    runs = {name: published_run(name, outputs) for t in chosen for name in t.experiments()}
    if stale := stale_ensembles([*runs], outputs):  # their bands would be shown behind these runs
        raise RunError(next(iter(stale.values())))
    environment = Environment(
        loader=PackageLoader("mlpfit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"form": form, "zip": zip}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    overview = outputs / "figures" / "overview.svg"
    return environment.get_template("page.html").render(
        ledger=ledger,
        what=chosen[0].name if len(chosen) == 1 else f"{len(chosen)} tutorials",
        playground=not names,
        overview=image("overview", overview) if len(chosen) > 1 and overview.is_file() else None,
        replicas=max(run["replicas"] for run in ledger["runs"].values()),
        seconds=sum(run.provenance["seconds"] for run in runs.values()),
        provenance=next(iter(runs.values())).provenance,
        sections=[section(t, ledger, runs, outputs) for t in chosen],
    )


def form(value: float | None, spec: str) -> str:
    """A number in this format; "none" for None."""
    return "none" if value is None else format(value, spec)


def section(
    tutorial: Tutorial, ledger: dict[str, Any], runs: dict[str, Run], outputs: Path
) -> dict[str, Any]:
    """The page's content about one tutorial. Raises RunError if a figure is missing."""
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
        key: [entry for entry in ledger[key] if entry["tutorial"] == tutorial.name]
        for key in LISTS.split()
    }


def images(tutorial: Tutorial, outputs: Path) -> list[dict[str, Any]]:
    """Every figure, over its band if there is one, and the distribution of the final numbers.
    Raises RunError if one is missing."""
    names = [drawing.name for drawing in drawings() if drawing.tutorial == tutorial.name]
    images = []
    for name in (*names, f"{tutorial.name}/distribution"):
        alone, band = (outputs / "figures" / f"{name}{end}.svg" for end in ("", "_band"))
        file = band if band.is_file() else alone
        if not file.is_file():
            raise RunError(f"{file} is not there: draw it with make figures")
        images.append(image(name, file))
    return images


def image(name: str, file: Path) -> dict[str, Any]:
    """An SVG as base64 with the title it contains. Raises RunError if the file is damaged."""
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
    """Question, answer, figure and finished jobs of a ready sweep; the question alone if it has not
    been run. Raises RunError if its figure or its summary is damaged."""
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


def flattened(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} -> {"optimizer.lr": 0.1}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in flattened(branch, f"{prefix}.{name}" if prefix else name).items()
    }
