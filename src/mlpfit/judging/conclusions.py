"""What the pages conclude, as predicates over seeds: each returns one truth value per replica.

Methods on shared data are compared seed by seed. A diverged replica counts as one in which the
conclusion fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mlpfit.runs.run import Run

Ensembles = Mapping[str, Run]


@dataclass(frozen=True)
class Conclusion:
    """claim: the page's statement; measure: how it is made checkable; holds: per replica."""

    tutorial: str
    claim: str
    measure: str
    holds: Callable[[Ensembles], np.ndarray]


def number(runs: Ensembles, experiment: str, name: str) -> np.ndarray:
    """A final number of every replica; inf where it diverged."""
    run = runs[experiment]
    return np.where(run.diverged, np.inf, run.metrics[name])


def less(name: str, *experiments: str) -> Callable[[Ensembles], np.ndarray]:
    """The number grows strictly along these experiments."""

    def holds(runs: Ensembles) -> np.ndarray:
        values = [number(runs, experiment, name) for experiment in experiments]
        return np.logical_and.reduce([a < b for a, b in pairwise(values)])

    return holds


def within(
    name: str, experiment: str, reference: str, share: float
) -> Callable[[Ensembles], np.ndarray]:
    return lambda runs: (
        number(runs, experiment, name) <= (1 + share) * number(runs, reference, name)
    )


def r2(run: Run) -> np.ndarray:
    """Share of the variance of the training rows that the fit explains."""
    y = run.data["y"][..., 0]
    return 1 - run.metrics["sse"] / ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)


def kinks(run: Run) -> np.ndarray:
    """Where the units of the only hidden layer switch, -b / w: (R, h)."""
    (weight, bias), _ = run.parameters()
    with np.errstate(divide="ignore", invalid="ignore"):
        return -bias[:, 0] / weight[:, 0]


def own_sections(run: Run) -> np.ndarray:
    """All kinks inside the range of the inputs and no two closer than 1 % of it."""
    low, high = run.data["pool_x"].min(), run.data["pool_x"].max()
    places = np.sort(kinks(run), axis=1)
    inside = ((places > low) & (places < high)).all(axis=1)
    return inside & (np.diff(places, axis=1) > 0.01 * (high - low)).all(axis=1)


def gradients_agree(run: Run) -> np.ndarray:
    """Largest deviation of the chain rule written out by hand from autograd, at the initial
    weights, below 1e-5 of the gradient's largest entry."""
    import torch

    from mlpfit.model import losses, mlp

    x, y = (torch.tensor(run.data[name], dtype=torch.float64) for name in ("x", "y"))
    layers = [
        (
            torch.from_numpy(w).double().requires_grad_(),
            torch.from_numpy(b).double().requires_grad_(),
        )
        for w, b in run.parameters(step=0)
    ]
    kind, activation = run.config["loss"], run.config["model"]["activation"]
    made = mlp.outputs(layers, x, activation)
    parameters = [p for layer in layers for p in layer]
    by_autograd = torch.autograd.grad(losses.loss(kind, made[-1], y).sum(), parameters)
    with torch.no_grad():
        by_hand = mlp.gradients(layers, made, losses.derivative(kind, made[-1], y), activation)
    apart = [
        ((a - h).abs().amax((1, 2)), a.abs().amax((1, 2)))
        for a, h in zip(by_autograd, by_hand, strict=True)
    ]
    largest = torch.stack([scale for _, scale in apart]).amax(0)
    return (torch.stack([d for d, _ in apart]).amax(0) <= 1e-5 * largest).numpy()


