"""Slips of the originals, each with its effect: the published behaviour and the corrected one, over
the replicas."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlpfit.config.schema import parse
from mlpfit.data import order
from mlpfit.data.datamodule import draw
from mlpfit.judging import published
from mlpfit.judging.conclusions import Ensembles, best_line_mse, less


@dataclass(frozen=True)
class Slip:
    """what went wrong, and effect: a number per replica that says how much it matters (named in
    ``measure``)."""

    tutorial: str
    what: str
    measure: str
    correct: float  # the measure's value had the page not slipped
    effect: Callable[[Ensembles], np.ndarray]


def intercept_as_slope(runs: Ensembles) -> np.ndarray:
    """Sum of squares of the line as drawn (intercept for both) over that of the fitted line."""
    run = runs["gradient/sine_by_hand"]
    ((_, bias),) = run.parameters()
    x, y = run.data["x"], run.data["y"]
    return ((y - bias * x - bias) ** 2).sum((1, 2)) / run.metrics["sse"]


def stale_prediction(runs: Ensembles) -> np.ndarray:
    """How much the reported sum of squares lies above that of the trained net."""
    run = runs["plane/sequential"]
    return (
        published.measured(run, "sse", "before", int(run.history["step"][-1])) - run.metrics["sse"]
    )


def printed_sum_is_stale(runs: Ensembles) -> np.ndarray:
    """The printed sum of squares minus 200 times the last printed mean: the page's own
    arithmetic."""
    numbers = {n.key: n.value for n in published.tutorial("plane").numbers}
    return np.array(
        [numbers["plane/sequential:sse@200"] - 200 * numbers["plane/sequential:mse@200"]]
    )


def never_drawn(runs: Ensembles) -> np.ndarray:
    """Rows that none of the batches shows, of 1024: from the first hundred seeds, whose orders are
    drawn again."""
    config = parse(runs["restoration/narrow"].config)
    shown = [
        order.stack([draw(seed=seed, **config.sampling)[1]]).batches(0, config.trainer.max_steps)[0]
        for seed in _seeds(runs)
    ]
    return np.array([config.rows - len(np.unique(batches)) for batches in shown], dtype=float)


def error_where_never_drawn(runs: Ensembles) -> np.ndarray:
    """Mean squared error on the rows never shown over that on the rows shown, a hundred units."""
    run = runs["restoration/wide"]
    config = parse(run.config)
    ratios = []
    predicted = run.predict(run.data["x"])[..., 0]
    for k, seed in enumerate(_seeds(runs)):
        seen = np.zeros(config.rows, dtype=bool)
        seen[
            order.stack([draw(seed=seed, **config.sampling)[1]])
            .batches(0, config.trainer.max_steps)[0]
            .ravel()
        ] = True
        squares = (predicted[k] - run.data["y"][k, :, 0]) ** 2
        ratios.append(squares[~seen].mean() / squares[seen].mean())
    return np.array(ratios)


def short_batch_weight(runs: Ensembles) -> np.ndarray:
    """Weight of a row in the shortest batch of an epoch over that of a row in a full one."""
    config = parse(runs["restoration/framework"].config)
    lengths = draw(seed=config.seed, **config.sampling)[1][2]
    return np.array([lengths.max() / lengths.min()], dtype=float)


def not_converged(runs: Ensembles) -> np.ndarray:
    """Sum of squares after the 200 steps over the least possible one on the same rows."""
    run = runs["gradient/line_autograd"]
    return run.metrics["mse"] / best_line_mse(run.data["x"], run.data["y"])


def lucky_order(runs: Ensembles) -> np.ndarray:
    """1 where least squares < sequential < scratch, as on the page."""
    return less("sse", "plane/least_squares", "plane/sequential", "plane/scratch")(runs).astype(
        float
    )


def lost(runs: Ensembles) -> np.ndarray:
    """1 where the framework's recipe diverges."""
    return runs["restoration/framework"].diverged.astype(float)


def _seeds(runs: Ensembles) -> list[int]:
    return runs["restoration/wide"].seeds[:100]


SLIPS = [
    Slip(
        "gradient",
        "The line drawn over the sine passes the intercept as its slope, too.",
        "sum of squares of the line as drawn, over that of the fitted line",
        1.0,
        intercept_as_slope,
    ),
    Slip(
        "gradient",
        "Two hundred steps of autograd descent stop before the line is found; the page calls it trained.",
        "sum of squares after the last step, over the least possible one",
        1.0,
        not_converged,
    ),
    Slip(
        "plane",
        "The sequential net's sum of squares is one step stale: the page sums the prediction made before the "
        "last update, and its plot shows the same one.",
        "reported minus actual sum of squares",
        0.0,
        stale_prediction,
    ),
    Slip(
        "plane",
        "The page's own numbers give it away: 221.6205 is 200 times the last printed loss 1.108102.",
        "printed sum minus 200 times the printed mean",
        0.0,
        printed_sum_is_stale,
    ),
    Slip(
        "plane",
        "The page's ranking (least squares, sequential, scratch) is presented as a finding; it is one draw.",
        "1 in seeds that rank so; the mean is the share",
        1.0,
        lucky_order,
    ),
    Slip(
        "restoration",
        "Start indices are drawn below 1000 - batch although there are 1024 points: the end of the "
        "permutation is never shown. The last start is 899, so at least 25 rows (not 24) stay unseen.",
        "rows of 1024 that no batch shows (first 100 seeds)",
        0.0,
        never_drawn,
    ),
    Slip(
        "restoration",
        "What the rows that are never shown cost: next to nothing, their neighbours are shown.",
        "mean squared error on unseen over that on seen rows (first 100 seeds)",
        1.0,
        error_where_never_drawn,
    ),
    Slip(
        "restoration",
        "Macro batches of 1000 cut the 1024 rows so that an epoch holds a batch of 4: its rows count "
        "more than the others.",
        "weight of a row there, over that of a row in a full batch",
        1.0,
        short_batch_weight,
    ),
    Slip(
        "restoration",
        "The framework part is shown once; with N(0, 1) weights, a hundred units and momentum 0.9 the "
        "same recipe often diverges.",
        "1 in seeds that diverge; the mean is the share",
        0.0,
        lost,
    ),
]

# Slips without a number: the figures here show the corrected version.
WORDS = [
    (
        "parabola",
        'Predictions and activations are labelled "samples" in the legends; here they are labelled as what they are.',
    ),
    (
        "restoration",
        "The formula takes the derivative of ReLU at 0 as 1, the code as 0; no row lies on a kink, so nothing changes.",
    ),
    (
        "restoration",
        "PuzzleLib's trainer permutes contiguous blocks, it does not shuffle samples; the page shuffles once "
        "beforehand. data.order=blocks follows it, data.order=shuffle is the textbook's.",
    ),
    (
        "plane",
        'The sums of squares are commented as "Mean squared error, L2 loss"; they are sums over 200 rows.',
    ),
    (
        "gradient",
        "The noise of the line is written N(x'w, 2.0), that of the sine N(4 sin x, 1^2): the 2.0 is a standard "
        "deviation, not a variance.",
    ),
    ("gradient", "The derivative is headed d network / dw; it is that of the squared loss."),
]
