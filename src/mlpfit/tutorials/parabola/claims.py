"""Claims and slips of the parabola page, and our own questions."""

import numpy as np

from mlpfit.judging.claims import Claim, Finding, Predicate, Slip, separate_sections

NET = "parabola/eight_neurons"
HALF_WIDTH, RANGE = 5, 25  # inputs from -5 to 5, values from 0 to 25
SPEEDS = (2797, 2850)  # lowest and highest of the page's progress bar, in steps a second


def best_rms(pieces: int) -> float:
    """Root mean squared error of the best piecewise linear function for x^2.

    On a piece of width h it is (h / 2)^2 sqrt(4 / 45). Pieces of equal width join: each is the
    chord minus h^2 / 6.
    """
    return (HALF_WIDTH / pieces) ** 2 * float(np.sqrt(4 / 45))


def rms_at_most(share: float) -> Predicate:
    """The distance to the parabola is at most this share of its range."""
    return lambda runs: runs[NET].final("truth_mse") <= (share * RANGE) ** 2


def best_function_passes(pieces: int) -> Predicate:
    return lambda runs: np.full(runs[NET].replicas, best_rms(pieces) <= 0.02 * RANGE)


def speed() -> Finding:
    low, high = SPEEDS
    text = (
        f"The page's progress bar shows {low} to {high} steps a second along the way and 2840 at "
        "the end. That is the speed of the author's machine, which no seed can be compared with; "
        "make bench measures the speed here."
    )
    values = {"lowest": float(low), "highest": float(high)}
    return Finding("speed_of_the_page", "The page's speed", values, text)


FINDINGS = [speed]

CLAIMS = [
    Claim(
        "eight neurons approximate the parabola",
        "root mean squared error at most 2 % of the range 0 to 25; the limit is ours",
        (NET,),
        rms_at_most(0.02),
        where="introduction, and the picture of the prediction",
        levels={f"{100 * share:.0f} %": rms_at_most(share) for share in (0.01, 0.02, 0.03)},
        bounds={
            f"best function with eight kinks ({100 * best_rms(9) / RANGE:.2f} "
            f"%)": best_function_passes(9),
            f"best straight line ({100 * best_rms(1) / RANGE:.0f} %)": best_function_passes(1),
        },
    ),
    Claim(
        "all eight neurons are alive",
        "no hidden unit is zero on every sample",
        (NET,),
        lambda runs: runs[NET].metrics["dead_units"] == 0,
    ),
    separate_sections(NET, "each hidden unit"),
]

SLIPS = [
    Slip(
        'Predictions and activations are labelled "samples" in the legends.',
        consequence="Only the labels are wrong; here they say what is drawn.",
    ),
    Slip(
        "The optimiser is introduced as stochastic gradient descent, but every step takes all 100 "
        "samples, so nothing in it is random, and an epoch is one step.",
        consequence="Only the name is wrong, so no number changes.",
    ),
]
