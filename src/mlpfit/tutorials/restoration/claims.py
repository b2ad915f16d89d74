"""Claims and slips of the restoration page, and our own questions."""

import numpy as np

from mlpfit.config.compose import as_published
from mlpfit.config.schema import parse
from mlpfit.judging.claims import (
    Claim,
    Ensembles,
    Predicate,
    Slip,
    best_line_mse,
    final,
    less,
    ratio,
    separate_sections,
)
from mlpfit.runs.run import Run

MSE = "mean squared error on all 1024 rows after the last update, seed by seed"
NARROW, WIDE = "restoration/narrow", "restoration/wide"
FRAMEWORK, LINEAR = "restoration/framework", "restoration/linear"
LONGER, UNMIXED = f"{WIDE}:10000_steps", f"{WIDE}:unmixed_rows"
UNMIXED_NARROW, ALL_ROWS = f"{NARROW}:unmixed_rows_of_five_units", f"{WIDE}:every_row_drawn"
PLAIN, SHUFFLED = f"{FRAMEWORK}:no_momentum", f"{FRAMEWORK}:rows_shuffled_every_epoch"
ONE_MACRO_BATCH = f"{FRAMEWORK}:no_short_batch"
RANGE = 4  # of 2 sin x + 5, from 3 to 7
SEEDS = 100  # whose orders of rows are drawn again
TRAINING = "section on training the network"


def rows_drawn(run: Run) -> np.ndarray:
    """Whether any batch contains a row, in the first seeds: (SEEDS, rows)."""
    from mlpfit.data import order
    from mlpfit.data.datamodule import draw  # here: importing Lightning takes a second or two

    published = as_published(run.config["name"])
    config, seeds = parse(published.plain() | {"data": run.config["data"]}), run.seeds[:SEEDS]
    drawn_orders = [draw(seed=seed, steps=config.steps, **config.sampling)[1] for seed in seeds]
    orders = order.stack([one for one in drawn_orders if one is not None])
    drawn = np.zeros((len(seeds), config.rows + 1), dtype=bool)  # the last column: -1, no row
    drawn[np.arange(len(seeds))[:, None], orders.numbers()] = True
    return drawn[:, :-1]


def never_drawn(experiment: str) -> Predicate:
    """Number of rows, of 1024, that no batch contains."""
    return lambda runs: (~rows_drawn(runs[experiment])).sum(axis=1).astype(float)


def error_where_never_drawn(runs: Ensembles) -> np.ndarray:
    """Mean squared error on the rows never drawn over that on the rows drawn, a hundred units."""
    run = (*runs[WIDE].shards, runs[WIDE])[0]  # the first shard has the first seeds
    drawn = rows_drawn(run)
    squares = ((run.predict(run.data["x"]) - run.data["y"])[: len(drawn), :, 0]) ** 2
    pairs = zip(squares, drawn, strict=True)
    return np.array([square[~row].mean() / square[row].mean() for square, row in pairs])


def beats_the_line(experiment: str) -> Predicate:
    """The net's error is below that of the least-squares line."""
    return lambda runs: runs[experiment].final("mse") < best_line_mse(runs[experiment])


def no_better_than_a_line(runs: Ensembles) -> np.ndarray:
    return runs[LINEAR].final("mse") >= best_line_mse(runs[LINEAR]) * (1 - 1e-9)


def rms_above(share: float) -> Predicate:
    """The root mean squared error exceeds this share of the range."""
    return lambda runs: runs[WIDE].final("mse") > (share * RANGE) ** 2


