"""Hashes of the numbers of two machines, compared, and the table of the results."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from machines import Machine

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import as_published
from mlpfit.runs.provenance import provenance

PROGRAM = Path(__file__).with_name("hashes.py")
TIMEOUT = 3600.0
HEAD = """# The same bits on other processors

Written by `make portable`. Everything but training, computed again as on other processors, and \
compared by bits: values of the elementary functions; rows, fresh rows, initial weights and order \
of batches of all {experiments} experiments; least squares on the rows; sharpness at the start. \
"libraries" tells whether what numpy, OpenBLAS and the C library make of the same arguments differs.

| machine | vector units of numpy | libraries | arrays compared | equal | different |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Comparison:
    """A machine's hashes beside the reference's. differing: keys whose hashes differ; error: why
    there are none."""

    machine: Machine
    hashes: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    differing: tuple[str, ...] = ()
    libraries: str = "the reference"
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"{self.machine.name}: {self.error}"
        first = f": {', '.join(self.differing[:5])}" if self.differing else ""
        return (
            f"{self.machine.name}: {len(self.hashes) - len(self.differing)} of {len(self.hashes)} "
            f"equal{first} (libraries {self.libraries})"
        )

    def row(self) -> str:
        units = ", ".join(self.about.get("units", [])) or "baseline only"
        equal = len(self.hashes) - len(self.differing)
        different = self.error or ", ".join(self.differing[:5]) or "none"
        cells = self.machine.name, units, self.libraries, len(self.hashes), equal, different
        return f"| {' | '.join(map(str, cells))} |"


def compare(
    machine: Machine, recipes: Path, seeds: int, reference: Comparison | None
) -> Comparison:
    """Compute on this machine and compare with the reference (None: this is the reference)."""
    try:
        content = json.loads(machine.run(str(PROGRAM), str(recipes), str(seeds), timeout=TIMEOUT))
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        return Comparison(machine, error=" ".join(str(error).split()), libraries="?")
    hashes, about = content["hashes"], content["machine"]
    if left := set(machine.without) & set(about["features"]):
        return Comparison(machine, error=f"still uses {', '.join(sorted(left))}", libraries="?")
    if reference is None:
        return Comparison(machine, hashes, about)
    differing = tuple(key for key in hashes if hashes[key] != reference.hashes.get(key))
    same = about["library"] == reference.about.get("library")
    return Comparison(machine, hashes, about, differing, "the same" if same else "differ")


@contextmanager
def recipes_file() -> Iterator[Path]:
    """A file with what hashes.py needs of every experiment, so that an emulated machine need not
    compose configs."""
    recipes = {}
    for name in experiments():
        config = as_published(name)
        own = {f.name: getattr(config.target, f.name) for f in fields(config.target)}
        data = {**asdict(config.data)}
        recipes[name] = {
            "target": {"name": config.target.name, "fields": own},
            "streams": config.streams,
            "units": config.units,
            "init": config.model.init,
            "loss": config.loss,
            "order": {
                "kind": data["order"],
                "batch": data["batch_size"],
                "steps": config.trainer.max_steps,
                "macro": data["macro_batch"] or 0,
                "below": data["start_below"] or 0,
            },
        }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipes.json"
        file.write_text(json.dumps(recipes))
        yield file


def table(comparisons: list[Comparison], missing: list[str]) -> str:
    """The first part of outputs/portable.md."""
    here = provenance()
    rows = "\n".join(comparison.row() for comparison in comparisons)
    reasons = "".join(f"\n- {reason}" for reason in missing)
    head = HEAD.format(experiments=len(experiments()))
    on = f"On {here['processor']}, {os.cpu_count()} cores, numpy {here['versions']['numpy']}"
    return f"{head}{rows}\n{reasons and chr(10)}{reasons}\n{on}, {here['platform']}.\n"
