"""The functions to be learnt, and how a tutorial samples rows from them.

A target is a frozen dataclass: its fields are the keys of its YAML (``conf/target/<name>.yaml``). A new one is a
subclass with a name, an input dimension and ``__call__``; the user's own live in a ``targets.py`` of a folder named in
MLPFIT_PATH.
"""

import importlib.util
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from mlpfit import formula
from mlpfit.errors import ConfigError
from mlpfit.ranges import AtLeast

TARGETS: dict[str, type["Target"]] = {}


@dataclass(frozen=True)
class Rows:
    """The rows of one replica, float64. ``pool`` is every row generated, ``x`` and ``y`` those the net sees.

    x (n, d), y (n, 1); pool_x (m, d), pool_y (m, 1), pool_truth (m, 1) without noise;
    center, scale (d + 1,): raw column = scale * column + center, inputs first (zeros and ones when not standardised).
    """

    x: np.ndarray
    y: np.ndarray
    pool_x: np.ndarray
    pool_y: np.ndarray
    pool_truth: np.ndarray
    center: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Target:
    """What every target has: how many rows, where the inputs lie, and what is done to them.

    points       rows generated
    inputs       ``grid`` (equally spaced, both ends), ``uniform`` on [low, high], ``normal`` (standard)
    low, high    range of the inputs (unused by ``normal``)
    noise        standard deviation of the normal noise added to f(x)
    observed     rows sampled without replacement for training; null: all
    standardise  columns of the observed rows get mean 0 and standard deviation 1 (n - 1 in the denominator)
    float32      x is rounded to float32 before f and y after, as a script does that stores them so
    """

    points: Annotated[int, AtLeast(1)]
    inputs: Literal["grid", "uniform", "normal"]
    low: float
    high: float
    noise: Annotated[float, AtLeast(0)]
    observed: Annotated[int, AtLeast(1)] | None
    standardise: bool
    float32: bool

    name: ClassVar[str]
    dim: ClassVar[int] = 1
    text: ClassVar[str | None] = None  # f(x) over the fields, as formula.py reads it; None: not written so

    def __init_subclass__(cls, *, name: str, dim: int = 1) -> None:
        if name in TARGETS:
            raise ConfigError(f"target {name}: there is one of this name already; choose another")
        cls.name, cls.dim = name, dim
        TARGETS[name] = cls

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """f(x) without noise: (n, d) -> (n, 1)."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """What is wrong with the combination of fields, or None."""
        if self.inputs != "normal" and not self.low < self.high:
            return f"target.low={self.low} must be below target.high={self.high}"
        if self.observed is not None and self.observed > self.points:
            return f"target.observed={self.observed} must be at most target.points={self.points}"
        if self.standardise and (self.observed or self.points) < 2:
            return "target.standardise=true needs at least 2 rows"
        return None

    def rows(self, rng: Any) -> Rows:
        """Draw the rows of one replica: inputs, then noise, then which rows are observed."""
        x = self._round(self._inputs(rng))
        truth = self._truth(x)
        y = self._round(truth + rng.normal(0.0, self.noise, truth.shape) if self.noise > 0 else truth)
        seen = slice(None) if self.observed is None else rng.choice(self.points, self.observed, replace=False)
        columns = np.hstack([x[seen], y[seen]])
        center, scale = np.zeros(self.dim + 1), np.ones(self.dim + 1)
        if self.standardise:
            center, scale = columns.mean(axis=0), columns.std(axis=0, ddof=1)
        pool_x = (x - center[:-1]) / scale[:-1]
        pool_y, pool_truth = ((v - center[-1:]) / scale[-1:] for v in (y, truth))
        return Rows(pool_x[seen], pool_y[seen], pool_x, pool_y, pool_truth, center, scale)

    def _truth(self, x: np.ndarray) -> np.ndarray:
        """f(x). Raises ConfigError in one line if the function fails, or gives another shape or no finite numbers."""
        try:
            with np.errstate(all="ignore"):
                truth = np.asarray(self(x), dtype=float)
        except Exception as error:
            raise ConfigError(f"target {self.name}: {' '.join(f'{type(error).__name__}: {error}'.split())}") from error
        if truth.shape != (len(x), 1):
            raise ConfigError(
                f"target {self.name}: f(x) has shape {truth.shape}; it must be ({len(x)}, 1) for x {x.shape}"
            )
        if not np.isfinite(truth).all():
            at = x[~np.isfinite(truth[:, 0])][0]
            raise ConfigError(
                f"target {self.name}: f(x) is not finite at x = {at.tolist()}; see target.low and target.high"
            )
        return truth

    def _inputs(self, rng: Any) -> np.ndarray:
        if self.inputs == "grid":
            return np.repeat(np.linspace(self.low, self.high, self.points)[:, None], self.dim, axis=1)
        if self.inputs == "uniform":
            return rng.uniform(self.low, self.high, (self.points, self.dim))
        return rng.normal(0.0, 1.0, (self.points, self.dim))

    def _round(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64) if self.float32 else values


@dataclass(frozen=True, kw_only=True)
class Tower(Target, name="tower"):
    """A step function: levels[0] below edges[0], levels[1] from there to edges[1], levels[2] from edges[1] on."""

    levels: tuple[float, float, float]
    edges: tuple[float, float]

    text = "where(x < {edges[0]}, {levels[0]}, where(x < {edges[1]}, {levels[1]}, {levels[2]}))"

    def problem(self) -> str | None:
        if not self.edges[0] < self.edges[1]:
            return f"target.edges={list(self.edges)}: must increase"
        return super().problem()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.levels)[np.searchsorted(self.edges, x, side="right")]


@dataclass(frozen=True, kw_only=True)
class Plane(Target, name="plane", dim=3):
    """c1 x1 + c2 x2 + c3 x3."""

    coefficients: tuple[float, float, float]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(self.coefficients)[:, None]


@dataclass(frozen=True, kw_only=True)
class Line(Target, name="line"):
    """slope x + intercept."""

    slope: float
    intercept: float

    text = "{slope} * x + {intercept}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.slope * x + self.intercept


@dataclass(frozen=True, kw_only=True)
class Sine(Target, name="sine"):
    """amplitude sin x + offset."""

    amplitude: float
    offset: float

    text = "{amplitude} * sin(x) + {offset}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.amplitude * np.sin(x) + self.offset


@dataclass(frozen=True, kw_only=True)
class Parabola(Target, name="parabola"):
    """curvature x^2."""

    curvature: float

    text = "{curvature} * x^2"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.curvature * (x * x)


@dataclass(frozen=True, kw_only=True)
class Formula(Target, name="formula"):
    """f, written out: see formula.py for what may stand in it."""

    f: str

    text = "{f}"

    def problem(self) -> str | None:
        formula.parse(self.f)
        return super().problem()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return formula.parse(self.f)(x)


def keys(target: type[Target]) -> list[str]:
    """The YAML keys of a target."""
    return [field.name for field in fields(target)]


_LOADED: dict[Path, Any] = {}


def load_user_targets(file: Path) -> None:
    """Import the user's targets from this file, once. Raises ConfigError in one line if it can't be imported."""
    if file in _LOADED or not file.is_file():
        return
    spec = importlib.util.spec_from_file_location(f"mlpfit_user_targets_{len(_LOADED)}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = dict(TARGETS)
    try:
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    except Exception as error:
        TARGETS.clear()
        TARGETS.update(known)
        raise ConfigError(f"{file}: {' '.join(f'{type(error).__name__}: {error}'.split())}") from error
    _LOADED[file] = module
