"""Outputs and errors of R nets on any rows, in an order of operations that is written down, so that
no number depends on the processor: every unit is its bias, plus input times weight, one input after
the other, products and sums rounded apart. numpy only; with a compiler the sums come from the same
operations in C++ (``kernels/evaluate.h``), bit for bit."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.engine import compiler

Layers = Sequence[tuple[np.ndarray, np.ndarray]]  # weight (R, in, out), bias (R, 1, out) of each
ACTIVATIONS = (
    "identity",
    "relu",
    "tanh",
    "sigmoid",
    "leaky_relu",
)  # as numbered in kernels/common.h
Named = str | Mapping[str, Any]  # a name, or {"name": ..., and arguments}
LANES_BYTES = 64  # of a vector of the kernels; sums of squares go over its lanes


@dataclass(frozen=True)
class Errors:
    """Of each replica: sum of squared errors (R,) float64, number of hidden units that are zero on
    all rows (R,)."""

    squares: np.ndarray
    dead_units: np.ndarray


def known_activation(given: Named) -> tuple[str, float] | None:
    """Its name in ``ACTIVATIONS`` and the negative_slope of leaky_relu; None if it is none of
    them."""
    arguments: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name, slope = arguments.pop("name"), arguments.pop("negative_slope", 0.01)
    if name not in ACTIVATIONS or arguments or slope < 0:
        return None
    return name, slope


def outputs(
    layers: Layers, x: np.ndarray, activation: Named, output: Named = "identity"
) -> list[np.ndarray]:
    """Outputs of all layers, the inputs first: [x, hidden (R, n, h) ..., prediction (R, n, o)] for
    x (R, n, d) or, for all replicas, (1, n, d). activation: a
    :func:`known_activation`; output: that of the last layer."""
    results = [np.asarray(x, layers[0][0].dtype)]
    with np.errstate(over="ignore", invalid="ignore"):  # of replicas that diverged
        for weight, bias in layers:
            below = results[-1]
            shape = (len(weight), below.shape[1], weight.shape[2])
            z = np.broadcast_to(bias, shape).copy()
            product = np.empty_like(z)
            for i in range(weight.shape[1]):
                z += np.multiply(below[:, :, i : i + 1], weight[:, i : i + 1], out=product)
            results.append(activated(z, activation if len(results) < len(layers) else output))
    return results


def activated(z: np.ndarray, activation: Named) -> np.ndarray:
    """The activation of z, elementwise: a :func:`known_activation`."""
    name, slope = _known(activation)
    real = z.dtype.type
    if name == "relu":
        return np.where(z < 0, real(0), z)
    if name == "leaky_relu":
        return np.where(z < 0, z * real(slope), z)
    return {"identity": lambda z: z, "tanh": tanh, "sigmoid": sigmoid}[name](z)


def _known(activation: Named) -> tuple[str, float]:
    if (known := known_activation(activation)) is None:
        raise ValueError(f"activation {activation}: the engine has {', '.join(ACTIVATIONS)}")
    return known


def errors(
    layers: Layers,
    x: np.ndarray,
    y: np.ndarray,
    activation: Named,
    cache: Path | None = None,
) -> Errors:
    """Errors on rows x (R, n, d), y (R, n, o); a first axis of length 1 or of stride 0 is for all
    replicas. cache: folder of compiled kernels; None: numpy."""
    real = layers[0][0].dtype
    x, y = np.asarray(x, real), np.asarray(y, real)
    if cache is not None:
        return _compiled_errors(layers, x, y, activation, cache)
    *hidden, prediction = outputs(layers, x, activation)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(prediction.astype(float) - y.astype(float))
        replicas, rows, units = squares.shape
        lanes = LANES_BYTES // real.itemsize
        padded = np.zeros((replicas, -(-rows // lanes) * lanes, units))
        padded[:, :rows] = squares
        by_lane = padded.reshape(replicas, -1, lanes, units).swapaxes(2, 3)
        sums = np.add.reduce(by_lane.reshape(replicas, -1, lanes), axis=1)
        while sums.shape[1] > 1:
            half = sums.shape[1] // 2
            sums = sums[:, :half] + sums[:, half:]
    dead = [(values == 0).all(axis=1).sum(axis=1) for values in hidden[1:]]
    return Errors(sums[:, 0], sum(dead, np.zeros(len(squares), int)))


class _Call(ctypes.Structure):
    """Arguments of the kernel: see kernels/evaluate.h."""

    _fields_ = tuple(
        (name, kind)
        for kind, names in (
            (ctypes.c_int64, "replicas rows layers activation"),
            (ctypes.c_double, "leak"),
            (ctypes.c_void_p, "units x y"),
            (ctypes.c_int64, "x_replica y_replica"),
            (ctypes.c_void_p, "parameters squares dead"),
        )
        for name in names.split()
    )


def compiled(double: bool, cache: Path) -> ctypes.CDLL:
    """The kernel of :func:`errors`. Raises NoCompiler."""
    return compiler.load(compiler.source("double" if double else "float", "evaluate"), cache)


def _compiled_errors(
    layers: Layers,
    x: np.ndarray,
    y: np.ndarray,
    activation: Named,
    cache: Path,
) -> Errors:
    (name, slope), real = _known(activation), layers[0][0].dtype
    replicas = len(layers[0][0])
    parameters = [np.ascontiguousarray(array) for layer in layers for array in layer]
    addresses = (ctypes.c_void_p * len(parameters))(*(array.ctypes.data for array in parameters))
    widths = [layers[0][0].shape[1], *(weight.shape[2] for weight, _ in layers)]
    units = (ctypes.c_int64 * len(widths))(*widths)
    rows = [
        array if array[0].flags.c_contiguous else np.ascontiguousarray(array) for array in (x, y)
    ]
    strides = [0 if len(a) == 1 else a.strides[0] // real.itemsize for a in rows]
    result = Errors(np.empty(replicas), np.empty(replicas, np.int64))
    call = _Call(
        replicas=replicas,
        rows=x.shape[1],
        layers=len(layers),
        activation=ACTIVATIONS.index(name),
        leak=slope,
        units=ctypes.addressof(units),
        x=rows[0].ctypes.data,
        y=rows[1].ctypes.data,
        x_replica=strides[0],
        y_replica=strides[1],
        parameters=ctypes.addressof(addresses),
        squares=result.squares.ctypes.data,
        dead=result.dead_units.ctypes.data,
    )
    library = compiled(real.itemsize == 8, cache)
    library.evaluate.argtypes, library.evaluate.restype = [ctypes.c_void_p], None
    library.evaluate(ctypes.byref(call))
    return result


def tanh(z: np.ndarray) -> np.ndarray:
    """tanh of float32 or float64 values by the operations of ``kernels/activations.h``, which has
    their source and error."""
    real = z.dtype.type
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(z)
        most = real(10 if real is np.float32 else 20)
        p, power = _reduced_exp(np.where(size < most, size, most) * real(-2))
        t = p * power + (power - real(1))
        h = -t / (t + real(2))
        return np.where(z == z, np.where(z < 0, -h, h), z)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-z), as :func:`tanh`."""
    real = z.dtype.type
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(z)
        most = real(60 if real is np.float32 else 600)
        p, power = _reduced_exp(-np.where(size < most, size, most))
        e = p * power + power
        h = np.where(z < 0, e, real(1)) / (e + real(1))
        return np.where(z == z, np.where(z < -most, real(0), h), z)


def _reduced_exp(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """e^r - 1 and 2^k for y = k ln 2 + r, at most 0."""
    real = y.dtype.type
    single = y.dtype == np.float32
    high, low = (
        ("0x1.62e4p-1", "0x1.7f7d1cp-20")
        if single
        else ("0x1.62e42fee00000p-1", "0x1.a39ef35793c76p-33")
    )
    digits, terms, bits = (23, 7, np.uint32) if single else (52, 13, np.uint64)
    rounder = real(1.5 * 2**digits)
    shifted = y * real(float.fromhex("0x1.71547652b82fep0")) + rounder
    k = shifted - rounder
    r = (y - k * real(float.fromhex(high))) - k * real(float.fromhex(low))
    p = np.ones_like(r)
    for n in range(terms - 1, 0, -1):
        p = p * r * real(1.0 / (n + 1)) + real(1)
    exponent = (shifted.view(bits) + bits(127 if single else 1023)) << bits(digits)
    return p * r, exponent.view(y.dtype)
