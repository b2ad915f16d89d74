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
) -> tuple[np.ndarray, np.ndarray]:
    """x (R, count, d) and y (R, count, o), float64, each replica's a function of its seed, shifted
    and scaled as its training rows were: center, scale (R, d + o)."""
    drawn = [
        target.fresh(fresh(seed, use), count, partial(lambda s: streams(s, kind).data, seed))
        for seed in seeds
    ]
    x, y = (np.stack(columns) for columns in zip(*drawn, strict=True))
    shift, factor, inputs = center[:, None], scale[:, None], x.shape[2]
    return (
        (x - shift[..., :inputs]) / factor[..., :inputs],
        (y - shift[..., inputs:]) / factor[..., inputs:],
    )
