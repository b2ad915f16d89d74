"""Ready sets of points of classes in the plane: moons, circles, blobs, spirals, xor.

They have the arguments and shapes of those in ``sklearn.datasets``, where there are such, with
numbers of the replica's own generator. ``noise`` is added to the points (:class:`Sampled`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from mlpfit.data import elementary
from mlpfit.data.targets import Noise, Sampled

Count = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class Points(Sampled, dim=2, classes=2):
    """Base of the sets: points in the plane, in random order.

    points       rows generated, divided equally among the classes; the first ones get one more
                 where that is not possible
    noise        standard deviation of the normal noise added to the points
    observed     rows sampled without replacement for training; null: all
    standardise  both inputs of the training rows get mean 0 and standard deviation 1
    float32      points are rounded to float32, as in a script that stores them as float32
    """

    points: Count
    noise: Noise
    observed: Count | None
    standardise: bool
    float32: bool

    is_shuffled: ClassVar[bool] = True

    def problem(self) -> str | None:
        if self.points < self.classes:
            return f"target.points={self.points}: must be at least one for each of {self.classes}"
        return super().problem()

    def _all_rows(self, rng: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y, truth = super()._all_rows(rng)
        order = rng.permutation(self.points) if self.is_shuffled else slice(None)
        return x[order], y[order], truth[order]

    @property
    def sizes(self) -> list[int]:
        """Points of each class."""
        each, more = divmod(self.points, self.classes)
        return [each + (number < more) for number in range(self.classes)]

    @property
    def numbers(self) -> np.ndarray:
        """The class of each point, (points, 1), class by class."""
        return np.repeat(np.arange(float(self.classes)), self.sizes)[:, None]


@dataclass(frozen=True, kw_only=True)
class Moons(Points, name="moons"):
    """Two interleaving half circles, as ``sklearn.datasets.make_moons``: class 0 is (cos t, sin t),
    class 1 is (1 - cos t, 1/2 - sin t), t evenly from 0 to pi."""

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        upper, lower = (np.linspace(0.0, np.pi, size) for size in self.sizes)
        first = [elementary.cos(upper), elementary.sin(upper)]
        second = [1.0 - elementary.cos(lower), 0.5 - elementary.sin(lower)]
        return np.hstack([np.stack(first), np.stack(second)]).T, self.numbers


@dataclass(frozen=True, kw_only=True)
class Circles(Points, name="circles"):
    """A circle of radius 1 (class 0) around one of radius ``factor`` (class 1), as
    ``sklearn.datasets.make_circles``."""

    factor: Annotated[float, Gt(0), Lt(1)]

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for radius, size in zip((1.0, self.factor), self.sizes, strict=True):
            angle = np.arange(size) * (2.0 * np.pi / size)
            parts.append(radius * np.stack([elementary.cos(angle), elementary.sin(angle)], axis=1))
        return np.concatenate(parts), self.numbers


@dataclass(frozen=True, kw_only=True)
class Blobs(Points, name="blobs"):
    """Normal clouds, as ``sklearn.datasets.make_blobs``.

    centers  number of classes, each with a center uniform on the square [low, high], or the list of
             the centers [[x1, x2], ...], which are then those of every replica
    noise    standard deviation of the points around their center
    """

    centers: Annotated[int, Ge(2), Lt(1000)] | tuple[tuple[float, float], ...]
    low: float
    high: float

    @property
    def classes(self) -> int:
        return self.centers if isinstance(self.centers, int) else len(self.centers)

    def problem(self) -> str | None:
        if self.classes < 2:
            return f"target.centers={list(map(list, self.centers))}: must be at least two"  # type: ignore[arg-type]
        if isinstance(self.centers, int) and not self.low < self.high:
            return f"target.low={self.low} must be below target.high={self.high}"
        return super().problem()

    def fresh(
        self, rng: Any, count: int, replay: Callable[[], Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Around the centers of the replica's rows, which are the first numbers of its stream."""
        centers = tuple(map(tuple, self._centers(replay())))
        return replace(self, centers=centers)._fresh(rng, count)

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(self._centers(rng), self.sizes, axis=0), self.numbers

    def _centers(self, rng: Any) -> np.ndarray:
        """(classes, 2)."""
        if isinstance(self.centers, int):
            return rng.uniform(self.low, self.high, (self.centers, 2))
        return np.array(self.centers)


@dataclass(frozen=True, kw_only=True)
class Spirals(Points, name="spirals"):
    """Arms of a spiral around the origin, as in Andrej Karpathy's course CS231n: the radius of an
    arm's points grows evenly from 0 to 1, and their angle evenly by turns (2 pi).

    arms         number of classes
    turns        of an arm around the origin
    apart        turns between an arm and the next; null: 1 / arms, all equally far
    angle_noise  standard deviation of the normal noise added to the angles, in radians: that of
                 CS231n and many after it; ``noise`` is added to the points
    """

    arms: Annotated[int, Ge(2), Lt(1000)]
    turns: Annotated[float, Gt(0)]
    apart: Annotated[float, Gt(0)] | None
    angle_noise: Annotated[float, Ge(0)]

    @property
    def classes(self) -> int:
        return self.arms

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        radius = np.concatenate([np.linspace(0.0, 1.0, size) for size in self.sizes])
        apart = 1.0 / self.arms if self.apart is None else self.apart
        angle = 2.0 * np.pi * (self.turns * radius + self.numbers[:, 0] * apart)
        if self.angle_noise > 0:
            angle = angle + rng.normal(0.0, self.angle_noise, angle.shape)
        unit = np.stack([elementary.cos(angle), elementary.sin(angle)], axis=1)
        return radius[:, None] * unit, self.numbers


@dataclass(frozen=True, kw_only=True)
class Xor(Points, name="xor"):
    """Exclusive or: class 1 where exactly one of the inputs is above the middle of low and high.

    inputs     ``corners``: low or high, the four points in turn, as on pages that learn the table
               of xor; ``uniform``: anywhere in the square [low, high]
    low, high  of each input: 0 and 1, or -1 and 1
    """

    inputs: Literal["corners", "uniform"]
    low: float
    high: float

    is_shuffled = False

    def _without_noise(self, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.inputs == "uniform":
            x = rng.uniform(self.low, self.high, (self.points, 2))
        else:
            bits = np.arange(self.points)[:, None] // [2, 1] % 2
            x = np.where(bits, self.high, self.low)
        above = x > 0.5 * (self.low + self.high)
        return x, (above[:, :1] != above[:, 1:]).astype(float)

    def problem(self) -> str | None:
        if not self.low < self.high:
            return f"target.low={self.low} must be below target.high={self.high}"
        return super().problem()
