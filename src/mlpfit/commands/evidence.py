"""What is made from finished runs: figures, the ledger, the report, TensorBoard's files."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from mlpfit.config.catalogue import ready_sweep, ready_sweeps
from mlpfit.errors import ConfigError
from mlpfit.figures.draw import draw_all
from mlpfit.judging import ledger as judging
from mlpfit.judging.statistics import QUANTILES
from mlpfit.report import page
from mlpfit.report import playground as live
from mlpfit.report import table as results
from mlpfit.runs.files import write_file
from mlpfit.sweeps.closing import close
from mlpfit.sweeps.figure import draw_sweep
from mlpfit.sweeps.jobs import SWEEP
from mlpfit.training.progress import console

OUTPUTS = Path("outputs")


def figures() -> int:
    sweeps = [a.removeprefix("sweep=") for a in sys.argv[1:] if a.startswith("sweep=")]
    for name in sweeps:
        if not (OUTPUTS / "sweeps" / name / "summary.csv").is_file():
            found = sorted(
                str(f.parent.relative_to(OUTPUTS / "sweeps"))
                for f in OUTPUTS.glob("sweeps/**/summary.csv")
            )
            raise ConfigError(
                f"sweep={name}: no such sweep under {OUTPUTS}/sweeps; there are "
                f"{', '.join(found) or 'none'}"
            )
        print(draw_sweep(OUTPUTS / "sweeps" / name))
    names = [a for a in sys.argv[1:] if not a.startswith("sweep=")]
    if not sweeps or names:
        drawn, current = draw_all(names, OUTPUTS)
        print(f"{drawn} figures drawn, {current} up to date ({OUTPUTS}/figures)")
    return 0


def sweep() -> int:
    """Summary, figure and answer of sweeps that are there, as far as they have come; 1 if jobs have
    failed or are missing."""
    folders = sys.argv[1:]
    if not folders:
        found = sorted(str(file.parent) for file in OUTPUTS.glob(f"sweeps/**/{SWEEP}"))
        raise ConfigError(
            f"sweep: name its folder: {', '.join(found) or f'none under {OUTPUTS}/sweeps'}"
        )
    failed = False
    for name in folders:
        sweep = name.strip("/").rpartition("sweeps/")[2]
        sharpness = sweep in ready_sweeps() and ready_sweep(sweep).sharpness
        failed |= close(Path(name), sharpness)
    return int(failed)


def ledger() -> int:
    outputs = Path("outputs")
    content = judging.ledger(judging.ensembles(outputs))
    changed = judging.write(content, outputs)
    if (outputs / "results.csv").is_file():
        results.update_readme(outputs)
    show(content)
    if changed:
        print(f"mlpfit: {len(changed)} verdicts changed: {'; '.join(changed)}", file=sys.stderr)
    return judging.CHANGED if changed else 0


def show(content: dict[str, Any]) -> None:
    table = Table(
        "published number", "value", "verdict", "percentile", "p", "median", "5 to 95 %", box=None
    )
    for e in content["numbers"]:
        cells = [e["key"], f"{e['published']:g}", e["verdict"]]
        if "percentile" in e:
            band = f"{e['p5']:.4g} to {e['p95']:.4g}"
            cells += [f"{e['percentile']:.1%}", f"{e['p']:.3f}", f"{e['median']:.4g}", band]
        table.add_row(*cells)
    console.print(table)
    for e in content["traces"]:
        console.print(
            f"trace {e['experiment']:<26} p {e['p']:.3f}, adjusted {e['p_adjusted']:.3f}: "
            f"{e['verdict']}"
        )
    for e in content["conclusions"]:
        interval = "identity" if e["low"] is None else f"{e['low']:.1%} to {e['high']:.1%}"
        console.print(f"{e['share']:7.1%} ({interval})  {e['tutorial']}: {e['claim']}")
    for e in content["slips"]:
        if "median" in e:
            p5, median, p95 = (
                "diverged" if e[name] is None else f"{e[name]:.4g}" for name in QUANTILES
            )
            console.print(f"{e['tutorial']}: {e['measure']}: median {median} ({p5} to {p95})")
    for kind in ("experiments", "numbers"):
        counts = Counter(e["verdict"] for e in content[kind])
        console.print(f"{kind}: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    if flips := content["halves"]["flips"]:
        console.print(f"other verdicts in either half of the seeds: {', '.join(flips)}")


def report() -> int:
    outputs = Path("outputs")
    if (
        "--judge" in sys.argv
    ):  # first draw the figures over their bands and bring the ledger up to date
        draw_all([], outputs)
        for line in judging.write(judging.ledger(judging.ensembles(outputs)), outputs):
            print(f"verdict changed: {line}")
        results.update_readme(outputs)
    html = page.report(outputs)
    write_file(outputs / "report.html", html.encode())
    print(f"outputs/report.html ({len(html.encode()) / 2**20:.1f} MiB)")
    return 0


def playground() -> int:
    outputs = Path("outputs")
    evidence = live.evidence(outputs)
    html = live.page(evidence)
    write_file(outputs / "playground.html", html.encode())
    print(f"outputs/playground.html ({len(html.encode()) / 2**20:.2f} MiB)")
    if missing := live.missing(evidence, outputs):
        print(f"not in it, since they are not there: {missing}")
    return 0


def tensorboard() -> int:
    outputs = Path(sys.argv[1] if sys.argv[1:] else "outputs")
    from mlpfit.tensorboard.outputs import ADDRESSES, write_outputs

    started = time.time()
    if not outputs.is_dir():
        raise ConfigError(
            f"{outputs}: no such folder; name one that holds runs, or none for outputs"
        )
    written = write_outputs(outputs)
    print(
        f"TensorBoard of {outputs}: {written} event files written ({time.time() - started:.1f} s)"
    )
    print(
        "With more than 40 runs TensorBoard shows none until they are chosen. These addresses "
        "choose:"
    )
    for what, address in ADDRESSES.items():
        print(f"  {what:<28} http://localhost:6006/#{address}")
    return 0
