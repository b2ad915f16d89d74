"""What the tower page claims."""

from mlpfit.judging.claims import Claim, less

CLAIMS = [
    Claim(
        "the larger net fits better",
        "sum of squares on the training rows after the last update, seed by seed",
        less("sse", "tower/large", "tower/small"),
    ),
]
