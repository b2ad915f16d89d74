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
from torch.utils._python_dispatch import TorchDispatchMode

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


class _Drawing(TorchDispatchMode):
    """Within it torch draws from rng."""

    def __init__(self, rng: Any) -> None:
        super().__init__()
        self.rng, self.seeded = rng, False

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        aten = torch.ops.aten
        if operation is aten.uniform_.default:
            return _filled(args, (0.0, 1.0), self.rng.uniform)
        if operation is aten.normal_.default:
            return _filled(args, (0.0, 1.0), self.rng.normal)
        if operation in (aten.randperm.default, aten.randperm.generator):
            order = np.argsort(self.rng.uniform(0.0, 1.0, (args[0],)), kind="stable")
            return torch.from_numpy(order)
        if operation is aten.linalg_qr.default:
            return tuple(map(torch.from_numpy, orthogonal_triangular(args[0].numpy())))
        if torch.Tag.nondeterministic_seeded in operation.tags and not self.seeded:
            self.seeded = True
            torch.manual_seed(int(self.rng.uniform(0.0, 2.0**32, (1,))[0]))
        return operation(*args, **(kwargs or {}))


def _filled(args: tuple[Any, ...], standard: tuple[float, float], draw: Any) -> Tensor:
    """The tensor of a call (tensor, low or mean, high or sd), filled."""
    tensor, *numbers = args
    both = [*numbers, *standard[len(numbers) :]]
    values = np.asarray(draw(both[0], both[1], tuple(tensor.shape)))
    return tensor.copy_(torch.from_numpy(np.ascontiguousarray(values)))


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
