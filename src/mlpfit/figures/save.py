"""SVG files: sealed, undated, with a description of the data and code they were drawn from."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from mlpfit import sealed
from mlpfit.figures import style
from mlpfit.figures.parts import Figure
from mlpfit.files import write_file
from mlpfit.runs.run import Run


def save(file: Path, draw: Callable[[], Figure], title: str, description: str) -> None:
    """Draw and write the figure; equal data give equal bytes."""
    metadata = {"Date": None, "Creator": "mlpfit", "Title": title, "Description": description}
    with style.use():
        buffer = io.BytesIO()
        draw().savefig(buffer, format="svg", metadata=metadata)
    write_file(file, sealed.svg_bytes(buffer.getvalue()))


def is_current(file: Path, description: str) -> bool:
    """Whether the SVG exists, is undamaged and has this description."""
    svg = file.read_bytes() if file.is_file() else b""
    return description in svg[:4000].decode(errors="replace") and sealed.is_whole(svg)


def description(sources: Sequence[Run], code: Sequence[Path]) -> str:
    """What determines a picture: experiments and seeds, and hashes of its data and its code."""
    contents = [file.read_bytes() if file.is_file() else b"" for file in code]
    names = [
        f"{run.identity['recipe']['name']} "
        + (f"{run.replicas} replicas" if run.replicas > 1 else f"seed {run.seeds[0]}")
        for run in sources
    ]
    data = short_hash(*(json.dumps(run.number_hashes()).encode() for run in sources))
    return f"{', '.join(names)}; data {data}; code {short_hash(*contents)}"


def short_hash(*contents: bytes) -> str:
    """First 16 hexadecimal digits of the SHA-256 of these bytes in a row."""
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]
