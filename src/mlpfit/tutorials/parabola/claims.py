"""What the parabola page claims and where it slips."""

from mlpfit.judging.claims import Claim, Slip, own_sections

NET = "parabola/eight_neurons"

CLAIMS = [
    Claim(
        "eight neurons approximate the parabola",
        "root mean squared error at most 2 % of the range 0 to 25",
        lambda runs: runs[NET].final("truth_mse") <= 0.5**2,
    ),
    Claim(
        "all eight neurons are alive",
        "no hidden unit is zero on every sample",
        lambda runs: runs[NET].metrics["dead_units"] == 0,
    ),
    Claim(
        "each hidden unit takes its own section of the curve",
        "kinks -b/w inside the range, none closer than 1 % of it",
        lambda runs: own_sections(runs[NET]),
    ),
]

SLIPS = [
    Slip(
        'Predictions and activations are labelled "samples" in the legends; here they are labelled '
        "as what they are."
    ),
]
