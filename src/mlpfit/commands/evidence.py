"""Commands on finished runs: figures, sweeps, ledger, report, playground, TensorBoard."""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mlpfit.commands.arguments import Parser
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.errors import ConfigError, Stopped, allowed
from mlpfit.figures import draw
from mlpfit.figures.draw import draw_all, drawings, unfinished
from mlpfit.figures.parts import narrow_screens
from mlpfit.figures.save import is_wide
from mlpfit.files import write_file
from mlpfit.judging import ledger as judging
from mlpfit.judging import words
from mlpfit.report import page
from mlpfit.report import playground as live
from mlpfit.report import table as results
from mlpfit.sweeps.closing import draw_sweep, finish_sweep
from mlpfit.sweeps.summary import SWEEP
from mlpfit.training.progress import console, counted, doing

OUTPUTS = Path("outputs")
LONG_TABLE = 2000  # rows
PARTIAL = "replace a ledger and figures even if they show more seeds than there are now"


def figures() -> int:
    parser = Parser("figures", "Draw figures from finished runs and sweeps.")
    parser.add_names("tutorial | experiment | tutorial/figure | sweep=tutorial/name")
    parser.add_argument("--partial", action="store_true", help=PARTIAL)
    options = parser.parse()
    given = options.names
    sweeps = [a.removeprefix("sweep=") for a in given if a.startswith("sweep=")]
    for name in sweeps:
        summaries = sorted((OUTPUTS / "sweeps").rglob("summary.csv"))
        known = [str(file.parent.relative_to(OUTPUTS / "sweeps")) for file in summaries]
        if name not in known:
            problem = f"no such sweep under {OUTPUTS}/sweeps"
            raise ConfigError(f"sweep={name}: {problem}; {allowed(name, known)}")
        print(draw_sweep(OUTPUTS / "sweeps" / name))
    names = [a for a in given if not a.startswith("sweep=")]
    if not sweeps or names:
        drawn, current = draw_all(names, OUTPUTS, kept(options.partial))
        print(f"{counted(drawn, 'figure')} drawn, {current} up to date ({OUTPUTS}/figures)")
        if missing := unfinished(drawings(), OUTPUTS) if not names else []:
            print(f"not drawn, since their runs are missing: figures of {', '.join(missing)}")
    return 0


def sweep() -> int:
    parser = Parser(
        "sweep",
        "Write summary and figure of sweeps from the jobs finished so far, and print the answer; "
        "exit code 1 if jobs have failed or are missing.",
    )
    parser.add_names("folder, such as outputs/sweeps/tower/width_and_depth")
    if not (names := parser.parse().names):
        known = sorted(str(file.parent) for file in OUTPUTS.glob(f"sweeps/**/{SWEEP}"))
        raise ConfigError(
            f"sweep: name its folder: {', '.join(known) or f'none under {OUTPUTS}/sweeps'}"
        )
    folders = [OUTPUTS / "sweeps" / name for name in names]
    pairs = zip(folders, map(Path, names), strict=True)
    return int(max(finish_sweep(folder if folder.is_dir() else named) for folder, named in pairs))


def ledger() -> int:
    parser = Parser(
        "ledger",
        "Judge the published numbers and write outputs/ledger.json, and the results in README.md "
        "if they are of the same recipes. For named tutorials only print their verdicts, from "
        "their ensembles only.",
    )
    parser.add_names("tutorial")
    parser.add_argument("--partial", action="store_true", help=PARTIAL)
    options = parser.parse()
    names, partial = options.names, options.partial
    check_tutorials(names)
    with doing("judging"):
        content = judging.ledger(judging.ensembles(OUTPUTS, names), names)
    print_ledger(content, names)
    if names:
        return 0
    changed = judging.write(content, OUTPUTS, partial)
    say(results.update_readme(OUTPUTS))
    if changed:
        verdicts = counted(len(changed), "verdict")
        say(f"{verdicts} changed since the ledger before: {'; '.join(changed)}")
    return judging.CHANGED if changed else 0


def kept(partial: bool) -> list[str]:
    """The experiments whose figures show more replicas than there are now, unless partial; says
    so."""
    reasons = {} if partial else draw.poorer_ensembles(experiments(), OUTPUTS)
    for reason in reasons.values():
        say(reason)
    return [*reasons]


def say(line: str | None) -> None:
    """A line on stderr, if there is one."""
    if line:
        print(f"mlpfit: {line}", file=sys.stderr)


