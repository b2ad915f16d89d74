"""Targets: what is to be learnt, and how the rows of a training are sampled from it.

A target is a frozen dataclass whose fields are the keys of its YAML (``conf/target/<name>.yaml``).
Most are functions: a subclass of :class:`Target` with a name, its numbers of inputs and outputs and
``__call__``; users write theirs in ``targets.py`` of a folder named in MLPFIT_PATH. Ready point
sets of classes are in :mod:`mlpfit.data.points`, rows of a file in :mod:`mlpfit.data.table`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from annotated_types import Ge

from mlpfit.data import formula
from mlpfit.data.split import Parts
from mlpfit.errors import ConfigError, as_config_error

TARGETS: dict[str, type["Source"]] = {}
Noise = Annotated[float, Ge(0)] | str  # a standard deviation, or a formula of it


@dataclass(frozen=True)
class Rows:
    """The rows of one replica, float64: ``x`` and ``y`` for training, ``pool_*`` all there are.

    x (n, d), y (n, o); pool_x (m, d), pool_y (m, o), pool_truth (m, o): y without noise;
    center, scale (d + o,): raw column = scale * column + center, inputs first (zeros and ones if
    not standardised); val_x, val_y, test_x, test_y: rows held out by a split, None without one.
    """

    x: np.ndarray
    y: np.ndarray
    pool_x: np.ndarray
    pool_y: np.ndarray
    pool_truth: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    val_x: np.ndarray | None = None
    val_y: np.ndarray | None = None
    test_x: np.ndarray | None = None
    test_y: np.ndarray | None = None


class Source:
    """Base of all targets: where rows come from.

    A subclass names itself and says how many columns x and y have, and of how many classes y is the
    number, if it is one: ``class Disc(Target, name="disc", dim=2, classes=2)``. Where that depends
    on its fields, they are properties.

    dim      columns of x
    outputs  columns of y
    classes  y (n, 1) is the number 0 .. classes - 1 of a class; None: y are numbers to regress on
    """

    points: int  # rows there are
    observed: int | None  # of them, sampled without replacement; None: all
    standardise: bool
    float32: bool

    name: ClassVar[str]
    dim: ClassVar[int] = 1
    outputs: ClassVar[int] = 1
    classes: ClassVar[Any] = None
    text: ClassVar[str | None] = None  # f(x) as a formula with fields in braces, or None
    is_endless: ClassVar[bool] = True  # whether it has fresh rows for validation and test
    # For pydantic, as config.checking.Section
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        dim: int | None = None,
        outputs: int | None = None,
        classes: int | None = None,
    ) -> None:
        for key, value in (("dim", dim), ("outputs", outputs), ("classes", classes)):
            if value is not None:
                setattr(cls, key, value)
        if name is None:  # a base of others
            return
        if name in TARGETS and TARGETS[name].__module__ != cls.__module__:
            raise ConfigError(f"target {name}: there is already one of this name; choose another")
        cls.name = name
        TARGETS[name] = cls

    @property
    def rows_observed(self) -> int:
        """Rows before a split."""
        return self.points if self.observed is None else self.observed

    def within(self, folder: Path) -> Self:
        """The same target with the files that it names found in this folder."""
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """f(x) without noise, of a target that is a function: (n, d) -> (n, o)."""
        raise ConfigError(f"target {self.name}: has rows, and is no function of x")

    def files(self) -> list[Path]:
        """Files that decide its rows, beside its code."""
        return []

    def problem(self) -> str | None:
        """A problem of the combination of fields, or None."""
        if self.observed is not None and self.observed > self.points:
            return f"target.observed={self.observed} must be at most target.points={self.points}"
        if self.standardise and (self.observed or self.points) < 2:
            return "target.standardise=true needs at least 2 rows"
        if self.classes is not None and self.outputs != 1:
            return f"target {self.name}: has classes, so y must be one column, their number"
        return None

    def rows(self, rng: Any, parts: Parts | None = None) -> Rows:
        """Draw the rows of one replica. parts: which of the observed rows are for training, for
        validation and for test; None: all are for training.

        With ``standardise`` the columns of the training rows get mean 0 and standard deviation 1
        (n - 1 in the denominator), all other rows the same shift and scale; class numbers stay.
        """
        x, y, truth = self._all_rows(rng)
        observed: Any = slice(None)
        if self.observed is not None:
            observed = rng.choice(self.points, self.observed, replace=False)
        chosen = observed
        if parts is not None:
            numbers = np.arange(self.points)[observed]
            chosen, *held_out = (numbers[part] for part in parts)
        inputs, columns = x.shape[1], x.shape[1] + y.shape[1]
        center, scale = np.zeros(columns), np.ones(columns)
        if self.standardise:
            values = np.hstack([x[chosen], y[chosen]])
            last = columns if self.classes is None else inputs
            center[:last] = values.mean(axis=0)[:last]
            scale[:last] = values.std(axis=0, ddof=1)[:last]
            if not scale.all():
                constant = int(np.argmin(scale))
                which = f"input {constant + 1}" if constant < inputs else "an output"
                raise ConfigError(
                    f"target.standardise=true: {which} has the same value in all training rows"
                )
        pool_x = (x - center[:inputs]) / scale[:inputs]
        pool_y, pool_truth = ((v - center[inputs:]) / scale[inputs:] for v in (y, truth))
        rows = pool_x[chosen], pool_y[chosen], pool_x, pool_y, pool_truth, center, scale
        if parts is None:
            return Rows(*rows)
        held = [v[part] if len(part) else None for part in held_out for v in (pool_x, pool_y)]
        return Rows(*rows, *held)

    def fresh(
        self, rng: Any, count: int, replay: Callable[[], Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """New rows of the same function with new noise, not standardised: x (count, d), y (count,
        o). replay: makes a generator that draws the replica's own rows again, for what the new ones
        share with them. Only if ``is_endless``."""
        raise NotImplementedError

    def _all_rows(self, rng: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All rows: x (m, d), y (m, o), and y without noise (m, o)."""
        raise NotImplementedError

    def _round(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64) if self.float32 else values


