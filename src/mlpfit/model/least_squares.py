"""Least squares, the same bits on every processor and among any replicas.

LAPACK's and MKL's results depend on both. Here every operation is elementwise over the replicas and
every sum has a fixed order.
"""

import numpy as np

from mlpfit.data.elementary import sum_rows

SWEEPS = 60  # at most; Jacobi's method needs some ten


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight (R, d, 1) and bias (R, 1, 1), float64, that minimise the sum of squares of
    x (R, n, d) @ weight + bias - y (R, n, 1); of least norm, bias included, if several do, as in
    :func:`solve`."""
    solution = solve(np.concatenate([x, np.ones_like(y)], axis=2), y)
    return solution[:, :-1], solution[:, -1:]


def solve(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The solution (R, p, 1), float64, of design (R, n, p) @ solution = y (R, n, 1) by least
    squares.

    If there are several (fewer rows than columns, or dependent columns), the one of least norm,
    where singular values below max(n, p) 2^-52 of the largest count as 0. The design is made
    triangular by Householder reflections (Golub and Van Loan 2013, algorithm 5.2.1), and the
    triangle solved through its singular values by one-sided Jacobi rotations (Hestenes 1958, J.
    SIAM 6). Not finite where the rows are not, or their squares overflow.
    """
    replicas, rows, size = design.shape
    length = max(rows, size)  # rows of zeros change nothing
    columns = np.zeros((size + 1, length, replicas))
    columns[:-1, :rows] = design.transpose(2, 1, 0)
    columns[-1, :rows] = y[..., 0].T
    with np.errstate(all="ignore"):
        _reflect(columns)
        triangle = np.triu(columns[:-1, :size].transpose(2, 1, 0)).transpose(2, 1, 0)
        solution = _solve_triangle(triangle, columns[-1, :size], length * 2.0**-52)
    return solution.T[..., None].copy()


def _reflect(columns: np.ndarray) -> None:
    """Make columns (p + 1, n, R) upper triangular in the first p of them, in place."""
    for k in range(len(columns) - 1):
        vector = columns[k, k:].copy()
        vector[0] += np.copysign(np.sqrt(sum_rows(vector * vector)), vector[0])
        square = sum_rows(vector * vector)
        for column in columns[k:, k:]:
            factor = np.where(square > 0, 2 * sum_rows(vector * column) / square, 0.0)
            column -= factor * vector


def _solve_triangle(matrix: np.ndarray, right: np.ndarray, least: float) -> np.ndarray:
    """The solution (p, R) of least norm of matrix (p, p, R: columns first) times it = right (p, R);
    least: the smallest singular value, relative to the largest, that is not 0."""
    size = len(matrix)
    right_vectors = np.zeros_like(matrix)
    right_vectors[np.arange(size), np.arange(size)] = 1.0
    for _ in range(SWEEPS):
        rotated = [
            _rotate(matrix, right_vectors, i, j) for i in range(size) for j in range(i + 1, size)
        ]
        if not any(rotated):
            break
    squares = np.stack([sum_rows(column * column) for column in matrix])
    products = np.stack([sum_rows(column * right) for column in matrix])
    kept = np.sqrt(squares) > least * np.sqrt(squares.max(axis=0))
    factors = np.where(kept, products / squares, 0.0)
    factors = np.where(np.isfinite(squares).all(axis=0), factors, np.nan)
    return sum_rows(factors[:, None] * right_vectors)


def _rotate(matrix: np.ndarray, right_vectors: np.ndarray, i: int, j: int) -> bool:
    """Make columns i and j orthogonal, in place, where they are not; whether any replica's were
    not."""
    a, b = matrix[i], matrix[j]
    aa, bb, ab = sum_rows(a * a), sum_rows(b * b), sum_rows(a * b)
    oblique = np.abs(ab) > 2.0**-52 * np.sqrt(aa) * np.sqrt(bb)
    if not oblique.any():
        return False
    zeta = (bb - aa) / np.where(oblique, 2 * ab, 1.0)
    tangent = np.copysign(1.0, zeta) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
    tangent = np.where(oblique, tangent, 0.0)
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    sine = cosine * tangent
    for vectors in (matrix, right_vectors):
        first, second = vectors[i].copy(), vectors[j].copy()
        vectors[i] = cosine * first - sine * second
        vectors[j] = sine * first + cosine * second
    return True
