"""Commands on finished runs: figures, sweeps, ledger, report, playground, TensorBoard."""

import argparse
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from mlpfit import sealed
from mlpfit.config.catalogue import tutorials
from mlpfit.errors import ConfigError, Stopped, allowed
from mlpfit.figures.draw import draw_all, drawings, unfinished
from mlpfit.files import write_file
from mlpfit.judging import ledger as judging
from mlpfit.judging.statistics import QUANTILES
from mlpfit.report import page
from mlpfit.report import playground as live
from mlpfit.report import table as results
from mlpfit.sweeps.closing import draw_sweep, finish_sweep
from mlpfit.sweeps.summary import SWEEP
from mlpfit.training.progress import console, counted

OUTPUTS = Path("outputs")


def figures() -> int:
    """mlpfit figures [tutorial | experiment | tutorial/figure | sweep=tutorial/name ...]

    Draw figures from finished runs and sweeps.
    """
    sweeps = [a.removeprefix("sweep=") for a in sys.argv[1:] if a.startswith("sweep=")]
    for name in sweeps:
        summaries = sorted((OUTPUTS / "sweeps").rglob("summary.csv"))
        known = [str(file.parent.relative_to(OUTPUTS / "sweeps")) for file in summaries]
        if name not in known:
            problem = f"no such sweep under {OUTPUTS}/sweeps"
            raise ConfigError(f"sweep={name}: {problem}; {allowed(name, known)}")
        print(draw_sweep(OUTPUTS / "sweeps" / name))
    names = [a for a in sys.argv[1:] if not a.startswith("sweep=")]
    if not sweeps or names:
        drawn, current = draw_all(names, OUTPUTS)
        print(f"{counted(drawn, 'figure')} drawn, {current} up to date ({OUTPUTS}/figures)")
        if missing := unfinished(drawings(), OUTPUTS) if not names else []:
            print(f"not drawn, since their runs are missing: figures of {', '.join(missing)}")
    return 0


def sweep() -> int:
    """mlpfit sweep outputs/sweeps/tower/width_and_depth | tower/width_and_depth ...

    Write summary and figure of sweeps from the jobs finished so far, and print the answer; exit
    code 1 if jobs have failed or are missing.
    """
    if not (names := sys.argv[1:]):
        known = sorted(str(file.parent) for file in OUTPUTS.glob(f"sweeps/**/{SWEEP}"))
        raise ConfigError(
            f"sweep: name its folder: {', '.join(known) or f'none under {OUTPUTS}/sweeps'}"
        )
    folders = [OUTPUTS / "sweeps" / name for name in names]
    pairs = zip(folders, map(Path, names), strict=True)
    return int(max(finish_sweep(folder if folder.is_dir() else named) for folder, named in pairs))


def ledger() -> int:
    """mlpfit ledger [tutorial ...]

    Judge the published numbers and write outputs/ledger.json. For named tutorials only print their
    verdicts, from their ensembles only: the p of traces is then adjusted among these, so verdicts
    can differ from those of the whole ledger.
    """
    if names := sys.argv[1:]:
        check_tutorials(names)
        content = judging.ledger(judging.ensembles(OUTPUTS, names), names)
        print_ledger(content)
        print_variants(content)
        console.print("p of traces adjusted among these tutorials only; nothing was written")
        return 0
    content = judging.ledger(judging.ensembles(OUTPUTS))
    changed = judging.write(content, OUTPUTS)
    results.update_readme(OUTPUTS)
    print_ledger(content)
    if changed:
        print(f"mlpfit: {len(changed)} verdicts changed: {'; '.join(changed)}", file=sys.stderr)
    return judging.CHANGED if changed else 0


def check_tutorials(names: list[str]) -> None:
    """Raises ConfigError for a name that is not a tutorial."""
    known = [tutorial.name for tutorial in tutorials()]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{unknown[0]}: no such tutorial; {allowed(unknown[0], known)}")


