"""What the restoration page claims and where it slips."""

import numpy as np

from mlpfit.config.compose import as_published
from mlpfit.data import order
from mlpfit.data.datamodule import draw
from mlpfit.judging.claims import Claim, Ensembles, Slip, best_line_mse, less, own_sections
from mlpfit.runs.run import Run

MSE = "mean squared error on all 1024 rows after the last update"
NARROW, WIDE = "restoration/narrow", "restoration/wide"
FRAMEWORK, LINEAR = "restoration/framework", "restoration/linear"
SEEDS = 100  # whose orders are drawn again


def shown(run: Run) -> np.ndarray:
    """Which rows the batches of the first seeds show: (SEEDS, rows)."""
    config = as_published(run.config["name"])
    seeds = run.seeds[:SEEDS]
    orders = order.stack([draw(seed=seed, **config.sampling)[1] for seed in seeds])
    batches, _ = orders.batches(0, config.trainer.max_steps)  # (steps, SEEDS, batch)
    seen = np.zeros((len(seeds), config.rows), dtype=bool)
    seen[np.arange(len(seeds))[:, None], batches] = True
    return seen


def never_drawn(runs: Ensembles) -> np.ndarray:
    """Rows that none of the batches shows, of 1024."""
    return (~shown(runs[NARROW])).sum(axis=1).astype(float)


def error_where_never_drawn(runs: Ensembles) -> np.ndarray:
    """Mean squared error on the rows never shown over that on the rows shown, a hundred units."""
    run, seen = runs[WIDE], shown(runs[WIDE])
    squares = ((run.predict(run.data["x"]) - run.data["y"])[: len(seen), :, 0]) ** 2
    pairs = zip(squares, seen, strict=True)
    return np.array([square[~row].mean() / square[row].mean() for square, row in pairs])


def short_batch_weight(runs: Ensembles) -> np.ndarray:
    """Weight of a row in the shortest batch of an epoch over that of a row in a full one."""
    config = as_published(FRAMEWORK)
    lengths = draw(seed=config.seed, **config.sampling)[1][2]
    return np.array([lengths.max() / lengths.min()], dtype=float)


def no_better_than_a_line(runs: Ensembles) -> np.ndarray:
    linear = runs[LINEAR]
    return linear.final("mse") >= best_line_mse(linear) * (1 - 1e-9)


CLAIMS = [
    Claim(
        "each of the five units takes its own section of the curve",
        "kinks -b/w inside the range, none closer than 1 % of it",
        lambda runs: own_sections(runs[NARROW]),
    ),
    Claim("a hundred neurons beat five", MSE, less("mse", WIDE, NARROW)),
    Claim(
        "the framework's optimiser beats the plain one",
        f"{MSE}; size and epochs of the framework's net are our choice",
        less("mse", FRAMEWORK, WIDE),
    ),
    Claim(
        "without activation the curve can't be restored",
        f"{MSE}, above that of five units with activation",
        less("mse", NARROW, LINEAR),
    ),
    Claim(
        "without activation it gets no better than the best straight line",
        "mean squared error at least that of the least-squares line",
        no_better_than_a_line,
    ),
]

SLIPS = [
    Slip(
        "Start indices are drawn below 1000 - batch although there are 1024 points: the end of the "
        "permutation is never shown. The last start is 899, so at least 25 rows (not 24) stay "
        "unseen.",
        "rows of 1024 that no batch shows (first 100 seeds)",
        0.0,
        never_drawn,
    ),
    Slip(
        "What the rows that are never shown cost: next to nothing, their neighbours are shown.",
        "mean squared error on unseen over that on seen rows (first 100 seeds)",
        1.0,
        error_where_never_drawn,
    ),
    Slip(
        "Macro batches of 1000 cut the 1024 rows so that an epoch holds a batch of 4: its rows "
        "count more than the others.",
        "weight of a row there, over that of a row in a full batch",
        1.0,
        short_batch_weight,
    ),
    Slip(
        "The framework part is shown once; with N(0, 1) weights, a hundred units and momentum 0.9 "
        "the same recipe often diverges.",
        "1 in seeds that diverge; the mean is the share",
        0.0,
        lambda runs: runs[FRAMEWORK].diverged.astype(float),
    ),
    Slip(
        "The formula takes the derivative of ReLU at 0 as 1, the code as 0; no row lies on a kink, "
        "so nothing changes."
    ),
    Slip(
        "PuzzleLib's trainer permutes contiguous blocks, it does not shuffle samples; the page "
        "shuffles once beforehand. data.order=blocks follows it, data.order=shuffle is the "
        "textbook's."
    ),
]
