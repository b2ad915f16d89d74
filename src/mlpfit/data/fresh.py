"""New rows of a target's function, on which no net was trained: validation and test without a
split."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mlpfit.data.streams import Kind, Use, fresh, streams
from mlpfit.data.targets import Source

FRESH_ROWS = 2_000  # of validation and of test: 3 % standard error of the noise's mean square


def fresh_rows(
    target: Source,
    seeds: Sequence[int],
    use: Use,
    kind: Kind,
    center: np.ndarray,
    scale: np.ndarray,
    count: int = FRESH_ROWS,
    dtype: type[np.floating] = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """x (R, count, d) and y (R, count, o), each replica's a function of its seed, shifted and
    scaled as its training rows were, in float64, before they are rounded to dtype: center, scale
    (R, d + o)."""
    arrays: list[np.ndarray] = []
    # One replica after another, so that what is drawn stays in the cache until it is in its place.
    for i, seed in enumerate(seeds):
        replay = partial(lambda s: streams(s, kind).data, seed)
        columns = target.fresh(fresh(seed, use), count, replay)
        if not arrays:
            arrays = [np.empty((len(seeds), *values.shape), dtype) for values in columns]
        inputs = columns[0].shape[1]
        for into, values, part in zip(
            arrays, columns, (slice(inputs), slice(inputs, None)), strict=True
        ):
            is_raw = not center[i, part].any() and (scale[i, part] == 1).all()
            into[i] = values if is_raw else (values - center[i, part]) / scale[i, part]
    x, y = arrays
    return x, y