def print_ledger(content: dict[str, Any]) -> None:
    """Print a ledger."""
    heads = ("published number", "value", "verdict", "percentile", "p", "median", "5 to 95 %")
    table = Table(*heads, box=None)
    for e in content["numbers"]:
        cells = [e["key"], f"{e['published']:g}", e["verdict"]]
        if "percentile" in e:
            band = f"{e['p5']:.4g} to {e['p95']:.4g}"
            cells += [f"{e['percentile']:.1%}", f"{e['p']:.3f}", f"{e['median']:.4g}", band]
        table.add_row(*cells)
    console.print(table)
    for e in content["traces"]:
        p = f"p {e['p']:.3f}, adjusted {e['p_adjusted']:.3f}"
        between = f" between {e['between']}" if e["between"] else ""
        console.print(f"trace {e['experiment']:<26} {p}: {e['verdict']}{between}")
    for e in content["conclusions"]:
        interval = "identity" if e["low"] is None else f"{e['low']:.1%} to {e['high']:.1%}"
        console.print(f"{e['share']:7.1%} ({interval})  {e['tutorial']}: {e['claim']}")
    for e in content["slips"]:
        if "median" in e:
            quantiles = [e[name] for name in QUANTILES]
            p5, median, p95 = ("diverged" if q is None else f"{q:.4g}" for q in quantiles)
            console.print(f"{e['tutorial']}: {e['measure']}: median {median} ({p5} to {p95})")
    for kind in ("experiments", "numbers"):
        counts = Counter(e["verdict"] for e in content[kind])
        console.print(f"{kind}: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    if content["untrained"]:
        owners = dict.fromkeys(name.split("/")[0] for name in content["untrained"])
        command = f"mlpfit ensembles --variants {' '.join(owners)}"
        console.print(f"not judged without {', '.join(content['untrained'])}: {command}")
    if flips := content["halves"]["flips"]:
        console.print(f"other verdicts in either half of the seeds: {', '.join(flips)}")


def print_variants(content: dict[str, Any]) -> None:
    """Print a ledger's results of variants."""
    for e in content["power"]:
        shares = (f"{e[test]['share']:.0%} ({test})" for test in ("final", "trace") if test in e)
        console.print(f"{e['experiment']}: {e['change']}: noticed in {', '.join(shares)} of seeds")
    for e in content["assumptions"]:
        console.print(
            f"{e['experiment']}: {e['question']} likeliest: {e['likeliest'] or 'unknown'}"
        )
    for e in content["sensitivity"]:
        console.print(f"{e['experiment']}: {e['change']}: median {e['median']:.4g}, p {e['p']:.3f}")


def report() -> int:
    """mlpfit report [--judge] [tutorial ...]

    Write outputs/report.html from finished runs, with --judge after drawing figures and writing the
    ledger. For named tutorials: draw their figures, judge them and write
    outputs/report-<tutorial>.html.
    """
    if names := [a for a in sys.argv[1:] if a != "--judge"]:
        check_tutorials(names)
        draw_all(names, OUTPUTS)
        content = judging.ledger(judging.ensembles(OUTPUTS, names), names)
        return _write(f"report-{'-'.join(names)}.html", page.report(OUTPUTS, content, names))
    if "--judge" in sys.argv:
        draw_all([], OUTPUTS)
        for line in judging.write(judging.ledger(judging.ensembles(OUTPUTS)), OUTPUTS):
            print(f"verdict changed: {line}")
        results.update_readme(OUTPUTS)
    return _write("report.html", page.report(OUTPUTS, sealed.read_ledger(OUTPUTS)))


def _write(name: str, page: str) -> int:
    write_file(OUTPUTS / name, page.encode())
    print(f"{OUTPUTS}/{name} ({len(page.encode()) / 2**20:.2f} MiB)")
    return 0


def playground() -> int:
    """mlpfit playground

    Write outputs/playground.html from runs, ensembles and ledger.
    """
    evidence = live.evidence(OUTPUTS)
    _write("playground.html", live.page(evidence))
    if missing := live.missing(evidence, OUTPUTS):
        print(f"not in it, since they are missing: {missing}")
    return 0


def tensorboard() -> int:
    """mlpfit tensorboard [--port PORT] [--write-only] [folder]

    Write event files of finished runs, ensembles and sweeps (default: under outputs), and serve
    them until Ctrl-C. Only event files of an earlier such command are replaced.

    --port PORT   default: the first free one from 6006
    --write-only  end when the files are written, for a TensorBoard of your own
    """
    parser = argparse.ArgumentParser(prog="mlpfit tensorboard", allow_abbrev=False)
    parser.add_argument("folder", nargs="?", type=Path, default=OUTPUTS)
    parser.add_argument("--port", type=int)
    parser.add_argument("--write-only", action="store_true")
    options = parser.parse_args()
    if not options.folder.is_dir():
        raise ConfigError(
            f"{options.folder}: no such folder; name one with runs (default: outputs)"
        )
    from mlpfit.tensorboard.outputs import serve, write_outputs

    started = time.time()
    written, seconds = write_outputs(options.folder), time.time() - started
    print(f"{options.folder}: {counted(written, 'event file')} written ({seconds:.1f} s)")
    if options.write_only:
        return 0
    addresses = serve(options.folder, options.port)
    print("TensorBoard, until Ctrl-C:")
    for label, address in addresses.items():
        print(f"  {label:<32} {address}", flush=True)
    try:
        signal.pause()
    except Stopped as stopped:
        if stopped.code != 128 + signal.SIGINT:  # Ctrl-C is the ordinary end of a server
            raise
    return 0
