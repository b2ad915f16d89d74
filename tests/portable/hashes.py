"""The hashes of everything computed outside the training kernels, for one machine:

    python tests/portable/hashes.py recipes.json SEEDS

prints {"machine": ..., "hashes": {"rows tower/small 0": ..., ...}} as JSON. Needs numpy, not torch.
"""

import hashlib
import importlib
import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

FUNCTIONS = ("sin", "cos", "tan", "exp", "expm1", "log", "log1p", "tanh", "sqrt")
ARGUMENTS = 2_000
SHARPNESS_SEEDS, SHARPNESS_ROWS, SHARPNESS_PARAMETERS = 2, 30, 100  # the law holds at any size


def main() -> None:
    recipes, seeds = json.loads(Path(sys.argv[1]).read_text()), range(int(sys.argv[2]))
    for targets in {name.partition("/")[0] for name in recipes}:
        importlib.import_module(f"mlpfit.tutorials.{targets}.targets")
    found = functions()
    for name, recipe in recipes.items():
        for seed in seeds:
            found |= numbers(name, recipe, seed)
    print(json.dumps({"machine": machine(), "hashes": found}))


def machine() -> dict[str, Any]:
    """The processor as numpy sees it, and a hash of what its libraries compute, which may differ:
    if it does, the machines compared are different ones."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    x = points()
    library = [
        np.sin(x),
        np.exp(x),
        np.log(np.abs(x)),
        np.tanh(x),
        x[:900].reshape(30, 30) @ x[:30],
    ]
    library += [np.array([math.sin(v), math.exp(v / 9)]) for v in x[:200].tolist()]
    return {
        "processor": platform.machine(),
        "units": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
        "features": sorted(name for name, present in __cpu_features__.items() if present),
        "library": digest(*library),
    }


def points() -> np.ndarray:
    from mlpfit.data.streams import Generator

    return Generator(np.random.PCG64(0)).uniform(-20.0, 20.0, ARGUMENTS)


def functions() -> dict[str, str]:
    from mlpfit.data import elementary

    x = points()
    huge = np.array([1e22, 1e100, 2.0**1000])
    found = {name: getattr(elementary, name)(np.concatenate([x, huge])) for name in FUNCTIONS}
    found["power"] = elementary.power(np.abs(x), x[::-1])
    found["sum_rows"] = elementary.sum_rows(x)
    return {f"functions {name}": digest(values) for name, values in found.items()}


def numbers(name: str, recipe: dict[str, Any], seed: int) -> dict[str, str]:
    """Hashes of the rows, weights, order of batches, fresh rows and, where the recipe has them,
    least squares and sharpness of a replica."""
    from mlpfit.data import order, streams
    from mlpfit.data.targets import TARGETS
    from mlpfit.model.initial import initial_parameters
    from mlpfit.model.least_squares import least_squares
    from mlpfit.model.sharpness import sharpness

    target = TARGETS[recipe["target"]["name"]](**recipe["target"]["fields"])
    rngs = streams.streams(seed, recipe["streams"])
    rows = target.rows(rngs.data)
    parameters = initial_parameters(recipe["units"], recipe["init"], rngs.weights)
    arrays = [values for values in vars(rows).values() if values is not None]
    found = {"rows": digest(*arrays), "weights": digest(*parameters)}
    fresh = target.rows(streams.fresh(seed, "validation"))
    found["fresh rows"] = digest(fresh.x, fresh.y)
    if recipe["order"]["kind"] != "full":
        batching = order.Batching(rows=len(rows.x), **recipe["order"])
        batches = order.Draws(batching, [rngs.order]).between(0, recipe["steps"])
        found["order"] = digest(batches.rows, batches.starts, batches.lengths)
    found["least squares"] = digest(*least_squares(rows.x[None], rows.y[None]))
    if sum(map(np.size, parameters)) <= SHARPNESS_PARAMETERS and seed < SHARPNESS_SEEDS:
        layers = [
            (w[None], b[None]) for w, b in zip(parameters[::2], parameters[1::2], strict=True)
        ]
        x, y = (values[None, :SHARPNESS_ROWS] for values in (rows.x, rows.y))
        for activation in ("relu", "tanh"):
            found[f"sharpness {activation}"] = digest(
                sharpness(layers, x, y, recipe["loss"], activation)
            )
    return {f"{what} {name} {seed}": value for what, value in found.items()}


def digest(*arrays: np.ndarray) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.dtype.str}{array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]


if __name__ == "__main__":
    main()
