"""Claims and slips of the gradient page, our own questions, and the run behind its losses."""

from dataclasses import asdict

import numpy as np

from mlpfit.data import elementary
from mlpfit.judging import published
from mlpfit.judging.claims import (
    Claim,
    Ensembles,
    Finding,
    Predicate,
    Slip,
    best_line_mse,
    falling_losses,
    gradients_agree,
    less,
)
from mlpfit.judging.published import Number
from mlpfit.judging.quantities import r2
from mlpfit.runs.run import Run
from mlpfit.tutorials.gradient.closed_form import recover

BY_HAND, AUTOGRAD = "gradient/line_by_hand", "gradient/line_autograd"
SINE_LINE, SINE_NETWORK = "gradient/sine_by_hand", "gradient/sine_network"
ROWS = 50  # sampled for the line
GOOD = 0.9  # share of the variance that we call a good fit
PRINT_INTERVAL = 10  # steps from one loss that the page prints to the next


def recovered_run() -> Finding:
    """The run behind the printed losses of the autograd line: 50 rows, learning rate 1e-4."""
    trace = published.printed_trace(AUTOGRAD)
    steps, losses = np.array([n.step for n in trace]), np.array([n.value for n in trace])
    fits = {rows: recover(steps, losses, rows, lr=1e-4) for rows in (ROWS - 1, ROWS, ROWS + 1)}
    run = fits[ROWS]
    residuals = {f"residual_{rows}": fit.residual for rows, fit in fits.items() if rows != ROWS}
    misses = [
        f"{fits[rows].residual * 1e6:.0f} parts in a million with {rows} rows"
        for rows in (ROWS - 1, ROWS + 1)
    ]
    text = (
        f"The page prints neither its rows nor its start, but twenty losses of {AUTOGRAD}. Descent "
        "on standardised rows has a closed form with three unknowns. Fitted to the twenty losses "
        f"with {ROWS} rows, it misses none of them by more than {run.residual * 1e6:.2f} parts in "
        f"a million; the largest miss would be {' and '.join(misses)}. So the run had {ROWS} "
        f"rows, and the fit tells more of it: the best line explains {100 * run.r2:.2f} % of the "
        f"variance of the rows, with a sum of squares of {run.sse:.4f} and a slope of "
        f"{run.slope:.4f} or its negative; descent began near slope {run.slope0:.2f} and intercept "
        f"{run.intercept0:.2f} or its negative. The rows themselves stay unknown."
    )
    title = "The page's run, recovered from its losses"
    return Finding("recovered", title, asdict(run) | residuals, text)


FINDINGS = [recovered_run]


def derived(number: Number, findings: list[Finding]) -> str | None:
    """Why a number follows from others: a loss from the closed form, the autograd gradient from the
    hand-derived one if it equals that rounded to four decimals."""
    if number.quantity.startswith("gradient_autograd"):
        name = number.quantity.replace("autograd", "by_hand")
        numbers = published.tutorial("gradient").numbers
        by_hand = next(n.value for n in numbers if n.quantity == name)
        same = round(by_hand, 4) == number.value
        return f"the hand-derived {by_hand} to its four printed decimals" if same else None
    residual = findings[0].values["residual"]
    if number.experiment == AUTOGRAD and residual < 1e-5:
        return f"the closed form of descent gives all 20 to {residual:.0e} relative"
    return None


def explains(experiment: str, share: float) -> Predicate:
    """The fit explains at least this share of the variance."""
    return lambda runs: r2(runs[experiment]) >= share


def variance(run: Run) -> np.ndarray:
    return run.data["y"][..., 0].var(axis=1)


def truth_explains(runs: Ensembles) -> np.ndarray:
    """Whether the true function, despite the noise, is a good fit on the 20 rows."""
    run = runs[SINE_NETWORK]
    noise = run.data["y"] - run.config["target"]["amplitude"] * elementary.sin(run.data["x"])
    return 1 - (noise[..., 0] ** 2).mean(axis=1) / variance(run) >= GOOD


def best_line_explains(experiment: str) -> Predicate:
    return lambda runs: 1 - best_line_mse(runs[experiment]) / variance(runs[experiment]) >= GOOD


def negated(predicate: Predicate) -> Predicate:
    return lambda runs: ~predicate(runs)


def truth_within(limit: float) -> Predicate:
    return lambda runs: runs[SINE_NETWORK].final("truth_mse") < limit