def check_tutorials(names: list[str]) -> None:
    """Raises ConfigError for a name that is not a tutorial."""
    known = [tutorial.name for tutorial in tutorials()]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{unknown[0]}: no such tutorial; {allowed(unknown[0], known)}")


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, if it has rows; texts are the tutorials', so nothing in them is markup."""
    if not rows:
        return
    if len(rows) > LONG_TABLE:  # laying it out would take minutes
        lines = ["", title, *map("  ".join, (heads, *rows))]
        console.print(Text("\n".join(lines)), soft_wrap=True)
        return
    table = Table(*heads, title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def print_ledger(content: dict[str, Any], names: Sequence[str] = ()) -> None:
    """Print a ledger, the details before the whole."""
    cells = []
    for e in content["numbers"]:
        place = [f"{e['percentile']:.1%}", words.band(e)] if "percentile" in e else ["", ""]
        cells.append([e["key"], f"{e['published']:g}", *place, words.number_verdict(e)])
    show("published numbers", ("number", "page", "percentile", "median (5 to 95 %)", ""), cells)
    rows = [[e["tutorial"], e["what"], words.number_verdict(e)] for e in content["joint"]]
    show("several numbers together", ("tutorial", "quantity", ""), rows)
    rows = [[e["tutorial"], e["claim"], words.claim_verdict(e)] for e in content["conclusions"]]
    show("claims of the pages, and what we asked", ("tutorial", "claim", ""), rows)
    rows = [[e["tutorial"], e["what"], words.slip_effect(e)] for e in content["slips"]]
    show("slips of the pages", ("tutorial", "slip", "what it does"), rows)
    rows = [[e["experiment"], e["change"], words.power(e)] for e in content["power"]]
    show("would a change of the recipe be noticed?", ("experiment", "change", ""), rows)
    rows = [[e["experiment"], e["question"], words.likeliest(e)] for e in content["assumptions"]]
    show("what the pages leave open", ("experiment", "question", ""), rows)
    rows = [[e["experiment"], e["change"], words.sensitivity(e)] for e in content["sensitivity"]]
    show("precision, generator, order of rows", ("experiment", "change", ""), rows)
    rows = [[e["experiment"], words.run_verdict(e)] for e in content["experiments"]]
    show("runs", ("experiment", "the run among its seeds"), rows)
    for line in filter(None, results.summary(content)):
        console.print(line, markup=False)
    if flips := content["halves"]["flips"]:
        line = f"other verdicts in either half of the seeds: {', '.join(flips)}"
        console.print(line, markup=False)
    if names:
        console.print("Nothing was written: mlpfit ledger without names does.")


def report() -> int:
    parser = Parser(
        "report",
        "Write outputs/report.html from finished runs. For named tutorials: draw their figures, "
        "judge them and write outputs/report-<tutorial>.html.",
    )
    parser.add_names("tutorial")
    parser.add_argument(
        "--judge", action="store_true", help="first draw all figures and write the ledger"
    )
    parser.add_argument("--partial", action="store_true", help=PARTIAL)
    options = parser.parse()
    if names := options.names:
        check_tutorials(names)
        poorer = kept(options.partial)
        draw_all(names, OUTPUTS, poorer)
        draw_narrow(names, poorer)
        content = judging.ledger(judging.ensembles(OUTPUTS, names), names)
        return _write(f"report-{'-'.join(names)}.html", page.report(OUTPUTS, content, names))
    poorer = kept(options.partial)
    if options.judge:
        stale = draw.stale_ensembles(experiments(), OUTPUTS)
        draw_all([], OUTPUTS, [*stale, *poorer])
        with doing("judging"):
            content = judging.ledger(judging.ensembles(OUTPUTS))
        try:
            for line in judging.write(content, OUTPUTS, options.partial):
                print(f"verdict changed: {line}")
        except judging.Poorer as why:
            say(str(why))
        say(results.update_readme(OUTPUTS))
    draw_narrow(names, poorer)
    with doing("writing the report"):
        text = page.report(OUTPUTS, judging.read(OUTPUTS, whole=True))
    return _write("report.html", text)


def draw_narrow(names: list[str], poorer: list[str]) -> None:
    """Draw wide figures again for the narrow screens on which the report may be read."""
    with narrow_screens():
        draw_all(names, OUTPUTS, [*draw.stale_ensembles(experiments(), OUTPUTS), *poorer])
        for folder in sorted(OUTPUTS.glob("sweeps/*/*")):
            if is_wide(folder / "figure.svg") and (folder / "summary.csv").is_file():
                draw_sweep(folder)


def _write(name: str, page: str) -> int:
    write_file(OUTPUTS / name, page.encode())
    print(f"{OUTPUTS}/{name} ({len(page.encode()) / 2**20:.2f} MiB)")
    return 0


def playground() -> int:
    Parser("playground", "Write outputs/playground.html from runs, ensembles and ledger.").parse()
    with doing("collecting the evidence"):
        evidence = live.evidence(OUTPUTS)
    _write("playground.html", live.page(evidence))
    if missing := live.missing(evidence, OUTPUTS):
        print(f"not in it, since they are missing: {missing}")
    return 0


def tensorboard() -> int:
    parser = Parser(
        "tensorboard",
        "Write event files of finished runs, ensembles and sweeps, and serve them until Ctrl-C. "
        "Only event files of an earlier such command are replaced.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=OUTPUTS, help="default: %(default)s"
    )
    parser.add_argument("--port", type=int, help="default: the first free one from 6006 on")
    parser.add_argument("--write-only", action="store_true", help="end when the files are written")
    options = parser.parse()
    if options.port is not None and not 0 <= options.port < 2**16:
        raise ConfigError(f"--port {options.port}: must be from 0 to {2**16 - 1}")
    if not options.folder.is_dir():
        raise ConfigError(
            f"{options.folder}: no such folder; name one with runs (default: outputs)"
        )
    from mlpfit.tensorboard.outputs import serve, write_outputs

    started = time.time()
    with doing("writing event files"):
        written = write_outputs(options.folder)
    seconds = time.time() - started
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
