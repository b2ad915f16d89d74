"""Whole commands run as on other machines, and the files that they leave compared by bytes."""

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from machines import Machine, here, narrower

RESULTS = "*.npz", "metrics.json", "*.svg", "results.csv"
TIMEOUT = 3600.0
LEVELS = "x86-64", "x86-64-v3"
WRAPPER = """#!/bin/sh
for argument do
    shift
    case $argument in -march=*) argument=-march={level} ;; esac
    set -- "$@" "$argument"
done
exec g++ "$@"
"""


@contextmanager
def machines() -> Iterator[list[Machine]]:
    """This machine as it is, then narrower ones, and with other compilers or instruction sets."""
    with tempfile.TemporaryDirectory() as folder:
        yield [here(), *narrower(), *compilers(Path(folder))]


def compilers(folder: Path) -> list[Machine]:
    """This machine with another compiler, or with g++ for another processor by a script in the
    folder; those that it has not are left out."""
    found = []
    if shutil.which("clang++"):
        found.append(Machine("CXX=clang++", environment={"CXX": "clang++"}))
    if shutil.which("g++"):
        fast = {"CXX": "g++ -Ofast -ffast-math -funsafe-math-optimizations"}
        found.append(Machine(f"CXX='{fast['CXX']}'", environment=fast))
        for level in LEVELS if platform.machine() == "x86_64" else ():
            script = folder / f"g++-{level}"
            script.write_text(WRAPPER.format(level=level))
            script.chmod(0o755)
            found.append(Machine(f"g++ for {level}", environment={"CXX": str(script)}))
    return found


def both(a: Machine, b: Machine) -> Machine:
    """What sets a and b apart, together."""
    return replace(a, name=f"{a.name}, {b.name}", environment=a.environment | b.environment)


@dataclass(frozen=True)
class Files:
    """The digests of the results that a command left, beside the reference's."""

    machine: str
    digests: dict[str, str]
    differing: tuple[str, ...] = ()

    def __str__(self) -> str:
        equal = len(self.digests) - len(self.differing)
        first = f": {', '.join(self.differing[:8])}" if self.differing else ""
        return f"{self.machine}: {equal} files equal, {len(self.differing)} different{first}"

    def row(self) -> str:
        equal, different = len(self.digests) - len(self.differing), ", ".join(self.differing[:5])
        return f"| {self.machine} | {len(self.digests)} | {equal} | {different or 'none'} |"


def left_by(machine: Machine, arguments: Sequence[str], reference: Files | None) -> Files:
    """The results of `mlpfit ARGUMENTS` in an empty folder. Raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as name:
        machine.run("-m", "mlpfit", *arguments, timeout=TIMEOUT, folder=Path(name))
        digests = {
            str(file.relative_to(name)): hashlib.sha256(file.read_bytes()).hexdigest()
            for pattern in RESULTS
            for file in sorted(Path(name).rglob(pattern))
            if ".cache" not in file.parts
        }
    if reference is None:
        return Files(machine.name, digests)
    files = sorted({*digests, *reference.digests})
    differing = tuple(f for f in files if digests.get(f) != reference.digests.get(f))
    return Files(machine.name, digests, differing)


HEAD = """## Everything, from the command to the figures

`mlpfit reproduce` in an empty folder: every array, metric and figure of all experiments and the \
table of results, compared by bytes.

| machine | files compared | equal | different |
| --- | --- | --- | --- |
"""


def compared(quick: bool) -> Iterator[Files]:
    """Results of `mlpfit reproduce` (quick: of one tutorial) on each machine, this one first."""
    command = ["reproduce", *(["parabola"] if quick else [])]
    with machines() as all_machines:
        reference: Files | None = None
        for machine in all_machines:
            files = left_by(machine, command, reference)
            reference = reference or files
            yield files


def table(results: Sequence[Files]) -> str:
    """The section of outputs/portable.md about whole commands."""
    return HEAD + "".join(f"{files.row()}\n" for files in results)
