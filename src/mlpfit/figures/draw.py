"""Draw figures from finished runs, never train.

python -m mlpfit.figures [tutorial | tutorial/figure ...]
"""

import hashlib
import importlib
import io
import json
from pathlib import Path

from mlpfit import config, runs
from mlpfit.errors import ConfigError, RunError
from mlpfit.figures.parts import Picture
from mlpfit.runs import Run, load_run, write_file


def pictures() -> list[Picture]:
    """All figures, tutorial by tutorial."""
    return [p for name in config.tutorials() for p in importlib.import_module(f"mlpfit.figures.{name}").PICTURES]


def chosen(names: list[str]) -> list[Picture]:
    """The figures of these tutorials, experiments or figure names; all if none is named. Raises ConfigError."""
    every = pictures()
    for name in names:
        if not any(_matches(p, name) for p in every):
            allowed = ", ".join([*config.tutorials(), *(p.name for p in every)])
            raise ConfigError(f"{name}: no such tutorial or figure; there are {allowed}")
    return [p for p in every if not names or any(_matches(p, name) for name in names)]


def _matches(picture: Picture, name: str) -> bool:
    return name in (picture.name, picture.name.split("/")[0], picture.experiment)


def draw(picture: Picture, outputs: Path) -> bool:
    """Draw the figure unless the file there is already of the same runs and code. Returns whether it was drawn.

    The SVG carries, as its description, what it was drawn from; no date, so equal runs give equal bytes.
    """
    run = load_run(outputs / "runs" / picture.experiment)
    replicas = _ensemble(outputs / "ensembles" / picture.experiment)
    source = description(picture, run, replicas)
    file = outputs / "figures" / f"{picture.name}.svg"
    if file.is_file() and source in file.read_bytes()[:4000].decode(errors="replace"):
        return False
    from mlpfit.figures import style

    with style.use():
        figure = picture.draw(run, replicas)
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": "mlpfit", "Title": picture.caption, "Description": source}
        figure.savefig(buffer, format="svg", metadata=metadata)
    write_file(file, buffer.getvalue())
    return True


def description(picture: Picture, run: Run, replicas: Run | None) -> str:
    """What decides the picture: seeds, and hashes of the drawn data and of the drawing code."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    tutorial = picture.name.split("/")[0]
    for code in (f"{tutorial}.py", "parts.py", "style.py", "style.mplstyle"):
        digest.update((folder / code).read_bytes())
    data = hashlib.sha256()
    for source in (run, replicas):
        data.update(json.dumps(source.drawn_files() if source else None).encode())
    seeds = f"seed {run.seeds[0]}" + (f", band of {replicas.replicas} replicas" if replicas else "")
    return f"{picture.experiment} {seeds}; data {data.hexdigest()[:16]}; code {digest.hexdigest()[:16]}"


def _ensemble(path: Path) -> Run | None:
    return load_run(path) if (path / runs.MARKER).is_file() else None


def draw_all(names: list[str], outputs: Path) -> tuple[int, int]:
    """Draw what is named. Returns how many figures were drawn and how many were up to date. Raises RunError."""
    every = chosen(names)
    missing = sorted({p.experiment for p in every if not (outputs / "runs" / p.experiment / runs.MARKER).is_file()})
    if missing:
        raise RunError(f"no finished run of {', '.join(missing)} under {outputs}/runs: train first (make reproduce)")
    drawn = sum(draw(picture, outputs) for picture in every)
    return drawn, len(every) - drawn
