"""The content of a run's files, checked once as it is read, since anyone may have written them.

Every function takes the bytes of a file and raises ValueError, with what is wrong, unless they are
as a run writes them: plain numbers, texts and arrays, of the shapes that belong together. Nothing
is unpickled, unpacked or expanded, so that no file takes much more memory than its size.
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from mlpfit.files import plain_yaml

# Axes of every array: R replicas, t recorded steps, s snapshots, n, m, v and w rows, d inputs, o
# outputs, k = d + o.
SHAPES = {
    "history.npz": {"step": "t", "loss": "tR"},
    "validation.npz": {"step": "s", "mse": "sR"},
    "data.npz": {
        **{"x": "Rnd", "y": "Rno", "pool_x": "Rmd", "pool_y": "Rmo", "pool_truth": "Rmo"},
        **{"center": "Rk", "scale": "Rk"},
    },
    "weights.npz": {"step": "s"},  # and those of the layers, see _layer_shapes
}
HELD_OUT = {"val_x": "Rvd", "val_y": "Rvo", "test_x": "Rwd", "test_y": "Rwo"}  # of a split
NET = "net."  # before the names of the arrays of a net of the user's own
SECTIONS = ("target", "data", "model", "optimizer", "trainer", "recording", "ensemble")
METRICS = ("mse", "sse", "truth_mse", "val_mse", "diverged_at")
COUNTS = ("steps", "threads")  # of the provenance


def config_of(content: bytes) -> dict[str, Any]:
    """config.yaml."""
    config = plain_yaml(content)
    _require(isinstance(config, dict), "no keys")
    for key in ("name", "question"):
        _require(isinstance(config.get(key), str), f"{key} is not text")
    for key in SECTIONS:
        _require(isinstance(config.get(key), dict), f"{key} has no keys")
    named = {"loss": config.get("loss"), "model.activation": config["model"].get("activation")}
    for key, given in named.items():
        name = given.get("name") if isinstance(given, dict) else given
        _require(isinstance(name, str), f"{key} is no name")
    for section in ("target", "optimizer"):
        _require(isinstance(config[section].get("name"), str), f"{section}.name is not text")
    limits = [config["trainer"].get(key) for key in ("max_steps", "max_epochs")]
    given = [limit for limit in limits if limit is not None]
    _require(bool(given) and all(map(_is_count, given)), "trainer.max_steps is no number")
    return config


def provenance_of(content: bytes) -> dict[str, Any]:
    """provenance.json."""
    record = _json_object(content)
    seeds, seconds = record.get("seeds"), record.get("seconds")
    _require(isinstance(seeds, list) and bool(seeds), "no seeds")
    _require(all(map(_is_count, seeds or ())), "a seed is no whole number")
    _require(_is_number(seconds), "seconds is no number")
    for key in COUNTS:
        _require(_is_count(record.get(key)), f"{key} is no whole number")
    _require(isinstance(record.get("versions"), dict), "no versions")
    return record


def metrics_of(content: bytes, replicas: int) -> dict[str, np.ndarray]:
    """metrics.json: name -> (R,), NaN where there is no number."""
    numbers = _json_object(content)
    for name in METRICS:
        _require(name in numbers, f"no {name}")
    for name, values in numbers.items():
        plain = isinstance(values, list) and all(v is None or _is_number(v) for v in values)
        _require(plain, f"{name} is no list of numbers")
        _require(len(values) == replicas, f"{name} is not of {replicas} replicas")
    return {name: np.array(values, dtype=float) for name, values in numbers.items()}


def arrays_of(content: bytes, name: str, replicas: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of this name."""
    arrays = read_arrays(content)
    shapes = {**SHAPES[name]}
    if name == "weights.npz" and any(key.startswith(NET) for key in arrays):
        return _checked_nets(arrays, replicas)
    if name == "weights.npz":
        shapes |= _layer_shapes(len(arrays))
    if name == "data.npz":
        parts = [part for part in ("val", "test") if {f"{part}_x", f"{part}_y"} & {*arrays}]
        shapes |= {key: axes for key, axes in HELD_OUT.items() if key.split("_")[0] in parts}
    _require({*shapes} == {*arrays}, f"has {', '.join(arrays) or 'no arrays'}")
    sizes = {"1": 1}
    for key, axes in shapes.items():
        shape = arrays[key].shape
        _require(len(shape) == len(axes), f"{key} has the shape {shape}")
        for axis, size in zip(axes, shape, strict=True):
            if axis == "R":
                shared = name == "data.npz" and size == 1  # rows that are the same in all replicas
                _require(size == replicas or shared, f"{key} is not of {replicas} replicas")
            else:
                expected = sizes.setdefault(axis, size)
                _require(size == expected, f"{key} has the shape {shape}")
            _require(size > 0 or axis == "t", f"{key} is empty")
    columns = sizes.get("d", 0) + sizes.get("o", 0)
    _require(sizes.get("k", 0) == columns, "center is not of every column")
    for key, values in arrays.items():
        _require(values.dtype.kind == ("i" if key == "step" else "f"), f"{key} is {values.dtype}")
    if "step" in arrays:
        _require_increasing(arrays["step"])
    return arrays


