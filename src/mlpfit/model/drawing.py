"""Functions of ``torch.nn.init``, and a user's own, with numbers from a replica's generator.

torch's own generator and its matrix factorisations have other bits on other processors. Here the
functions run as torch has them, but what they draw, and the QR decomposition of ``orthogonal_``,
is computed in an order that is written down.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mlpfit.data.elementary import sum_rows


def drawn(fill: Callable[[Tensor], Any], shape: tuple[int, ...], rng: Any) -> np.ndarray:
    """What the function writes into a tensor of this shape, float64.

    Uniform and normal numbers and permutations come from rng. Any other random number that a
    function of the user's draws is of torch's generator, seeded from rng.
    """
    tensor = torch.zeros(shape, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]), _Drawing(rng):
        fill(tensor)
    return tensor.numpy()


class _Drawing(TorchFunctionMode):
    """Within it torch draws from rng."""

    def __init__(self, rng: Any) -> None:
        super().__init__()
        self.rng, self.seeded = rng, False

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = {k: v for k, v in (kwargs or {}).items() if k != "generator"}
        if function is Tensor.uniform_:
            return self._fill(*_bounds(("from", 0.0), ("to", 1.0), args, given), self.rng.uniform)
        if function is Tensor.normal_:
            return self._fill(*_bounds(("mean", 0.0), ("std", 1.0), args, given), self.rng.normal)
        if function is torch.randperm:
            return torch.from_numpy(
                np.argsort(self.rng.uniform(0.0, 1.0, (args[0],)), kind="stable")
            )
        if function is torch.linalg.qr:
            return tuple(map(torch.from_numpy, orthogonal_triangular(args[0].numpy())))
        if not self.seeded and getattr(function, "__name__", "").endswith(RANDOM):
            self.seeded = True
            torch.manual_seed(int(self.rng.uniform(0.0, 2.0**32, (1,))[0]))
        return function(*args, **(kwargs or {}))

    def _fill(self, tensor: Tensor, low: float, high: float, draw: Any) -> Tensor:
        with torch.no_grad():
            return tensor.copy_(torch.from_numpy(np.asarray(draw(low, high, tuple(tensor.shape)))))


# Ends of the names of torch's other functions that draw numbers.
RANDOM: tuple[str, ...] = (
    "rand",
    "randn",
    "randint",
    "rand_like",
    "randn_like",
    "normal",
    "bernoulli",
    "bernoulli_",
    "random_",
)
RANDOM += ("multinomial", "poisson", "exponential_", "cauchy_", "log_normal_", "geometric_")
RANDOM += ("dropout", "rrelu")


def _bounds(
    first: tuple[str, float], second: tuple[str, float], args: tuple[Any, ...], given: Any
) -> tuple[Tensor, float, float]:
    """The tensor and the two numbers of a call, by place or by name."""
    tensor, *numbers = args
    low = numbers[0] if numbers else given.get(first[0], first[1])
    high = numbers[1] if len(numbers) > 1 else given.get(second[0], second[1])
    return tensor, low, high


def orthogonal_triangular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (m, n) and R (n, n) of a matrix (m, n), m >= n, by Householder reflections (Golub and Van
    Loan 2013, algorithm 5.2.1), every sum in a fixed order."""
    m, n = matrix.shape
    triangle, vectors = matrix.astype(float), []
    for k in range(n):
        vector = np.zeros(m)
        vector[k:] = triangle[k:, k]
        vector[k] += np.copysign(np.sqrt(sum_rows(vector * vector)), vector[k])
        vectors.append(vector)
        _reflect(triangle, vector)
    q = np.eye(m, n)
    for vector in reversed(vectors):
        _reflect(q, vector)
    return q, np.triu(triangle[:n])


def _reflect(columns: np.ndarray, vector: np.ndarray) -> None:
    """Reflect the columns at the plane orthogonal to the vector, in place."""
    if square := sum_rows(vector * vector):
        columns -= vector[:, None] * (2 * sum_rows(vector[:, None] * columns) / square)
