"""What the gradient page claims, where it slips, and what its printed losses tell of their run."""

from dataclasses import asdict

import numpy as np

from mlpfit.judging import published
from mlpfit.judging.claims import (
    Claim,
    Ensembles,
    Finding,
    Slip,
    best_line_mse,
    gradients_agree,
    r2,
)
from mlpfit.judging.published import Number
from mlpfit.runs.run import Run
from mlpfit.tutorials.gradient.closed_form import recover

BY_HAND, AUTOGRAD = "gradient/line_by_hand", "gradient/line_autograd"
SINE_LINE, SINE_NETWORK = "gradient/sine_by_hand", "gradient/sine_network"


def sse_at_ones(run: Run) -> np.ndarray:
    """Sum of squares on all 100 unscaled rows with slope and intercept 1."""
    rows = np.concatenate([run.data["pool_x"], run.data["pool_y"]], axis=2)
    raw = run.data["scale"][:, None] * rows + run.data["center"][:, None]
    return ((raw[..., 1] - (1 + raw[..., 0])) ** 2).sum(axis=1)


QUANTITIES = {"sse_at_ones": sse_at_ones}


def recovered() -> Finding:
    """The run behind the printed losses of the autograd line: 50 rows, learning rate 1e-4."""
    trace = [n for n in published.tutorial("gradient").numbers if n.experiment == AUTOGRAD]
    steps = np.array([n.step for n in trace])
    found = recover(steps, np.array([n.value for n in trace]), rows=50, lr=1e-4)
    text = (
        "The page publishes neither its rows nor its start, but twenty losses of "
        f"{AUTOGRAD}. Descent on standardised rows has a closed form with three unknowns; "
        f"fitted to the twenty it leaves {found.residual:.0e} relative at most. So the run is "
        f"known: R² of the rows {found.r2:.4f}, least sum of squares {found.sse:.4f}, best slope "
        f"{found.slope:.4f}; the start was near slope {found.slope0:.2f} and intercept "
        f"±{found.intercept0:.2f}."
    )
    return Finding("recovered", "The published run, recovered", asdict(found), text)


FINDINGS = [recovered]


def derived(number: Number, findings: list[Finding]) -> dict[str, str] | None:
    """Losses that the closed form gives; the autograd gradient, which must be the hand-derived one
    rounded to the four decimals printed."""
    if number.quantity.startswith("gradient_autograd"):
        other = number.quantity.replace("autograd", "by_hand")
        numbers = published.tutorial("gradient").numbers
        by_hand = next(n.value for n in numbers if n.quantity == other)
        if round(by_hand, 4) == number.value:
            verdict, reason = (
                "recovered",
                f"the hand-derived {by_hand} to its four printed decimals",
            )
        else:
            verdict, reason = "outside", f"not the hand-derived {by_hand}"
        return {"evidence": "recovered", "verdict": verdict, "reason": reason}
    residual = findings[0].values["residual"]
    if number.experiment == AUTOGRAD and residual < 1e-5:
        reason = f"the closed form of descent gives all 20 to {residual:.0e} relative"
        return {"evidence": "recovered", "verdict": "recovered", "reason": reason}
    return None


def intercept_as_slope(runs: Ensembles) -> np.ndarray:
    """Sum of squares of the line as drawn (intercept for both) over that of the fitted line."""
    run = runs[SINE_LINE]
    ((_, bias),) = run.parameters()
    x, y = run.data["x"], run.data["y"]
    return ((y - bias * x - bias) ** 2).sum((1, 2)) / run.metrics["sse"]


def not_converged(runs: Ensembles) -> np.ndarray:
    """Sum of squares after the 200 steps over the least possible one on the same rows."""
    return runs[AUTOGRAD].metrics["mse"] / best_line_mse(runs[AUTOGRAD])


CLAIMS = [
    Claim(
        "the hand-derived gradient equals autograd",
        "largest deviation at the start below 1e-5, linear unit",
        lambda runs: gradients_agree(runs[BY_HAND]),
    ),
    Claim(
        "a straight line is not a good fit for the sine",
        "explains less than 90 % of the variance of the 20 rows",
        lambda runs: r2(runs[SINE_LINE]) < 0.9,
    ),
    Claim(
        "the network is a good fit for the sine",
        "explains at least 90 % of the variance of the 20 rows",
        lambda runs: r2(runs[SINE_NETWORK]) >= 0.9,
    ),
    Claim(
        "the network follows the true function",
        "mean squared distance to 4 sin x on all 100 rows below the noise variance 1",
        lambda runs: runs[SINE_NETWORK].final("truth_mse") < 1,
    ),
]

SLIPS = [
    Slip(
        "The line drawn over the sine passes the intercept as its slope, too.",
        "sum of squares of the line as drawn, over that of the fitted line",
        1.0,
        intercept_as_slope,
    ),
    Slip(
        "Two hundred steps of autograd descent stop before the line is found; the page calls it "
        "trained.",
        "sum of squares after the last step, over the least possible one",
        1.0,
        not_converged,
    ),
    Slip(
        "The noise of the line is written N(x'w, 2.0), that of the sine N(4 sin x, 1^2): the 2.0 "
        "is a standard deviation, not a variance."
    ),
    Slip("The derivative is headed d network / dw; it is that of the squared loss."),
]
