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
    final,
    less,
    paired_finals,
    ratio,
)

SSE = "sum of squares on the training rows after the last update"
LEAST, SEQUENTIAL, SCRATCH = "plane/least_squares", "plane/sequential", "plane/scratch"
SGD, ADAM = f"{SEQUENTIAL}:sgd", f"{SCRATCH}:adam"
TORCH_WEIGHTS = f"{SCRATCH}:initial_weights_torch"
NAMES = {
    LEAST: "least squares",
    SEQUENTIAL: "the sequential net",
    SCRATCH: "the net from scratch",
}
PRINT_INTERVAL = 10  # steps from one loss that the page prints to the next


def exceeds_by_at_most(experiment: str, share: float) -> Predicate:
    """The sum of squares exceeds that of least squares by at most this share."""
    return lambda runs: ratio("sse", experiment, LEAST)(runs) <= 1 + share


def excess_of_reported(runs: Ensembles) -> np.ndarray:
    """Reported sum of squares minus that of the trained net: (R,)."""
    run = runs[SEQUENTIAL]
    return reported(runs) - run.metrics["sse"]


def reported(runs: Ensembles) -> np.ndarray:
    """The sum of squares as the page reports it, of the prediction before the last update: (R,)."""
    return published.values_in(runs[SEQUENTIAL], published.last_number(SEQUENTIAL))


def printed_sum_minus_mean(runs: Ensembles) -> np.ndarray:
    """Printed sum of squares minus 200 times the last printed mean: (1,)."""
    numbers = {n.key: n.value for n in published.tutorial("plane").numbers}
    return np.array([numbers[f"{SEQUENTIAL}:sse@200"] - 200 * numbers[f"{SEQUENTIAL}:mse@200"]])


def reported_ratio(runs: Ensembles) -> np.ndarray:
    """Reported sum of squares over that of least squares, seed by seed."""
    net, best = paired_finals(runs, "sse", SEQUENTIAL, LEAST)
    return (net + excess_of_reported(runs)[: len(net)]) / best


def ranking(*experiments: str) -> Claim:
    """The question whether the sum of squares increases in this order."""
    order = ", then ".join(NAMES[experiment] for experiment in experiments)
    return Claim(f"smallest error first: {order}", SSE, experiments, less("sse", *experiments))


def close_to_least_squares(experiment: str, name: str) -> Claim:
    return Claim(
        f"{name} comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        (experiment, LEAST),
        exceeds_by_at_most(experiment, 0.05),
        levels={f"{100 * s:.0f} %": exceeds_by_at_most(experiment, s) for s in (0.02, 0.05, 0.1)},
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
        f"sum of squares of {name} divided by that of least squares on the same rows",
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
        "The sum of squares that is reported for the sequential net is one step old: the page sums "
        "the prediction made before the last update, and plots the same one. Its own numbers show "
        "it: 221.6205 is 200 times the last printed loss, 1.108102.",
        "reported minus actual sum of squares",
        (SEQUENTIAL,),
        excess_of_reported,
        sides=(
            ("as reported, before the last update", reported),
            ("after the last update", final("sse", SEQUENTIAL)),
        ),
    ),
    Slip(
        "The last loss and the sum of squares of the sequential net should differ, since a step "
        "lies between them; on the page they agree to the last printed digit.",
        "sum of squares minus 200 times the last loss, both as printed",
        (SEQUENTIAL,),
        printed_sum_minus_mean,
        without=lambda runs: -excess_of_reported(runs),
    ),
    Slip(
        "The sequential module is introduced as the same model written more compactly. Its initial "
        "weights are others, uniform and scaled by the inputs, and so is its optimiser.",
        "sum of squares of the sequential net divided by that of the net from scratch, seed by "
        "seed",
        (SEQUENTIAL, SCRATCH),
        ratio("sse", SEQUENTIAL, SCRATCH),
        sides=(
            ("the sequential net", final("sse", SEQUENTIAL)),
            ("the net from scratch", final("sse", SCRATCH)),
        ),
    ),
    Slip(
        "The same slip, its first half: the net from scratch with nothing changed but the initial "
        "weights, which are those of the sequential net.",
        "sum of squares with the sequential net's initial weights divided by that with its own",
        (TORCH_WEIGHTS, SCRATCH),
        ratio("sse", TORCH_WEIGHTS, SCRATCH),
        sides=(
            ("the sequential net's initial weights", final("sse", TORCH_WEIGHTS)),
            ("its own initial weights", final("sse", SCRATCH)),
        ),
    ),
    Slip(
        "The same slip, its second half: the net from scratch with nothing changed but the "
        "optimiser, which is the sequential net's, Adam at 0.001.",
        "sum of squares with Adam divided by that with its own plain descent",
        (ADAM, SCRATCH),
        ratio("sse", ADAM, SCRATCH),
        sides=(
            ("Adam", final("sse", ADAM)),
            ("its own plain descent", final("sse", SCRATCH)),
        ),
    ),
    Slip(
        'The sums of squares are commented as "Mean squared error, L2 loss", but are sums over 200 '
        "rows.",
        consequence="Only the comment is wrong: as means they would be 200 times smaller.",
    ),
]
