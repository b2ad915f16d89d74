"""Draw figures from finished runs, never train.

mlpfit figures [tutorial | tutorial/figure ...]
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlpfit.config.catalogue import tutorial, tutorials
from mlpfit.errors import ConfigError, RunError
from mlpfit.figures.distribution import distribution
from mlpfit.figures.parts import Picture
from mlpfit.runs import sealed
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


HERE = Path(__file__).parent
LOOK = tuple(HERE / name for name in ("parts.py", "style.py", "style.mplstyle"))


def pictures() -> list[Picture]:
    """All figures, tutorial by tutorial."""
    parts = (tutorial.part("figures") for tutorial in tutorials())
    return [picture for part in parts if part for picture in part.PICTURES]


def chosen(names: list[str]) -> list[Picture]:
    """The figures of these tutorials, experiments or figure names; all if none is named. Raises
    ConfigError."""
    every = pictures()
    for name in names:
        if not any(_matches(p, name) for p in every):
            allowed = ", ".join([*(t.name for t in tutorials()), *(p.name for p in every)])
            raise ConfigError(f"{name}: no such tutorial or figure; there are {allowed}")
    return [p for p in every if not names or any(_matches(p, name) for name in names)]


def _matches(picture: Picture, name: str) -> bool:
    return name in (picture.name, picture.name.split("/")[0], picture.experiment)


def draw(picture: Picture, outputs: Path) -> list[bool]:
    """Draw the figure, and once more over a band where there is an ensemble. Returns which were
    drawn anew."""
    run = published_run(picture.experiment, outputs)
    code = (tutorial(picture.name).folder / "figures.py", *LOOK)
    drawn = [
        _save(outputs, picture.name, picture.caption, [run], code, lambda: picture.draw(run, None))
    ]
    replicas = _ensemble(outputs, picture.experiment) if picture.band else None
    if replicas is not None:
        name, caption = (
            f"{picture.name}_band",
            f"{picture.caption}; behind it {replicas.replicas} replicas",
        )
        drawn.append(
            _save(
                outputs, name, caption, [run, replicas], code, lambda: picture.draw(run, replicas)
            )
        )
    return drawn


def draw_distribution(name: str, outputs: Path) -> list[bool]:
    """Draw how a tutorial's final numbers are distributed over the replicas, if all its ensembles
    are there."""
    ensembles = {e: run for e in tutorial(name).experiments() if (run := _ensemble(outputs, e))}
    if len(ensembles) < len(tutorial(name).experiments()):
        return []
    code = (HERE / "distribution.py", *LOOK, tutorial(name).folder / "published.yaml")
    caption = f"Final numbers of {name} over the replicas, published values marked"
    file = f"{name}/distribution"
    return [
        _save(
            outputs, file, caption, list(ensembles.values()), code, lambda: distribution(ensembles)
        )
    ]


def _save(
    outputs: Path,
    name: str,
    caption: str,
    sources: list[Run],
    code: Sequence[Path],
    make: Callable[[], Figure],
) -> bool:
    """Write the figure unless the file there is already of the same runs and code. Returns whether
    it was drawn.

    The SVG carries, as its description, what it was drawn from; no date, so equal runs give equal
    bytes.
    """
    source = description(sources, code)
    file = outputs / "figures" / f"{name}.svg"
    if is_current(file, source):
        return False
    from mlpfit.figures import style

    with style.use():
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": "mlpfit", "Title": caption, "Description": source}
        make().savefig(buffer, format="svg", metadata=metadata)
    write_file(file, sealed.svg_bytes(buffer.getvalue()))
    return True


def is_current(file: Path, source: str) -> bool:
    """Whether the SVG is there, as it was written, and of this description."""
    svg = file.read_bytes() if file.is_file() else b""
    return source in svg[:4000].decode(errors="replace") and sealed.is_whole(svg)


def description(sources: list[Run], code: Sequence[Path]) -> str:
    """What decides a picture: experiments and seeds, and hashes of the drawn data and of the
    drawing code."""
    drawing, data = hashlib.sha256(), hashlib.sha256()
    for file in code:
        drawing.update(file.read_bytes() if file.is_file() else b"")
    words = []
    for run in sources:
        data.update(json.dumps(run.drawn_files()).encode())
        recipe = run.identity["recipe"]
        many = run.replicas > 1
        words.append(
            f"{recipe['name']} " + (f"{run.replicas} replicas" if many else f"seed {run.seeds[0]}")
        )
    return f"{', '.join(words)}; data {data.hexdigest()[:16]}; code {drawing.hexdigest()[:16]}"


def _ensemble(outputs: Path, experiment: str) -> Run | None:
    path = outputs / "ensembles" / experiment
    return published_run(experiment, outputs, "ensembles") if (path / MARKER).is_file() else None


def draw_all(names: list[str], outputs: Path) -> tuple[int, int]:
    """Draw what is named. Returns how many figures were drawn and how many were up to date. Raises
    RunError."""
    every = chosen(names)
    missing = sorted(
        {p.experiment for p in every if not (outputs / "runs" / p.experiment / MARKER).is_file()}
    )
    if missing:
        raise RunError(
            f"no finished run of {', '.join(missing)} under {outputs}/runs: train first (make reproduce)"
        )
    done = [drawn for picture in every for drawn in draw(picture, outputs)]
    for name in dict.fromkeys(picture.name.split("/")[0] for picture in every):
        done += draw_distribution(name, outputs)
    return sum(done), len(done) - sum(done)
