"""What a ready sweep answers, in a sentence made from the rows of its summary by its tutorial's
``answers.py`` (``ANSWERS``: name of the sweep -> function of the rows)."""

from mlpfit.config.catalogue import tutorial
from mlpfit.errors import users_code
from mlpfit.sweeps.summary import Row


def answer(sweep: str, rows: list[Row]) -> str:
    """The sentence; empty for a sweep that asks nothing in particular or has failed jobs."""
    if not sweep or any(row["failure"] for row in rows):
        return ""
    answers = getattr(tutorial(sweep).part("answers"), "ANSWERS", {})
    name = sweep.split("/", 1)[1]
    with users_code(f"the answer of sweep={sweep}"):
        return answers[name](rows) if name in answers else ""


def median(row: Row) -> float:
    """Of the error on the training rows, over the replicas."""
    return float(row["mse_median"])
