"""The look of all figures: one style sheet, one colour and line style per meaning."""

from contextlib import AbstractContextManager
from pathlib import Path

# The colours differ in lightness, for black and white print; line styles and markers differ, too.
TRUTH = "#1a1a1a"  # the function itself, dashed
ROWS = "#7f7f7f"  # data points
FIT = "#b22222"  # a trained net
BEFORE = "#e69f00"  # the net before training
DIAGONAL = "#d62728"  # observed = predicted
UNITS = "#0072b2"  # hidden units
BAND = "#b22222"  # replicas, behind the fit
PUBLISHED = "#009e73"  # numbers of the tutorials


def use() -> AbstractContextManager[None]:
    """Everything drawn inside has this style, whatever the user's matplotlibrc says."""
    import matplotlib.style

    return matplotlib.style.context(["default", str(Path(__file__).with_name("style.mplstyle"))])
