"""The net's answer to each row of the table, which the page prints at the end."""

import numpy as np

from mlpfit import Run


def answer(run: Run, step: int, first: int, second: int) -> np.ndarray:
    """Output of each replica after this step: (R,)."""
    return run.predict([[float(first), float(second)]], step)[:, 0, 0]


QUANTITIES = {
    f"at_{a}{b}": lambda run, step, a=a, b=b: answer(run, step, a, b)
    for a in (0, 1)
    for b in (0, 1)
}
