"""The figure beside a sweep's summary.csv."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpfit.config.catalogue import ready_sweep, ready_sweeps
from mlpfit.errors import ConfigError
from mlpfit.figures.save import save, short_hash
from mlpfit.figures.sweep import curves, maps
from mlpfit.sweeps.jobs import searched_in
from mlpfit.sweeps.search_figure import search_figure
from mlpfit.sweeps.summary import QUANTITIES, read, stability_of


def draw_sweep(folder: Path) -> str:
    """Draw figure.svg beside the summary: curves for one swept key, maps for two or three, what its
    file says for a ready sweep, trials for a search. Returns its path, or why there is none. Raises RunError without a
    summary."""
    if ".." in folder.parts:
        raise ConfigError(f"sweep={folder}: must be the name of a sweep under outputs/sweeps")
    keys, rows = read(folder)
    name = str(folder).rpartition("sweeps/")[2]
    spec = checked_spec(name, keys) if name in ready_sweeps() else None
    metric = searched_in(folder)
    if spec is None and metric is None and len(keys) > 3:
        return f"no figure of {len(keys)} swept keys (three at most)"
    finished = [row for row in rows if not row["failure"]]
    if not finished:
        (folder / "figure.svg").unlink(missing_ok=True)
        return "no figure: no job has finished"
    facts = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    source = f"{name}, {len(rows)} jobs; data {short_hash(json.dumps(facts).encode())}"

    def draw() -> Any:
        if metric is not None:
            return search_figure(rows, keys, metric)
        if spec is None and len(keys) > 1:
            return maps(rows, keys)
        along = spec or {"x": keys[0] if keys else "parameters"}
        measured = "sharpness_median" in rows[0]
        limits = stability_of(finished, along["x"]) if measured else None
        return curves(rows, **along, stability=limits)

    save(folder / "figure.svg", draw, f"Sweep {name}", source)
    return str(folder / "figure.svg")


def checked_spec(ready: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """How a ready sweep's figure is to be drawn: x, and perhaps lines and panels. Raises
    ConfigError if it can't be."""
    spec = ready_sweep(ready).figure
    along = [*keys, "parameters", "layers"]
    allowed = {"x": along, "lines": along, "panels": [*QUANTITIES]}
    for name, value in spec.items() if isinstance(spec, dict) else [("", spec)] if spec else []:
        if name not in allowed:
            raise ConfigError(
                f"sweep={ready}: figure.{name}={value}: a figure has x, perhaps lines and panels"
            )
        values = value if name == "panels" and isinstance(value, list) else [value]
        if wrong := [v for v in values if v not in allowed[name]]:
            raise ConfigError(
                f"sweep={ready}: figure.{name}={wrong[0]}: allowed are {', '.join(allowed[name])}"
            )
    if spec and "x" not in spec:
        raise ConfigError(f"sweep={ready}: its figure needs an x; allowed are {', '.join(along)}")
    return spec