CLAIMS = [
    Claim(
        "without activation the curve can't be restored",
        "mean squared error at least that of the least-squares straight line",
        (LINEAR,),
        no_better_than_a_line,
        where="theory, first sentence",
        identity=True,
    ),
    Claim(
        "five units with activation do better than any straight line",
        "mean squared error below that of the least-squares straight line",
        (NARROW,),
        beats_the_line(NARROW),
        where="theory, first sentence: activation mends it",
    ),
    separate_sections(NARROW, "each of the five units", where=f"{TRAINING}, after the five units"),
    Claim(
        "a hundred neurons look better than five",
        MSE,
        (WIDE, NARROW),
        less("mse", WIDE, NARROW),
        where=f"{TRAINING}, after the hundred units",
    ),
    Claim(
        "a hundred neurons are still not accurate",
        "root mean squared error above 1 % of the range 3 to 7; the limit is ours",
        (WIDE,),
        rms_above(0.01),
        where=f"{TRAINING}, after the hundred units",
        levels={f"{100 * share:.1f} %": rms_above(share) for share in (0.005, 0.01, 0.02, 0.05)},
    ),
    Claim(
        "more steps improve the quality",
        f"{MSE}, 10,000 steps against 1,000",
        (LONGER, WIDE),
        less("mse", LONGER, WIDE),
        where=f"{TRAINING}, last paragraph",
    ),
    *(
        Claim(
            f"mixing the rows beforehand helps {units} units",
            f"{MSE}, against batches of neighbouring rows from the same starts",
            (mixed, unmixed),
            less("mse", mixed, unmixed),
            where=f"{TRAINING}, first paragraph",
        )
        for units, mixed, unmixed in (
            ("five", NARROW, UNMIXED_NARROW),
            ("a hundred", WIDE, UNMIXED),
        )
    ),
    Claim(
        "the more advanced optimiser does better",
        f"{MSE}; momentum 0.9 against none, same steps, batches and order; units and epochs are "
        "our choice",
        (FRAMEWORK, PLAIN),
        less("mse", FRAMEWORK, PLAIN),
        where="section on the library's tools, first sentence",
    ),
    Claim(
        "the framework's run beats the plain one",
        f"{MSE}; not matched: 3,090 steps of batch 10 against 1,000 of 100",
        (FRAMEWORK, WIDE),
        less("mse", FRAMEWORK, WIDE),
    ),
    Claim(
        "the framework's recipe stays finite",
        "no loss becomes infinite with a hundred units, 30 epochs and N(0, 1) weights; units and "
        "epochs are our choice",
        (FRAMEWORK,),
        lambda runs: ~runs[FRAMEWORK].diverged,
    ),
]

SLIPS = [
    Slip(
        "Batches start below row 1000 - batch although there are 1024 rows, so the end of the "
        "mixed rows is never shown. The last start is 899, so at least 25 rows (not 24) stay "
        "unseen.",
        "rows of the 1024 that no batch shows, in each of the first 100 seeds",
        (NARROW, ALL_ROWS),
        never_drawn(NARROW),
        without=never_drawn(ALL_ROWS),
    ),
    Slip(
        "The same slip, seen at the rows that are never shown: their neighbours are shown, and the "
        "curve is smooth.",
        "mean squared error on the rows never shown divided by that on the others, in each of the "
        "first 100 seeds",
        (WIDE,),
        error_where_never_drawn,
    ),
    Slip(
        "The same slip, seen in the error on all rows.",
        "mean squared error with starts below 1000 divided by that with starts below 1024, seed by "
        "seed",
        (WIDE, ALL_ROWS),
        ratio("mse", WIDE, ALL_ROWS),
        sides=(
            ("starts below 1000", final("mse", WIDE)),
            ("starts below 1024", final("mse", ALL_ROWS)),
        ),
    ),
    Slip(
        "Macro batches of 1000 cut the 1024 rows so that each epoch ends with a batch of 4, whose "
        "rows count two and a half times as much as others.",
        "mean squared error divided by that with one macro batch of all rows, seed by seed",
        (FRAMEWORK, ONE_MACRO_BATCH),
        ratio("mse", FRAMEWORK, ONE_MACRO_BATCH),
        sides=(
            ("macro batches of 1000", final("mse", FRAMEWORK)),
            ("one macro batch", final("mse", ONE_MACRO_BATCH)),
        ),
    ),
    Slip(
        "PuzzleLib's trainer permutes blocks of neighbouring rows in every epoch, where the "
        "textbook shuffles the rows themselves. The page shuffles them once, beforehand.",
        "mean squared error divided by that with rows shuffled in every epoch, seed by seed",
        (FRAMEWORK, SHUFFLED),
        ratio("mse", FRAMEWORK, SHUFFLED),
        sides=(
            ("blocks permuted", final("mse", FRAMEWORK)),
            ("rows shuffled", final("mse", SHUFFLED)),
        ),
    ),
    Slip(
        "The formula takes the derivative of ReLU at 0 as 1, the code as 0.",
        consequence="No row lies on a kink, so no number changes.",
    ),
]
