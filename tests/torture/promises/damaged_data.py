"""No figure, ledger or report is made from damaged data."""

import json
import random
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

from injection import WORK, call
from promise import promise

from mlpfit.__main__ import main
from mlpfit.runs.run import MARKER, SHARDS, Run

KINDS = ("truncate", "flip", "remove", "foreign", "another run")
SMALL = ["replicas=4", "ensemble.shard=2", "ensemble.processes=1"]


@cache
def sound_tree(quick: bool) -> tuple[Path, dict[str, list[Path]]]:
    """Runs of the plane (quick) or of all, with ensembles of four replicas and a ledger; and which
    files each command reads."""
    tree = WORK / "sound"
    call(["mlpfit", "reproduce", *(["plane"] if quick else [])], tree).fine()
    commands = ["figures"]
    if not quick:
        for command in (["ensembles", *SMALL], ["ledger"], ["figures"]):
            call(["mlpfit", *command], tree).fine()
        commands += ["ledger", "report"]
    return tree, {command: files_read(command, tree) for command in commands}


def arguments(command: str) -> list[str]:
    return ["mlpfit", command, *(["plane"] if command == "figures" else [])]


def files_read(command: str, tree: Path) -> list[Path]:
    """Files of runs that a command reads."""
    log = WORK / "read.json"

    def recorded() -> None:
        names: list[str] = []
        real = Run._read

        def reading(run: Any, name: str) -> bytes:
            names.append(str(run.path / name))
            return real(run, name)

        Run._read = reading  # type: ignore[method-assign]
        if command == "figures":  # else they are up to date
            for svg in Path("outputs/figures/plane").glob("*.svg"):
                svg.unlink()
        sys.argv = arguments(command)
        try:
            main()
        finally:
            log.write_text(json.dumps(names))

    call(recorded, tree).fine()
    return sorted({Path(name) for name in json.loads(log.read_text())})


@promise(
    6,
    "No figure, ledger or report from damaged data",
    "truncated, flipped, missing, foreign files; shards gone or doubled",
    full=100,
    quick=6,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    tree, read = sound_tree(quick)
    rng = random.Random(number)
    command = list(read)[number % len(read)]
    shutil.copytree(tree, folder / "tree")
    of_scratch = [f for f in read[command] if command != "figures" or "plane/scratch" in str(f)]
    victim = folder / "tree" / rng.choice(of_scratch)
    run = Path(*victim.parts[: victim.parts.index("outputs") + 4])
    # what has to be drawn again, and is drawn from the victim
    stem = "scratch" if "runs" in victim.parts else "distribution"
    figure = folder / f"tree/outputs/figures/plane/{stem}.svg"
    if command == "figures":
        figure.write_text("old")
    tables = (folder / "tree/outputs").glob("[lr]e*.[jh]*")  # ledger, report
    before = {f: f.read_bytes() for f in (figure, *tables)}
    kinds = [*KINDS, *(["shard"] if SHARDS in victim.parts else [])]
    kind = kinds[number // 3 % len(kinds)]
    damage(kind, victim, run, rng)
    named = {"shard": victim.parents[2], "another run": run}.get(kind, victim)
    ended = call(arguments(command), folder / "tree")
    ended.refused(1, str(named.relative_to(folder / "tree")))
    assert before == {f: f.read_bytes() for f in before}, "an older file was touched"


def damage(kind: str, victim: Path, run: Path, rng: random.Random) -> None:
    """Of a file of a run, or of the run or shard that holds it."""
    content = victim.read_bytes()
    at = rng.randrange(len(content))
    if kind == "truncate":
        victim.write_bytes(content[:at])
    elif kind == "flip":
        flipped = bytes([content[at] ^ (1 << rng.randrange(8))])
        victim.write_bytes(content[:at] + flipped + content[at + 1 :])
    elif kind == "remove":
        victim.unlink()
    elif kind == "foreign":
        outputs = run.parents[2]
        others = [f for f in outputs.rglob(victim.name) if f.read_bytes() != content]
        victim.write_bytes(rng.choice(others).read_bytes())
    elif kind == "another run":  # whole and finished, but of other settings
        finished = [marker.parent for marker in run.parents[1].glob(f"*/*/{MARKER}")]
        other = rng.choice([folder for folder in finished if folder != run])
        shutil.rmtree(run)
        shutil.copytree(other, run)
    else:  # a shard is gone, or there twice
        shard = victim.parent
        shutil.rmtree(shard)
        if rng.random() < 0.5:
            shutil.copytree(next(s for s in shard.parent.iterdir() if s != shard), shard)
