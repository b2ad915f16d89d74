"""Claims of the tower page, and our own questions."""

import numpy as np

from mlpfit.judging.claims import Claim, Ensembles, Joint, falling_losses, less, ratio

SMALL, LARGE = "tower/small", "tower/large"
SSE = "sum of squares on the training rows after the last update, seed by seed"
PRINT_INTERVAL = 100  # steps from one loss that the page prints to the next


def rises_at_the_end(runs: Ensembles) -> np.ndarray:
    """The last printed loss of the larger net is above the one before: (R,)."""
    history = runs[LARGE].history
    before, last = history["loss"][history["step"] % PRINT_INTERVAL == 0][-2:]
    return last > before


CLAIMS = [
    Claim(
        "the larger net fits better",
        SSE,
        (SMALL, LARGE),
        less("sse", LARGE, SMALL),
        where="section on enlarging the net, its two sums of squares",
    ),
    falling_losses(SMALL, "the small net's printed losses", PRINT_INTERVAL),
    Claim(
        "the larger net's printed loss rises from step 900 to 1000, as on the page",
        "losses before the update of these steps",
        (LARGE,),
        rises_at_the_end,
    ),
    Claim(
        "Adam gets further than the descent that is commented out",
        f"{SSE}; the small net, learning rate 0.001 for both",
        (SMALL, f"{SMALL}:sgd"),
        less("sse", SMALL, f"{SMALL}:sgd"),
    ),
]

JOINT = [
    Joint(
        "sum of squares of the small net divided by that of the large one",
        (SMALL, LARGE),
        lambda printed: printed[f"{SMALL}:sse@1000"] / printed[f"{LARGE}:sse@1000"],
        ratio("sse", SMALL, LARGE),
    ),
]
