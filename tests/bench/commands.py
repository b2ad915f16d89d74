"""Section: what commands spend their time on, as a user runs them: in all their processes, on all
cores, from the start of Python to the end of the last process.

They run on a copy of the code and of conf/, one of whose files is changed for the second row, and
write into a temporary folder. sampled.py tells the parts apart.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampled import PARTS

ROOT, SAMPLED = Path(__file__).parents[2], Path(__file__).with_name("sampled.py")
TURNS = 2
CHANGED = "conf/experiment/tower/small.yaml"
SWEEP = ("optimizer.lr=0.005,0.01,0.02,0.04", "model.hidden=4,8,16", "replicas=64")
JOBS = 12
HEAD = (
    "command | ms | core-ms | imports | composing, checking | training | files, figures | the rest "
    "| programs, exits"
)
NOTE = """Milliseconds on the wall and of all processes on their cores, and shares of the latter,
the best of {turns} turns: every few milliseconds the innermost call of each process is looked at.
First time: nothing trained, drawn or compiled. Changed: another seed in the YAML of one experiment.
Files, figures: written, read, hashed and drawn, judging included. Programs, exits: the C++
compiler, git, and the end of processes. A job: one of {jobs}, in its own process, forked from the
sweep's, which has imported everything."""


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall, of all processes on their cores, and of these the parts."""

    wall: float
    cores: float
    parts: Sequence[float]

    def line(self, name: str) -> str:
        parts = [*self.parts, max(0.0, self.cores - sum(self.parts))]
        shares = " | ".join(f"{part / sum(parts):.0%}" for part in parts)
        return f"| {name} | {self.wall * 1e3:,.0f} | {self.cores * 1e3:,.0f} | {shares} |"


def commands() -> str:
    best: dict[str, Spent] = {}
    for _ in range(TURNS):
        for name, spent in turn().items():
            best[name] = min(best.get(name, spent), spent, key=lambda spent: spent.cores)
    lines = [f"| {HEAD} |", "|" + " --- |" * (HEAD.count("|") + 1)]
    lines += [spent.line(name) for name, spent in best.items()]
    note = " ".join(NOTE.split()).format(turns=TURNS, jobs=JOBS)
    return f"## What commands spend their time on\n\n{chr(10).join(lines)}\n\n{note}"


def turn() -> dict[str, Spent]:
    """Every command once, in new folders."""
    with tempfile.TemporaryDirectory() as folder:
        code, work = Path(folder) / "code", Path(folder) / "work"
        for part in ("src", "conf"):
            shutil.copytree(ROOT / part, code / part)
        work.mkdir()
        spent = {"`make reproduce`, the first time": measured(code, work, "reproduce")[0]}
        changed = code / CHANGED
        changed.write_text(changed.read_text() + "seed: 1\n")
        spent["one experiment changed"] = measured(code, work, "reproduce")[0]
        spent["nothing to do"] = measured(code, work, "reproduce")[0]
        one = ("experiment=tower/small", "force=true")
        spent["`mlpfit experiment=tower/small force=true`"] = measured(code, work, *one)[0]
        sweep = ("-m", "experiment=parabola/eight_neurons", *SWEEP)
        whole, jobs = measured(code, work, *sweep)
        spent[f"a sweep of {JOBS} jobs of 64 replicas"] = whole
        spent["one of its jobs"] = jobs
    return spent


def measured(code: Path, work: Path, *arguments: str) -> tuple[Spent, Spent]:
    """What a command spends, and of it the average of the processes that it forked."""
    with tempfile.TemporaryDirectory() as samples:
        environment = os.environ | {"PYTHONPATH": str(code / "src"), "MLPFIT_SAMPLES": samples}
        environment.pop("MLPFIT_KERNEL_CACHE", None)
        before, started = _children(), time.perf_counter()
        command = [sys.executable, SAMPLED, *arguments]
        subprocess.run(command, cwd=work, env=environment, check=True, capture_output=True)
        wall, cores = time.perf_counter() - started, _children() - before
        found = [(f.name, json.loads(f.read_text())) for f in Path(samples).iterdir()]
    cores -= sum(sums["sampling"] for _, sums in found)
    parts = [sum(sums[part] for _, sums in found) for part in (*PARTS, "rest")]
    forked = [sums for name, sums in found if name.startswith("forked")]
    of_job = [sum(s[part] for s in forked) / max(1, len(forked)) for part in (*PARTS, "rest")]
    job_wall = sum(sums["wall"] for sums in forked) / max(1, len(forked))
    return Spent(wall, cores, parts), Spent(job_wall, sum(of_job), of_job)


def _children() -> float:
    """Processor seconds of all commands so far, with the processes and programs they started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
