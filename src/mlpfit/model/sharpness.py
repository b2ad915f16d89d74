"""Sharpness: the largest eigenvalue of the loss's Hessian. Gradient descent is stable at learning
rates below 2 / sharpness.

The same bits on every processor and among any replicas: every operation is elementwise, every sum
has a fixed order.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mlpfit.data.elementary import sum_rows, tanh

Layers = Sequence[tuple[np.ndarray, np.ndarray]]  # weight (R, in, out), bias (R, 1, out)
ACTIVATIONS = ("relu", "tanh", "identity")
NUMBERS_AT_ONCE = 200_000  # of an array, 1.6 MB: larger ones get new pages for every result
HALVINGS = 64  # of an interval as wide as the spectrum: below its rounding


def sharpness(
    layers: Layers,
    x: np.ndarray,
    y: np.ndarray,
    kind: Literal["mse", "sse", "half_mse"],
    activation: Literal["relu", "tanh", "identity"],
) -> np.ndarray:
    """Sharpness (R,) of the loss on rows x (R, n, d), y (R, n, 1) at these layers (weight (R, in,
    out), bias (R, 1, out)); infinite where a Hessian is not finite.

    Near a minimum, gradient descent with learning rate h multiplies the distance along an
    eigenvector by 1 - h lambda, so it stays bounded while h < 2 / lambda (Nesterov 2004, section
    1.2.3). The error is some p rounding errors of the Hessian's norm, with p parameters.
    """
    replicas, rows, _ = x.shape
    parameters = sum(array[0].size for layer in layers for array in layer)
    widest = max(weight.shape[2] for weight, _ in layers)
    group = max(1, NUMBERS_AT_ONCE // max(parameters * parameters, rows * widest))
    largest = []
    for start in range(0, replicas, group):
        part = slice(start, start + group)
        some = [(weight[part], bias[part]) for weight, bias in layers]
        with np.errstate(all="ignore"):
            hessians = hessian(some, x[part], y[part], kind, activation)
            finite = np.isfinite(hessians).all(axis=(0, 1))
            values = largest_eigenvalue(np.where(finite, hessians, 0.0))
        largest.append(np.where(finite & np.isfinite(values), values, np.inf))
    return np.concatenate(largest)


def hessian(
    layers: Layers,
    x: np.ndarray,
    y: np.ndarray,
    kind: Literal["mse", "sse", "half_mse"],
    activation: Literal["relu", "tanh", "identity"],
) -> np.ndarray:
    """Hessians (p, p, R) in the parameters in the order weight, bias, layer by layer; arguments as
    of :func:`sharpness`.

    Every row is a directional derivative of the gradient: forward and backward pass, both
    differentiated along one parameter (Pearlmutter 1994, Neural Computation 6).
    """
    directions = _directions(layers)
    parameters, numbers = len(directions[0][0]), x.size * max(w.shape[2] for w, _ in layers)
    step = max(1, NUMBERS_AT_ONCE // max(1, numbers))
    parts = []
    for start in range(0, parameters, step):
        some = [(w[start : start + step], b[start : start + step]) for w, b in directions]
        parts.append(_derivatives(layers, some, x, y, kind, activation))
    rows = np.concatenate(parts, axis=1).transpose(1, 2, 0)
    return 0.5 * (rows + rows.swapaxes(0, 1))


def _derivatives(
    layers: Layers,
    directions: Layers,
    x: np.ndarray,
    y: np.ndarray,
    kind: str,
    activation: str,
) -> np.ndarray:
    """Derivatives (R, c, p) of the gradient along c directions, each a change of every weight
    (c, in, out) and bias (c, out). Arrays of a layer are (n, R, h), their derivatives
    (n, R, c, h)."""
    weights = [weight.astype(np.float64) for weight, _ in layers]
    outputs = [x.astype(np.float64).transpose(1, 0, 2)]
    d_outputs = [np.zeros((*outputs[0].shape[:2], len(directions[0][0]), outputs[0].shape[2]))]
    slopes, d_slopes = [], []  # of the activation: its first derivative, and the derivative of that
    for i, (weight, (d_weight, d_bias)) in enumerate(zip(weights, directions, strict=True)):
        z = _times(outputs[-1][..., None, :], weight[:, None])[:, :, 0] + layers[i][1][:, 0]
        d_z = _times(d_outputs[-1], weight[:, None])
        d_z = d_z + _times(outputs[-1][..., None, :], d_weight) + d_bias
        if i == len(layers) - 1:
            outputs.append(z)
            d_outputs.append(d_z)
            break
        if activation == "tanh":
            h = tanh(z)
            slope = 1.0 - h * h
            d_slopes.append((-2.0 * h * slope)[..., None, :] * d_z)
        elif activation == "relu":
            h, slope = np.maximum(z, 0.0), (z > 0).astype(np.float64)
            d_slopes.append(np.zeros_like(d_z))
        else:
            h, slope = z, np.ones_like(z)
            d_slopes.append(np.zeros_like(d_z))
        slopes.append(slope)
        outputs.append(h)
        d_outputs.append(slope[..., None, :] * d_z)
    factor = {"mse": 2.0 / len(outputs[0]), "sse": 2.0, "half_mse": 1.0 / len(outputs[0])}[kind]
    error = factor * (outputs[-1] - y.transpose(1, 0, 2))
    d_error = factor * d_outputs[-1]
    blocks: list[np.ndarray] = []
    for i in reversed(range(len(layers))):
        below, d_below = outputs[i], d_outputs[i]
        by_input = [
            sum_rows(
                d_below[..., j, None] * error[:, :, None] + below[:, :, None, j, None] * d_error
            )
            for j in range(below.shape[-1])
        ]
        block = np.stack(by_input, axis=2)  # (R, c, in, out)
        blocks[:0] = [block.reshape(*block.shape[:2], -1), sum_rows(d_error)]
        if i > 0:
            turned = weights[i].transpose(0, 2, 1)[:, None]
            back = _times(error[..., None, :], turned)[:, :, 0]
            d_back = _times(d_error, turned)
            d_back = d_back + _times(error[..., None, :], directions[i][0].swapaxes(-1, -2))
            d_error = d_back * slopes[i - 1][..., None, :] + back[..., None, :] * d_slopes[i - 1]
            error = back * slopes[i - 1]
    return np.concatenate(blocks, axis=2)


def _directions(layers: Layers) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each layer the derivatives of its weight (p, in, out) and bias (p, out) by every
    parameter: ones and zeros."""
    shapes = [array.shape[1:] for layer in layers for array in layer]
    sizes = [int(np.prod(shape)) for shape in shapes]
    identity, parts, start = np.eye(sum(sizes)), [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        parts.append(identity[:, start : start + size].reshape(-1, *shape))
        start += size
    return [(w, b[:, 0]) for w, b in zip(parts[::2], parts[1::2], strict=True)]


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product (..., 1, in) by (in, out), or (..., in) by (..., in, out), summed in the order of
    the units: (..., out)."""
    total = a[..., 0, None] * b[..., 0, :]
    for i in range(1, b.shape[-2]):
        total = total + a[..., i, None] * b[..., i, :]
    return total


def largest_eigenvalue(matrices: np.ndarray) -> np.ndarray:
    """The largest eigenvalue (R,) of symmetric matrices (p, p, R): Householder's tridiagonal form,
    then bisection by Sturm counts (Golub and Van Loan 2013, algorithms 8.3.1 and 8.4.1)."""
    diagonal, beside = _tridiagonal(matrices.copy())
    size = np.abs(beside)
    reach = np.concatenate([size, 0 * diagonal[:1]]) + np.concatenate([0 * diagonal[:1], size])
    low, high = diagonal.max(axis=0), (diagonal + reach).max(axis=0)  # Rayleigh, Gershgorin
    squares = beside * beside
    pivot = 2.0**-1022 * np.maximum(1.0, squares.max(axis=0, initial=0.0))
    for _ in range(HALVINGS):
        middle = low + 0.5 * (high - low)
        quotient = diagonal[0] - middle
        above = quotient > 0
        for d, square in zip(diagonal[1:], squares, strict=True):
            quotient = np.where(np.abs(quotient) < pivot, -pivot, quotient)
            quotient = (d - middle) - square / quotient
            above |= quotient > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


def _tridiagonal(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal (p, R) and the one beside it (p - 1, R) of a tridiagonal matrix with the same
    eigenvalues as symmetric matrices (p, p, R), which are overwritten."""
    size = len(matrices)
    beside = np.zeros((max(size - 1, 0), matrices.shape[2]))
    for k in range(size - 1):
        vector, rest = matrices[k + 1 :, k].copy(), matrices[k + 1 :, k + 1 :]
        norm = np.copysign(np.sqrt(sum_rows(vector * vector)), vector[0])
        beside[k] = -norm
        vector[0] += norm
        square = sum_rows(vector * vector)
        factor = np.where(square > 0, 2.0 / np.where(square > 0, square, 1.0), 0.0)
        image = factor * sum_rows(rest * vector[:, None])  # rest is symmetric
        image = image - (0.5 * factor * sum_rows(image * vector)) * vector
        update = vector[:, None] * image
        rest -= update + update.swapaxes(0, 1)
    return matrices[np.arange(size), np.arange(size)], beside