def _require_increasing(step: np.ndarray) -> None:
    _require(step.ndim == 1 and step.dtype.kind == "i", "step is no list of whole numbers")
    _require(bool((np.diff(step, prepend=-1) > 0).all()), "step does not increase")


def _checked_nets(arrays: dict[str, np.ndarray], replicas: int) -> dict[str, np.ndarray]:
    """Arrays net.<name> (s, R, ...) of nets of the user's own."""
    step = arrays.get("step", np.zeros((0, 0)))
    _require_increasing(step)
    for key, values in arrays.items():
        _require(key == "step" or key.startswith(NET), f"has {key}")
        if key != "step":
            _require(
                values.shape[:2] == (len(step), replicas), f"{key} has the shape {values.shape}"
            )
    return arrays


def _layer_shapes(arrays: int) -> dict[str, str]:
    """Axes of weight_i (s, R, in, out) and bias_i (s, R, 1, out), with a letter for each width."""
    layers = (arrays - 1) // 2
    _require(arrays >= 3, "has no layers")
    widths = [chr(0x100 + i) for i in range(layers + 1)]
    shapes = {f"weight_{i}": f"sR{widths[i]}{widths[i + 1]}" for i in range(layers)}
    return shapes | {f"bias_{i}": f"sR1{widths[i + 1]}" for i in range(layers)}


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that is not compressed, as :func:`mlpfit.files.write_arrays`
    writes it."""
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            for part in parts.infolist():
                _require(part.compress_type == zipfile.ZIP_STORED, "is compressed")
                _require(part.file_size <= len(content), "is damaged")
                arrays[part.filename.removesuffix(".npy")] = _array(parts.read(part))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"no file of arrays ({error})") from None
    return arrays


def _array(content: bytes) -> np.ndarray:
    """One array in numpy's format; of numbers only, and with as many as its header says."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    _require(version in ((1, 0), (2, 0)), "is of another version")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, column_first, dtype = read_header(file)
    _require(dtype.kind in "fi", f"has the type {dtype}")
    numbers = content[file.tell() :]
    _require(math.prod(shape) * dtype.itemsize == len(numbers), "is longer or shorter than it says")
    order: Literal["F", "C"] = "F" if column_first else "C"
    values = np.frombuffer(numbers, dtype).reshape(shape, order=order)
    return np.array(values, dtype.newbyteorder("="), order="C")


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(content)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    _require(isinstance(plain, dict), "no keys")
    return plain


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)


def marker_bytes(marker: Mapping[str, Any]) -> bytes:
    """complete.json: the marker with the hash of its content, which holds those of all the run's
    files and so stands for the whole folder."""
    return (json.dumps({**marker, "sha256": _hash(marker)}, indent=1) + "\n").encode()


def marker_of(content: bytes) -> dict[str, Any]:
    """The marker in complete.json, without its hash."""
    marker = _json_object(content)
    _require(marker.pop("sha256", None) == _hash(marker), "checksum mismatch")
    _require(is_identity(marker.get("identity")), "no identity of a run")
    files, others, shards = (marker.get(key, []) for key in ("files", "others", "shards"))
    _require(isinstance(files, dict) and isinstance(others, list), "lists no files")
    names = [PurePosixPath(name) for name in (*files, *others)]
    _require(all(not n.is_absolute() and ".." not in n.parts for n in names), "names other files")
    _require(all(PurePosixPath(name).name == name for name in shards), "names other shards")
    return marker


def _hash(marker: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(marker).encode()).hexdigest()


def is_identity(value: Any) -> bool:
    """Whether this is the identity of a run: its recipe, with the seeds of its replicas."""
    recipe = value.get("recipe") if isinstance(value, Mapping) else None
    if not isinstance(recipe, Mapping):
        return False
    seeds = recipe.get("seeds")
    listed = seeds is None or (isinstance(seeds, list) and all(map(_is_count, seeds)))
    return listed and _is_count(recipe.get("seed")) and 0 < _replicas(recipe) <= 10**6


def _replicas(recipe: Mapping[str, Any]) -> int:
    replicas = recipe.get("replicas")
    return replicas if _is_count(replicas) and isinstance(replicas, int) else 0
