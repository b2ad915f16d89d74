"""The ordinary split: rows held out from training for validation and for test.

Both are counts or shares of the observed rows, drawn by the replica's seed, so every replica has a
split of its own. A share is rounded up to whole rows, as in
``sklearn.model_selection.train_test_split``.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Part = int | float | None  # a count, or a share below 1; None: no rows are held out


class Parts(NamedTuple):
    """Which of the observed rows are for training, validation and test: numbers of rows, each part
    in the order of the rows."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Split:
    """Rows to hold out for validation and for test."""

    validation: Part = None
    test: Part = None

    def __bool__(self) -> bool:
        return self.validation is not None or self.test is not None

    def counts(self, rows: int) -> tuple[int, int]:
        """Rows of validation and of test, of so many observed ones."""
        first, second = (_count(part, rows) for part in (self.validation, self.test))
        return first, second

    def training(self, rows: int) -> int:
        """Rows that are left for training."""
        return rows - sum(self.counts(rows))

    def problem(self, rows: int, prefix: str = "") -> str | None:
        """What does not fit so many observed rows, or None; prefix: before the names."""
        parts = {"validation": self.validation, "test": self.test}
        for name, part in parts.items():
            wrong = isinstance(part, bool) or (part is not None and part <= 0)
            if wrong or (isinstance(part, float) and part >= 1):
                allowed = "a number of rows from 1 on, or a share between 0 and 1"
                return f"{prefix}{name}={part}: must be {allowed}"
        if self.training(rows) < 1:
            given = " and ".join(f"{prefix}{k}={v}" for k, v in parts.items() if v is not None)
            return f"{given}: leave no row of {rows} for training"
        return None

    def draw(self, rng: Any, rows: int) -> Parts:
        """Which of so many observed rows are in which part: the test rows are the first of a
        permutation, the next ones those of validation."""
        validation, test = self.counts(rows)
        permutation = rng.permutation(rows)
        ends = (permutation[test + validation :], permutation[test : test + validation])
        training, held_out = map(np.sort, ends)
        return Parts(training, held_out, np.sort(permutation[:test]))


def _count(part: Part, rows: int) -> int:
    if part is None:
        return 0
    return part if isinstance(part, int) else math.ceil(part * rows)
