"""One self-contained page from finished runs, figures and the ledger: mlpfit report

Writes outputs/report.html: no network, light and dark, readable on a phone and on paper, usable
without a script.
"""

import base64
import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from mlpfit.config.catalogue import CONF, experiments, ready_sweep, ready_sweeps, tutorials
from mlpfit.errors import RunError
from mlpfit.figures.draw import pictures
from mlpfit.judging import published
from mlpfit.report.explorer import explorer
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import Run
from mlpfit.runs.sealed import read_ledger, read_svg
from mlpfit.sweeps.answers import answer
from mlpfit.sweeps.summary import read

HERE = Path(__file__).parent
WORDS = {
    "exact": "recomputed and equal at the stated tolerance",
    "recovered": "follows from the other published numbers by a closed form",
    "typical": "inside the central 90 % of the replicas",
    "unusual": "inside the central 99.8 %, outside 90 %",
    "outside": "outside 99.8 % of the replicas",
    "not checkable": "nothing to compare with",
}
e = html.escape


def report(outputs: Path) -> str:
    """The page. Raises RunError if a run or the ledger is missing."""
    ledger = read_ledger(outputs)
    runs = {name: published_run(name, outputs) for name in experiments()}
    sections = "".join(section(t.name, ledger, runs, outputs) for t in tutorials())
    parts = {
        "style": (HERE / "report.css").read_text(),
        "script": (HERE / "report.js").read_text(),
        "nav": "".join(f'<a href="#{t.name}">{t.name}</a>' for t in tutorials()),
        "glance": glance(ledger, runs),
        "luck": luck(ledger),
        "sections": sections,
        "environment": environment(runs),
        "generator": e(generator(runs)),
        "multiplicity": table(
            ["trace", "p", "adjusted p", "verdict"],
            [
                [t["experiment"], f"{t['p']:.3f}", f"{t['p_adjusted']:.3f}", t["verdict"]]
                for t in ledger["traces"]
            ],
        ),
    }
    page = (HERE / "report.template.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], page)


def table(head: list[str], rows: list[list[str]], caption: str = "") -> str:
    """An HTML table; cells are text."""
    top = "".join(f'<th scope="col">{e(h)}</th>' for h in head)
    body = "".join(
        f'<tr><th scope="row">{e(row[0])}</th>'
        + "".join(f"<td>{e(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    words = f"<caption>{e(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{words}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def glance(ledger: dict[str, Any], runs: dict[str, Run]) -> str:
    """How many numbers have which verdict."""
    counts = Counter(n["verdict"] for n in ledger["numbers"])
    tiles = "".join(
        f'<li class="{word.replace(" ", "-")}"><b>{counts[word]}</b> {word}<small>{WORDS[word]}</small></li>'
        for word in WORDS
    )
    made = next(iter(runs.values())).provenance
    seconds = sum(run.provenance["seconds"] for run in runs.values())
    replicas = max(r["replicas"] for r in ledger["runs"].values())
    note = (
        f"{len(ledger['numbers'])} published numbers of {len(tutorials())} tutorials, each against up to {replicas} "
        f"seeds of the same experiment. The single runs took {seconds:.0f} s on {made['processor']}. No page "
        "prints a number of a seeded run, so none is exact; the two seeded pages show curves, and those are recomputed "
        "step by step in the tests."
    )
    return f'<ul class="tiles">{tiles}</ul><p>{e(note)}</p>'


def luck(ledger: dict[str, Any]) -> str:
    """What a reader must know who reads nothing else."""
    words = (
        (0.95, "Holds in nearly every seed"),
        (0.5, "Holds more often than not"),
        (0.0, "Luck of the draw"),
    )
    found: dict[str, list[str]] = {word: [] for _, word in words}
    for c in ledger["conclusions"]:
        word = next(word for least, word in words if c["share"] >= least)
        found[word].append(f"<li>{e(c['tutorial'])}: {e(c['claim'])} <b>{c['share']:.0%}</b></li>")
    columns = "".join(
        f"<div><h3>{word}</h3><ul>{''.join(items)}</ul></div>"
        for word, items in found.items()
        if items
    )
    odd = Counter(
        n["experiment"] for n in ledger["numbers"] if n["verdict"] in ("unusual", "outside")
    )
    sides = {
        n["experiment"]: "lower" if n["percentile"] < 0.5 else "higher"
        for n in ledger["numbers"]
        if n["verdict"] in ("unusual", "outside")
    }
    lines = [
        f"{e(name)}: {count} of its numbers are {sides[name]} than usual"
        for name, count in odd.items()
    ]
    return f'<div class="columns">{columns}</div><p>Unusual numbers: {"; ".join(lines)}.</p>'


def section(tutorial: str, ledger: dict[str, Any], runs: dict[str, Run], outputs: Path) -> str:
    page = published.tutorial(tutorial)
    mine = {
        k: [x for x in ledger[k] if x.get("tutorial") == tutorial]
        for k in ("numbers", "conclusions", "slips")
    }
    own = {name: run for name, run in runs.items() if name.startswith(f"{tutorial}/")}
    link = f' <a href="{e(page.page)}">{e(page.page)}</a>' if page.page else ""
    parts = [
        f'<section id="{tutorial}"><h2>{tutorial}</h2><p class="cite">{e(page.citation())}.{link}</p>',
        f"<p>{e(page.summary)}</p>" if page.summary else "",
        figures(tutorial, outputs),
        f"<h3>Watch it learn</h3>{''.join(explorer(name, run) for name, run in own.items())}",
        "".join(sweep(name, outputs) for name in ready_sweeps() if name.startswith(f"{tutorial}/")),
        *(findings(f) for f in ledger["findings"] if f["tutorial"] == tutorial),
        f"<h3>Conclusions</h3>{conclusions(mine['conclusions'])}",
        f"<h3>Slips of the page, and what they change</h3>{slips(mine['slips'])}",
        f"<details><summary>All {len(mine['numbers'])} published numbers</summary>{numbers(mine['numbers'])}</details>"
        if mine["numbers"]
        else "<p>The page prints no numbers.</p>",
        f"<details><summary>How each run was made</summary>{''.join(recipe(n, r) for n, r in own.items())}</details>",
    ]
    return "".join(parts) + "</section>"


def figures(tutorial: str, outputs: Path) -> str:
    """Every figure, over its band where there is one, and the distribution of the final numbers."""
    folder = outputs / "figures"
    shown = [(p.name, p.caption) for p in pictures() if p.name.startswith(f"{tutorial}/")]
    shown.append(
        (f"{tutorial}/distribution", "Final numbers over the replicas, published values marked")
    )
    found = []
    for name, caption in shown:
        band = folder / f"{name}_band.svg"
        file = band if band.is_file() else folder / f"{name}.svg"
        if not file.is_file():
            raise RunError(f"{file} is not there: draw it with make figures")
        data = base64.b64encode(read_svg(file)).decode()
        words = caption + (", over the band of the replicas" if file is band else "")
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{e(words)}" loading="lazy">'
        wide = ' class="wide"' if _aspect(file) > 2 else ""
        found.append(
            f"<figure{wide}>{image}<figcaption><b>{e(name)}</b> {e(words)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(found)}</div>'


def _aspect(svg: Path) -> float:
    """Width over height of a picture."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text())
    return float(box[1]) / float(box[2]) if box else 1.0


def sweep(name: str, outputs: Path) -> str:
    """A ready sweep: its question, its answer, its figure and its numbers; how to run it where it
    has not been."""
    folder = outputs / "sweeps" / name
    question = ready_sweep(name).question
    head = f"<h3>Sweep {e(name)}</h3><p><b>{e(question)}</b>"
    if not (folder / "figure.svg").is_file():
        return f"{head} Not run yet: <code>make {e(name)}</code></p>"
    keys, rows = read(folder)
    data = base64.b64encode(read_svg(folder / "figure.svg")).decode()
    cells = [
        [*(row[k] for k in keys), row["replicas"], f"{float(row['diverged']):.0%}"]
        + [f"{float(row[f'{q}_median']):.4g}" for q in ("mse", "val_mse")]
        + [f"{float(row['mse_p5']):.4g} to {float(row['mse_p95']):.4g}"]
        for row in rows
        if not row["failure"]
    ]
    heads = [*keys, "replicas", "diverged", "mse, median", "on fresh rows", "mse, 5 to 95 %"]
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{e(question)}" loading="lazy">'
    return (
        f"{head} {e(answer(name, rows))}</p>"
        f'<figure class="wide">{image}<figcaption>median and 5 to 95 % over the replicas; a cross: most '
        f"diverged, a hollow point: some did</figcaption></figure>"
        f"<details><summary>All {len(cells)} jobs</summary>{table(heads, cells)}</details>"
    )


def conclusions(entries: list[dict[str, Any]]) -> str:
    rows = [
        [
            c["claim"],
            c["measure"],
            f"{c['share']:.1%}",
            f"{c['low']:.1%} to {c['high']:.1%}",
            str(c["replicas"]),
        ]
        for c in entries
    ]
    return table(["conclusion", "how it is measured", "holds in", "95 % interval", "seeds"], rows)


def findings(finding: dict[str, str]) -> str:
    """What published numbers tell by themselves."""
    return f"<h3>{e(finding['title'])}</h3><p>{e(finding['text'])}</p>"


def slips(entries: list[dict[str, Any]]) -> str:
    if not entries:
        return "<p>None found.</p>"
    items = []
    for s in entries:
        effect = ""
        if "mean" in s:
            band = f"median {s['median']:.4g}, 5 to 95 % {s['p5']:.4g} to {s['p95']:.4g}, mean {s['mean']:.4g}"
            effect = f'<br><span class="effect">{e(s["measure"])}: {band}; without the slip {s["correct"]:g}</span>'
        items.append(f"<li>{e(s['what'])}{effect}</li>")
    return f"<ul>{''.join(items)}</ul>"


def numbers(entries: list[dict[str, Any]]) -> str:
    rows = []
    for n in entries:
        step = "" if n["step"] is None else str(n["step"])
        row = [n["experiment"], n["quantity"], step, f"{n['published']:.7g}", n["verdict"]]
        if "percentile" in n:
            share = f"{n['percentile']:.1%} ({n['low']:.1%} to {n['high']:.1%})"
            row += [
                share,
                f"{n['p']:.3f}",
                f"{n['median']:.4g} ({n['p5']:.4g} to {n['p95']:.4g})",
                n["reason"],
            ]
        else:
            row += ["", "", "", n["reason"]]
        rows.append(row)
    head = [
        "experiment",
        "quantity",
        "step",
        "published",
        "verdict",
        "percentile (95 %)",
        "p",
        "median (5 to 95 %)",
        "why",
    ]
    return table(head, rows)


def recipe(name: str, run: Run) -> str:
    """Command, differences from the defaults, and what made the run."""
    defaults = _flat(yaml.safe_load((CONF / "config.yaml").read_text()))
    skip = ("name", "question", "output_dir", "defaults")
    differing = {
        k: v
        for k, v in _flat(run.config).items()
        if not k.startswith(skip) and defaults.get(k, "other") != v
    }
    made = run.provenance
    commit = f"{(made['commit'] or 'no checkout')[:12]}{' with changes' if made['dirty'] else ''}"
    settings = "\n".join(f"{k}: {json.dumps(v)}" for k, v in differing.items())
    return (
        f"<h4>{e(name)}</h4><p>{e(run.config['question'])}</p>"
        f"<pre>mlpfit experiment={e(name)}</pre><pre>{e(settings)}</pre>"
        f"<p>seed {made['seeds'][0]}, {made['seconds']:.2f} s, commit {e(commit)}</p>"
    )


def _flat(tree: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {key: tree}
    return {
        k: v
        for name, sub in tree.items()
        for k, v in _flat(sub, f"{key}.{name}" if key else name).items()
    }


def generator(runs: dict[str, Run]) -> str:
    """What made the page's runs, for those who find it alone."""
    made = next(iter(runs.values())).provenance
    dirty = " with changes" if made["dirty"] else ""
    torch = made["versions"]["torch"]
    return f"mlpfit, commit {made['commit']}{dirty}, lock {made['lock']}, torch {torch}, {made['platform']}"


def environment(runs: dict[str, Run]) -> str:
    made = next(iter(runs.values())).provenance
    rows = [[k, str(v)] for k, v in made["versions"].items() if v]
    rows += [[k, str(made[k])] for k in ("platform", "processor", "threads", "lock", "commit")]
    return table(["what", "which"], rows)
