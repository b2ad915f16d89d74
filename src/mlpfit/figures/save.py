"""SVG files: undated, with a description of the data and code they were drawn from."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mlpfit.figures import style
from mlpfit.figures.parts import WIDE, Figure, is_for_narrow_screens
from mlpfit.files import write_file
from mlpfit.judging.evidence import recipe_id
from mlpfit.runs.run import Run


def save(file: Path, draw: Callable[[], Figure], title: str, description: str) -> None:
    """Draw and write the figure; equal data give equal bytes. Inside ``narrow_screens`` write its
    other version (:func:`narrow_file`), if the figure is wide and that is not up to date."""
    if is_for_narrow_screens():
        if not is_wide(file) or is_current(file, description):
            return
        file = narrow_file(file)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # takes half a second

    metadata = {"Date": None, "Creator": "mlpfit", "Title": title, "Description": description}
    with style.use():
        buffer = io.BytesIO()
        # As savefig, which for the layout alone would draw everything once more.
        FigureCanvasSVG(draw()).print_svg(buffer, metadata=metadata)
    write_file(file, buffer.getvalue())


def is_current(file: Path, description: str) -> bool:
    """Whether the SVG exists, whole, and has this description; inside ``narrow_screens`` the
    other version of a wide one."""
    if is_for_narrow_screens():
        if not is_wide(file):
            return True
        file = narrow_file(file)
    svg = file.read_bytes() if file.is_file() else b""
    whole = svg.rstrip().endswith(b"</svg>")
    return whole and description in svg[:4000].decode(errors="replace")


def narrow_file(file: Path) -> Path:
    """Where a figure's version for narrow screens lies: beside the caches of its outputs folder."""
    owner = next((f for f in file.parents if f.name in ("figures", "sweeps")), file.parent)
    return owner.parent / ".cache" / "narrow" / file.relative_to(owner.parent)


def is_wide(file: Path) -> bool:
    """Whether an SVG is too wide for a narrow screen."""
    return file.is_file() and size_of(file.read_bytes())[0] > WIDE * 72


def size_of(svg: bytes) -> tuple[float, float]:
    """Width and height of an SVG in points; 0 without a viewBox."""
    box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    return (float(box[1]), float(box[2])) if box else (0.0, 0.0)


def description(sources: Sequence[Run], code: Sequence[Path]) -> str:
    """What determines a picture: experiments and seeds, and hashes of its data and its code."""
    contents = [file.read_bytes() if file.is_file() else b"" for file in code]
    names = [
        f"{run.identity['recipe']['name']} "
        + (replicas_of(run) if run.replicas > 1 else f"seed {run.seeds[0]}")
        for run in sources
    ]
    data = short_hash(*(json.dumps(run.number_hashes()).encode() for run in sources))
    return f"{', '.join(names)}; data {data}; code {short_hash(*contents)}"


def replicas_of(run: Run) -> str:
    """An ensemble's size and recipe, in a description: "20000 replicas of recipe 3f0c71d2a9be"."""
    return f"{run.replicas} replicas of recipe {recipe_id(run.identity['recipe'])}"


def replicas_drawn(file: Path, experiment: str, recipe: str) -> int:
    """How many replicas of this recipe of an experiment a figure shows; 0 for none."""
    head = file.read_bytes()[:4000].decode(errors="replace") if file.is_file() else ""
    found = re.search(rf"{re.escape(experiment)} (\d+) replicas of recipe {recipe}", head)
    return int(found[1]) if found else 0


def short_hash(*contents: bytes) -> str:
    """First 16 hexadecimal digits of the SHA-256 of these bytes in a row."""
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]
