"""Targets: the functions to be learnt, and how rows are sampled from them.

A target is a frozen dataclass whose fields are the keys of its YAML (``conf/target/<name>.yaml``).
A new one is a subclass with a name, an input dimension and ``__call__``; users write theirs in
``targets.py`` of a folder named in MLPFIT_PATH.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from mlpfit.data import formula
from mlpfit.errors import ConfigError, as_config_error

TARGETS: dict[str, type["Target"]] = {}


@dataclass(frozen=True)
class Rows:
    """The rows of one replica, float64: ``x`` and ``y`` for training, ``pool_*`` all generated.

    x (n, d), y (n, 1); pool_x (m, d), pool_y (m, 1), pool_truth (m, 1): y without noise;
    center, scale (d + 1,): raw column = scale * column + center, inputs first (zeros and ones if
    not standardised).
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
    """Base of all targets: number of rows, distribution of the inputs, noise, standardisation.

    points       rows generated
    inputs       ``grid`` (equally spaced, both ends), ``uniform`` on [low, high], ``normal``
                 (standard)
    low, high    range of the inputs (unused by ``normal``)
    noise        standard deviation of the normal noise added to f(x)
    observed     rows sampled without replacement for training; null: all
    standardise  columns of the observed rows get mean 0 and standard deviation 1 (n - 1 in the
                 denominator)
    float32      x and y are rounded to float32, as in a script that stores them as float32
    """

    points: Annotated[int, Ge(1)]
    inputs: Literal["grid", "uniform", "normal"]
    low: float
    high: float
    noise: Annotated[float, Ge(0)]
    observed: Annotated[int, Ge(1)] | None
    standardise: bool
    float32: bool

    name: ClassVar[str]
    dim: ClassVar[int] = 1
    text: ClassVar[str | None] = None  # f(x) as a formula with fields in braces, or None
    # For pydantic, as config.checking.Section
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    def __init_subclass__(cls, *, name: str, dim: int = 1) -> None:
        if name in TARGETS and TARGETS[name].__module__ != cls.__module__:
            raise ConfigError(f"target {name}: there is already one of this name; choose another")
        cls.name, cls.dim = name, dim
        TARGETS[name] = cls

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """f(x) without noise: (n, d) -> (n, 1)."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """A problem of the combination of fields, or None."""
        if self.inputs != "normal" and not self.low < self.high:
            return f"target.low={self.low} must be below target.high={self.high}"
        if self.observed is not None and self.observed > self.points:
            return f"target.observed={self.observed} must be at most target.points={self.points}"
        if self.standardise and (self.observed or self.points) < 2:
            return "target.standardise=true needs at least 2 rows"
        return None

    def rows(self, rng: Any) -> Rows:
        """Draw the rows of one replica: inputs, then noise, then which rows are observed."""
        x, truth = self._grid if self.inputs == "grid" else self._with_truth(self._inputs(rng))
        y = truth + rng.normal(0.0, self.noise, truth.shape) if self.noise > 0 else truth
        y = self._round(y)
        observed: Any = slice(None)
        if self.observed is not None:
            observed = rng.choice(self.points, self.observed, replace=False)
        columns = np.hstack([x[observed], y[observed]])
        center, scale = np.zeros(self.dim + 1), np.ones(self.dim + 1)
        if self.standardise:
            center, scale = columns.mean(axis=0), columns.std(axis=0, ddof=1)
        pool_x = (x - center[:-1]) / scale[:-1]
        pool_y, pool_truth = ((v - center[-1:]) / scale[-1:] for v in (y, truth))
        return Rows(pool_x[observed], pool_y[observed], pool_x, pool_y, pool_truth, center, scale)

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (m, d) and f(x) (m, 1), which all replicas share."""
        grid = np.linspace(self.low, self.high, self.points)
        return self._with_truth(np.repeat(grid[:, None], self.dim, axis=1))

    def _with_truth(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._round(inputs)
        return x, self._truth(x)

    def _truth(self, x: np.ndarray) -> np.ndarray:
        """f(x). Raises ConfigError if f fails, has a wrong shape or is not finite."""
        with as_config_error(f"target {self.name}"), np.errstate(all="ignore"):
            truth = np.asarray(self(x), dtype=float)
        if truth.shape != (len(x), 1):
            raise ConfigError(
                f"target {self.name}: f(x) has shape {truth.shape}; "
                f"it must be ({len(x)}, 1) for x {x.shape}"
            )
        if not np.isfinite(truth).all():
            at = x[~np.isfinite(truth[:, 0])][0]
            raise ConfigError(
                f"target {self.name}: f(x) is not finite at x = {at.tolist()}; "
                "see target.low and target.high"
            )
        return truth

    def _inputs(self, rng: Any) -> np.ndarray:
        if self.inputs == "uniform":
            return rng.uniform(self.low, self.high, (self.points, self.dim))
        return rng.normal(0.0, 1.0, (self.points, self.dim))

    def _round(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64) if self.float32 else values


@dataclass(frozen=True, kw_only=True)
class Formula(Target, name="formula"):
    """f given as text, see formula.py."""

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