def best_line_mse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean squared error of the least-squares straight line through x, y (R, n, 1): (R,)."""
    x, y = x[..., 0], y[..., 0]
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    return (y**2).mean(1) - (x * y).mean(1) ** 2 / (x**2).mean(1)


def _best_line(runs: Ensembles) -> np.ndarray:
    data = runs["restoration/linear"].data
    return best_line_mse(data["x"], data["y"])


SSE = "sum of squares on the training rows after the last update"
SECTION = "kinks -b/w inside the range, none closer than 1 % of it"
MSE = "mean squared error on all 1024 rows after the last update"
CONCLUSIONS = [
    Conclusion(
        "tower",
        "the larger net fits better",
        f"{SSE}, seed by seed",
        less("sse", "tower/large", "tower/small"),
    ),
    Conclusion(
        "plane",
        "least squares < sequential < scratch",
        f"{SSE}, all in this order",
        less("sse", "plane/least_squares", "plane/sequential", "plane/scratch"),
    ),
    Conclusion(
        "plane",
        "least squares < sequential",
        SSE,
        less("sse", "plane/least_squares", "plane/sequential"),
    ),
    Conclusion(
        "plane", "least squares < scratch", SSE, less("sse", "plane/least_squares", "plane/scratch")
    ),
    Conclusion(
        "plane", "sequential < scratch", SSE, less("sse", "plane/sequential", "plane/scratch")
    ),
    Conclusion(
        "plane",
        "the net from scratch comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        within("sse", "plane/scratch", "plane/least_squares", 0.05),
    ),
    Conclusion(
        "plane",
        "the sequential net comes within 5 % of least squares",
        f"{SSE}, at most 1.05 times",
        within("sse", "plane/sequential", "plane/least_squares", 0.05),
    ),
    Conclusion(
        "gradient",
        "the hand-derived gradient equals autograd",
        "largest deviation at the start below 1e-5, linear unit",
        lambda runs: gradients_agree(runs["gradient/line_by_hand"]),
    ),
    Conclusion(
        "plane",
        "the hand-derived gradient equals autograd",
        "largest deviation at the start below 1e-5, 3-32-1 ReLU",
        lambda runs: gradients_agree(runs["plane/scratch"]),
    ),
    Conclusion(
        "gradient",
        "a straight line is not a good fit for the sine",
        "explains less than 90 % of the variance of the 20 rows",
        lambda runs: r2(runs["gradient/sine_by_hand"]) < 0.9,
    ),
    Conclusion(
        "gradient",
        "the network is a good fit for the sine",
        "explains at least 90 % of the variance of the 20 rows",
        lambda runs: r2(runs["gradient/sine_network"]) >= 0.9,
    ),
    Conclusion(
        "gradient",
        "the network follows the true function",
        "mean squared distance to 4 sin x on all 100 rows below the noise variance 1",
        lambda runs: number(runs, "gradient/sine_network", "truth_mse") < 1,
    ),
    Conclusion(
        "parabola",
        "eight neurons approximate the parabola",
        "root mean squared error at most 2 % of the range 0 to 25",
        lambda runs: number(runs, "parabola/eight_neurons", "truth_mse") <= 0.5**2,
    ),
    Conclusion(
        "parabola",
        "all eight neurons are alive",
        "no hidden unit is zero on every sample",
        lambda runs: runs["parabola/eight_neurons"].metrics["dead_units"] == 0,
    ),
    Conclusion(
        "parabola",
        "each hidden unit takes its own section of the curve",
        SECTION,
        lambda runs: own_sections(runs["parabola/eight_neurons"]),
    ),
    Conclusion(
        "restoration",
        "each of the five units takes its own section of the curve",
        SECTION,
        lambda runs: own_sections(runs["restoration/narrow"]),
    ),
    Conclusion(
        "restoration",
        "a hundred neurons beat five",
        MSE,
        less("mse", "restoration/wide", "restoration/narrow"),
    ),
    Conclusion(
        "restoration",
        "the framework's optimiser beats the plain one",
        f"{MSE}; size and epochs of the framework's net are our choice",
        less("mse", "restoration/framework", "restoration/wide"),
    ),
    Conclusion(
        "restoration",
        "without activation the curve can't be restored",
        f"{MSE}, above that of five units with activation",
        less("mse", "restoration/narrow", "restoration/linear"),
    ),
    Conclusion(
        "restoration",
        "without activation it gets no better than the best straight line",
        "mean squared error at least that of the least-squares line",
        lambda runs: number(runs, "restoration/linear", "mse") >= _best_line(runs) * (1 - 1e-9),
    ),
]
