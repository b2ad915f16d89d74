"""What the plane page claims and where it slips."""

import numpy as np

from mlpfit.judging import published
from mlpfit.judging.claims import Claim, Ensembles, Slip, gradients_agree, less, within

SSE = "sum of squares on the training rows after the last update"
LEAST, SEQUENTIAL, SCRATCH = "plane/least_squares", "plane/sequential", "plane/scratch"

AS_ON_THE_PAGE = less("sse", LEAST, SEQUENTIAL, SCRATCH)


def stale_prediction(runs: Ensembles) -> np.ndarray:
    """How much the reported sum of squares lies above that of the trained net."""
    run = runs[SEQUENTIAL]
    last = int(run.history["step"][-1])
    return published.measured(run, "sse", "before", last) - run.metrics["sse"]


def printed_sum_is_stale(runs: Ensembles) -> np.ndarray:
    """The printed sum of squares minus 200 times the last printed mean: the page's own
    arithmetic."""
    numbers = {n.key: n.value for n in published.tutorial("plane").numbers}
    return np.array([numbers[f"{SEQUENTIAL}:sse@200"] - 200 * numbers[f"{SEQUENTIAL}:mse@200"]])


CLAIMS = [
    Claim("least squares < sequential < scratch", f"{SSE}, all in this order", AS_ON_THE_PAGE),
    Claim("least squares < sequential", SSE, less("sse", LEAST, SEQUENTIAL)),
    Claim("least squares < scratch", SSE, less("sse", LEAST, SCRATCH)),
    Claim("sequential < scratch", SSE, less("sse", SEQUENTIAL, SCRATCH)),
    Claim(
        "the net from scratch comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        within("sse", SCRATCH, LEAST, 0.05),
    ),
    Claim(
        "the sequential net comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        within("sse", SEQUENTIAL, LEAST, 0.05),
    ),
    Claim(
        "the hand-derived gradient equals autograd",
        "largest deviation at the start below 1e-5, 3-32-1 ReLU",
        lambda runs: gradients_agree(runs[SCRATCH]),
    ),
]

SLIPS = [
    Slip(
        "The sequential net's sum of squares is one step stale: the page sums the prediction made "
        "before the last update, and its plot shows the same one.",
        "reported minus actual sum of squares",
        0.0,
        stale_prediction,
    ),
    Slip(
        "The page's own numbers give it away: 221.6205 is 200 times the last printed loss "
        "1.108102.",
        "printed sum minus 200 times the printed mean",
        0.0,
        printed_sum_is_stale,
    ),
    Slip(
        "The page's ranking (least squares, sequential, scratch) is presented as a finding; it is "
        "one draw.",
        "1 in seeds that rank so; the mean is the share",
        1.0,
        lambda runs: AS_ON_THE_PAGE(runs).astype(float),
    ),
    Slip(
        'The sums of squares are commented as "Mean squared error, L2 loss"; they are sums over '
        "200 rows."
    ),
]
