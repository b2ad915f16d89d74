"""Where each classifier says which arm."""

from mlpfit.figures.boundary import decision_boundary
from mlpfit.figures.parts import Drawing

FIGURES = [
    Drawing("lines", "softmax", "A linear classifier on the spiral", decision_boundary, band=True),
    Drawing("regions", "hundred_units", "A net on the spiral", decision_boundary, band=True),
]