def intercept_as_slope(runs: Ensembles) -> np.ndarray:
    """Sum of squares of the line as drawn, whose slope is the intercept, over the fitted line's."""
    run = runs[SINE_LINE]
    ((_, bias),) = run.parameters()
    x, y = run.data["x"], run.data["y"]
    return ((y - bias * x - bias) ** 2).sum((1, 2)) / run.metrics["sse"]


def sse(runs: Ensembles, experiment: str) -> np.ndarray:
    """Sum of squares on the training rows after the last step."""
    return runs[experiment].final("sse")


def not_converged(runs: Ensembles) -> np.ndarray:
    """Sum of squares after the 200 steps over the least possible one on the same rows."""
    return runs[AUTOGRAD].metrics["mse"] / best_line_mse(runs[AUTOGRAD])


CLAIMS = [
    Claim(
        "the hand-derived gradient equals autograd",
        "at the start, the largest deviation is at most 1e-5 of the largest entry",
        (BY_HAND,),
        lambda runs: gradients_agree(runs[BY_HAND]),
        where="check of the gradient with torch",
        identity=True,
    ),
    Claim(
        "a straight line is not a good fit for the sine",
        f"explains less than {100 * GOOD:.0f} % of the variance of the 20 rows; the limit is ours",
        (SINE_LINE,),
        negated(explains(SINE_LINE, GOOD)),
        where="after the picture of the line over the sine",
        levels={
            f"less than {100 * s:.0f} %": negated(explains(SINE_LINE, s)) for s in (0.5, 0.8, 0.9)
        },
        bounds={"the best straight line": negated(best_line_explains(SINE_LINE))},
    ),
    Claim(
        "the network fits the sine better than the line",
        "sum of squares on the 20 rows after the last update, seed by seed",
        (SINE_NETWORK, SINE_LINE),
        less("sse", SINE_NETWORK, SINE_LINE),
        where="before the network: an activation is best for what is not linear",
    ),
    Claim(
        "the network is a good fit for the sine",
        f"explains at least {100 * GOOD:.0f} % of the variance of the 20 rows; the limit is ours",
        (SINE_NETWORK,),
        explains(SINE_NETWORK, GOOD),
        levels={
            f"{100 * share:.0f} %": explains(SINE_NETWORK, share) for share in (0.8, 0.9, 0.95)
        },
        bounds={
            "the true function itself": truth_explains,
            "the best straight line": best_line_explains(SINE_NETWORK),
        },
    ),
    Claim(
        "the network follows the true function",
        "mean squared distance to 4 sin x on all 100 rows below the noise variance 1",
        (SINE_NETWORK,),
        truth_within(1.0),
        levels={f"below {limit:g}": truth_within(limit) for limit in (0.5, 1.0, 2.0)},
    ),
    falling_losses(AUTOGRAD, "the printed losses of the line", PRINT_INTERVAL),
    falling_losses(SINE_NETWORK, "the printed losses of the network", PRINT_INTERVAL),
]

SLIPS = [
    Slip(
        "The line drawn over the sine passes the fitted intercept as its slope, too, so the "
        "picture shows another line than the one that was fitted.",
        "sum of squares of the line as drawn, divided by that of the fitted line",
        (SINE_LINE,),
        intercept_as_slope,
        sides=(
            ("the line as drawn", lambda runs: intercept_as_slope(runs) * sse(runs, SINE_LINE)),
            ("the fitted line", lambda runs: sse(runs, SINE_LINE)),
        ),
    ),
    Slip(
        "Two hundred steps of descent with autograd stop before the line is found; the page calls "
        "it trained.",
        "sum of squares after the last step, divided by the least possible one",
        (AUTOGRAD,),
        not_converged,
        sides=(
            ("after 200 steps", lambda runs: sse(runs, AUTOGRAD)),
            ("the best line", lambda runs: sse(runs, AUTOGRAD) / not_converged(runs)),
        ),
    ),
    Slip(
        "The noise of the line is written N(x'w, 2.0), that of the sine N(4 sin x, 1^2). The 2.0 "
        "is a standard deviation, not a variance.",
        consequence="The text is wrong, the code is right, so no number changes.",
    ),
    Slip(
        "The derivative is headed d network / dw, but it is that of the squared loss.",
        consequence="The heading alone is wrong, so no number changes.",
    ),
    Slip(
        "Setting the derivative to zero is introduced as the way to a maximum, and descent as the "
        "way to a minimum, although both look for the minimum of the loss.",
        consequence="The text alone is wrong, so no number changes.",
    ),
    Slip(
        "The vector of losses is made as long as there are rows, not steps.",
        consequence="R lengthens it without a word, so no number changes.",
    ),
]
