"""The numbers the tutorials print (``<tutorial>.yaml`` beside this file), and the same quantity of
a run.

A file holds author, title, year, page and a summary, then ``numbers``: experiment, quantity, update
(the value stands before or after that step's update; ``none``: no step is involved), convention in
words, steps and values as printed.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import yaml

from mlpfit.config import catalogue
from mlpfit.runs.run import Run


@dataclass(frozen=True)
class Number:
    """One printed number."""

    experiment: str
    quantity: str
    update: Literal["before", "after", "none"]
    convention: str
    step: int | None
    value: float

    @property
    def key(self) -> str:
        """Unique name: plane/scratch:mse@10."""
        return f"{self.experiment}:{self.quantity}" + ("" if self.step is None else f"@{self.step}")


@dataclass(frozen=True)
class Tutorial:
    name: str
    author: str
    title: str
    year: int | None
    page: str | None
    summary: str
    numbers: tuple[Number, ...]

    def citation(self) -> str:
        return f'{self.author}, "{self.title}"' + (f" ({self.year})" if self.year else "")


@cache
def tutorial(name: str) -> Tutorial:
    """What is published of this tutorial."""
    file = catalogue.tutorial(name).folder / "published.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    numbers = tuple(
        Number(
            **{k: entry[k] for k in ("experiment", "quantity", "update", "convention")},
            step=step,
            value=value,
        )
        for entry in content["numbers"]
        for step, value in zip(entry["steps"], entry["values"], strict=True)
    )
    return Tutorial(
        name,
        content["author"],
        content["title"],
        content["year"],
        content["page"],
        content["summary"],
        numbers,
    )


def final(experiment: str) -> Number | None:
    """The last loss or sum of squares published for the experiment."""
    if not (catalogue.tutorial(experiment).folder / "published.yaml").is_file():
        return None
    numbers = tutorial(experiment.split("/")[0]).numbers
    return next(
        (
            n
            for n in reversed(numbers)
            if n.experiment == experiment and n.quantity in ("mse", "sse")
        ),
        None,
    )


def measured(run: Run, quantity: str, update: str, step: int | None) -> np.ndarray:
    """The run's own value of a published quantity, one per replica: (R,).

    ``mse`` and ``sse`` before the update of a step come from the history, after the last update
    from the metrics.
    """
    if quantity == "sse_at_ones":
        raw = run.data["scale"][:, None] * np.concatenate(
            [run.data["pool_x"], run.data["pool_y"]], axis=2
        )
        raw = raw + run.data["center"][:, None]
        return ((raw[..., 1] - (1 + raw[..., 0])) ** 2).sum(axis=1)
    if quantity not in ("mse", "sse"):
        raise KeyError(f"{quantity} is not a quantity of a run")
    if update == "before":
        rows = run.data["x"].shape[1]
        to_mse = {"mse": 1.0, "half_mse": 2.0, "sse": 1 / rows}[run.config["loss"]]
        at = run.history["step"].tolist().index(step)
        return run.history["loss"][at] * to_mse * (rows if quantity == "sse" else 1)
    return run.metrics[quantity]