class Sampled(Source):
    """Base of the targets whose rows are drawn: any number of them, with noise.

    noise  standard deviation of the normal noise that is added to f(x): a number, or a formula of
           the inputs such as "0.1 * abs(x)" (x1, x2, ... of several inputs). Where y is the number
           of a class it is added to the inputs instead, after the class is known, as in
           ``sklearn.datasets.make_moons``.
    """

    noise: Noise

    def problem(self) -> str | None:
        if isinstance(self.noise, str):
            formula.parse(self.noise, "target.noise", self.dim)
        return super().problem()

    def fresh(
        self, rng: Any, count: int, replay: Callable[[], Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._fresh(rng, count)

    def _fresh(self, rng: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        x, y, _ = self._of_size(count)._all_rows(rng)
        return x, y

    def _of_size(self, points: int) -> Self:
        """The same target with another number of points; kept, as is its grid."""
        if points not in self._sizes:
            changes = {"points": points, "observed": None, "standardise": False}
            self._sizes[points] = replace(self, **changes)  # type: ignore[type-var]
        return self._sizes[points]

    @cached_property
    def _sizes(self) -> dict[int, Self]:
        return {}

    def _all_rows(self, rng: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, truth = self._without_noise(rng)
        if self.noise == 0:
            return x, self._round(truth), truth
        of = truth if self.classes is None else x
        if isinstance(self.noise, str):
            added = self._deviation(x) * rng.normal(0.0, 1.0, of.shape)
        else:
            added = rng.normal(0.0, self.noise, of.shape)
        if self.classes is None:
            return x, self._round(truth + added), truth
        return self._round(x + added), truth, truth

    def _deviation(self, x: np.ndarray) -> np.ndarray:
        """The standard deviation of the noise at x: (m, 1). Raises ConfigError where it is none."""
        values = formula.parse(str(self.noise), "target.noise", self.dim)(x)
        if not (np.isfinite(values) & (values >= 0)).all():
            at = x[~(np.isfinite(values) & (values >= 0))[:, 0]][0]
            raise ConfigError(
                f"target.noise={self.noise!r}: is no standard deviation at x = {at.tolist()}; it "
                "must be 0 or more"
            )
        return values

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        """x (m, d) and y without noise (m, o) of all rows."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Target(Sampled):
    """Base of the targets that are functions: number of rows, distribution of the inputs, noise,
    standardisation.

    points       rows generated
    inputs       ``grid`` (equally spaced, both ends; of several inputs the mesh of as many values
                 of each), ``uniform`` on [low, high], ``normal`` (standard)
    low, high    range of the inputs (unused by ``normal``)
    noise        standard deviation of the noise, a number or a formula of x: :class:`Sampled`
    observed     rows sampled without replacement for training; null: all
    standardise  columns of the training rows get mean 0 and standard deviation 1
    float32      x and y are rounded to float32, as in a script that stores them as float32
    """

    points: Annotated[int, Ge(1)]
    inputs: Literal["grid", "uniform", "normal"]
    low: float
    high: float
    noise: Noise
    observed: Annotated[int, Ge(1)] | None
    standardise: bool
    float32: bool

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """f(x) without noise: (n, d) -> (n, o)."""
        raise NotImplementedError

    def problem(self) -> str | None:
        if self.inputs != "normal" and not self.low < self.high:
            return f"target.low={self.low} must be below target.high={self.high}"
        if self.inputs == "grid" and self._side**self.dim != self.points:
            near = f"{self._side**self.dim} or {(self._side + 1) ** self.dim}"
            return (
                f"target.points={self.points}: a grid of {self.dim} inputs has as many values of "
                f"each, {near} points"
            )
        return super().problem()

    def _fresh(self, rng: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        if self.inputs == "grid":  # of several inputs the largest mesh within
            count = _root(count, self.dim) ** self.dim
        return super()._fresh(rng, count)

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        return self._grid if self.inputs == "grid" else self._with_truth(self._inputs(rng))

    @property
    def _side(self) -> int:
        """Values of each input on a grid."""
        return _root(self.points, self.dim)

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (m, d) and f(x) (m, o), which all replicas share."""
        values = np.linspace(self.low, self.high, self._side)
        mesh = np.meshgrid(*[values] * self.dim, indexing="ij")
        return self._with_truth(np.stack([axis.ravel() for axis in mesh], axis=1))

    def _with_truth(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._round(inputs)
        return x, self._truth(x)

    def _truth(self, x: np.ndarray) -> np.ndarray:
        """f(x). Raises ConfigError if f fails, has a wrong shape or is not finite, or no class."""
        with as_config_error(f"target {self.name}"), np.errstate(all="ignore"):
            truth = np.asarray(self(x), dtype=float)
        if truth.shape != (len(x), self.outputs):
            raise ConfigError(
                f"target {self.name}: f(x) has shape {truth.shape}; "
                f"it must be ({len(x)}, {self.outputs}) for x {x.shape}"
            )
        if not np.isfinite(truth).all():
            at = x[~np.isfinite(truth).all(axis=1)][0]
            raise ConfigError(
                f"target {self.name}: f(x) is not finite at x = {at.tolist()}; "
                "see target.low and target.high"
            )
        check_classes(f"target {self.name}", truth, self.classes)
        return truth

    def _inputs(self, rng: Any) -> np.ndarray:
        if self.inputs == "uniform":
            return rng.uniform(self.low, self.high, (self.points, self.dim))
        return rng.normal(0.0, 1.0, (self.points, self.dim))


@dataclass(frozen=True, kw_only=True)
class Formula(Target, name="formula"):
    """f given as text, or as a list of texts, one for each output; see formula.py. With x1, x2, ...
    it has as many inputs as the highest of them says."""

    f: str | tuple[str, ...]

    text = "{f}"

    @property
    def dim(self) -> int:  # type: ignore[override]
        return max(formula.inputs_of(text) for text in self.texts)

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return len(self.texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The formula of each output."""
        return (self.f,) if isinstance(self.f, str) else self.f

    def problem(self) -> str | None:
        if not self.texts:
            return "target.f=[]: must have a formula for each output"
        for text in self.texts:
            formula.parse(text, dim=self.dim)
        return super().problem()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.hstack([formula.parse(text, dim=self.dim)(x) for text in self.texts])


def check_classes(culprit: str, y: np.ndarray, classes: int | None) -> None:
    """Raises ConfigError unless y, if it is of classes, are whole numbers 0 .. classes - 1."""
    if classes is None:
        return
    if wrong := sorted({*np.unique(y).tolist()} - {*map(float, range(classes))}):
        raise ConfigError(
            f"{culprit}: y = {wrong[0]:g} is none of the {classes} classes, which are numbered 0 "
            f"to {classes - 1}"
        )


def _root(number: int, degree: int) -> int:
    """The largest whole number whose power of this degree is at most the number."""
    root = max(round(number ** (1 / degree)), 1)
    return root if root**degree <= number else root - 1


def keys(target: type[Source]) -> list[str]:
    """The YAML keys of a target."""
    return [field.name for field in fields(target)]  # type: ignore[arg-type]
