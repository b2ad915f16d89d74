"""Claims and slips of the plane page, and our own questions."""

import numpy as np

from mlpfit.judging import published
from mlpfit.judging.claims import (
    Claim,
    Ensembles,
    Joint,
    Predicate,
    Slip,
    falling_losses,
    less,
    paired_finals,
    ratio,
)

SSE = "sum of squares on the training rows after the last update"
LEAST, SEQUENTIAL, SCRATCH = "plane/least_squares", "plane/sequential", "plane/scratch"
SGD, ADAM = f"{SEQUENTIAL}:sgd", f"{SCRATCH}:adam"
TORCH_WEIGHTS = f"{SCRATCH}:initial_weights_torch"
PRINT_INTERVAL = 10  # steps from one loss that the page prints to the next


def exceeds_by_at_most(experiment: str, share: float) -> Predicate:
    """The sum of squares exceeds that of least squares by at most this share."""
    return lambda runs: ratio("sse", experiment, LEAST)(runs) <= 1 + share


def excess_of_reported(runs: Ensembles) -> np.ndarray:
    """Reported sum of squares minus that of the trained net: (R,)."""
    run = runs[SEQUENTIAL]
    return published.values_in(run, published.final_number(SEQUENTIAL)) - run.metrics["sse"]


def printed_sum_minus_mean(runs: Ensembles) -> np.ndarray:
    """Printed sum of squares minus 200 times the last printed mean: (1,)."""
    numbers = {n.key: n.value for n in published.tutorial("plane").numbers}
    return np.array([numbers[f"{SEQUENTIAL}:sse@200"] - 200 * numbers[f"{SEQUENTIAL}:mse@200"]])


def reported_ratio(runs: Ensembles) -> np.ndarray:
    """Reported sum of squares over that of least squares, seed by seed."""
    net, best = paired_finals(runs, "sse", SEQUENTIAL, LEAST)
    return (net + excess_of_reported(runs)[: len(net)]) / best


def ranking(*experiments: str) -> Claim:
    """The claim that the sum of squares increases in this order."""
    names = (experiment.split("/")[1].replace("_", " ") for experiment in experiments)
    return Claim(" < ".join(names), SSE, experiments, less("sse", *experiments))


def close_to_least_squares(experiment: str, name: str) -> Claim:
    return Claim(
        f"{name} comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        (experiment, LEAST),
        exceeds_by_at_most(experiment, 0.05),
        levels={f"{s:.0%}": exceeds_by_at_most(experiment, s) for s in (0.02, 0.05, 0.1)},
    )


CLAIMS = [
    ranking(LEAST, SEQUENTIAL, SCRATCH),
    ranking(LEAST, SEQUENTIAL),
    ranking(LEAST, SCRATCH),
    ranking(SEQUENTIAL, SCRATCH),
    close_to_least_squares(SCRATCH, "the net from scratch"),
    close_to_least_squares(SEQUENTIAL, "the sequential net"),
    falling_losses(SCRATCH, "the printed losses of the net from scratch", PRINT_INTERVAL),
    falling_losses(SEQUENTIAL, "the printed losses of the sequential net", PRINT_INTERVAL),
    Claim(
        "Adam gets further than the descent that is commented out",
        f"{SSE}; the sequential net, learning rate 0.001 for both",
        (SEQUENTIAL, SGD),
        less("sse", SEQUENTIAL, SGD),
    ),
]


def ratio_to_least_squares(name: str, experiment: str, replicas: Predicate) -> Joint:
    return Joint(
        f"sum of squares of {name} over that of least squares, on the same rows",
        (experiment, LEAST),
        lambda printed: printed[f"{experiment}:sse@200"] / printed[f"{LEAST}:sse"],
        replicas,
    )


JOINT = [
    ratio_to_least_squares("the net from scratch", SCRATCH, ratio("sse", SCRATCH, LEAST)),
    ratio_to_least_squares("the sequential net, as printed", SEQUENTIAL, reported_ratio),
]

SLIPS = [
    Slip(
        "The sequential net's sum of squares is one step stale: the page sums the prediction made "
        "before the last update, and its plot shows the same one.",
        "reported minus actual sum of squares",
        (SEQUENTIAL,),
        excess_of_reported,
    ),
    Slip(
        "The page's own numbers give it away: 221.6205 is 200 times the last printed loss "
        "1.108102.",
        "printed sum minus 200 times the printed mean; without: of the replicas, summed after the "
        "last update",
        (SEQUENTIAL,),
        printed_sum_minus_mean,
        without=lambda runs: -excess_of_reported(runs),
    ),
    Slip(
        "The sequential module is introduced as the same model written more compactly; its initial "
        "weights are others, uniform and scaled by the inputs, and so is the optimiser.",
        "sum of squares of the sequential net over that of the net from scratch, seed by seed",
        (SEQUENTIAL, SCRATCH),
        ratio("sse", SEQUENTIAL, SCRATCH),
    ),
    Slip(
        "What the other initial weights alone make of it.",
        "sum of squares of the net from scratch with torch's weights over that with its own",
        (TORCH_WEIGHTS, SCRATCH),
        ratio("sse", TORCH_WEIGHTS, SCRATCH),
    ),
    Slip(
        "What the other optimiser alone makes of it.",
        "sum of squares of the net from scratch with Adam at 0.001 over that with its own descent",
        (ADAM, SCRATCH),
        ratio("sse", ADAM, SCRATCH),
    ),
    Slip(
        'The sums of squares are commented as "Mean squared error, L2 loss"; they are sums over '
        "200 rows."
    ),
]
