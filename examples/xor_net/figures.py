"""Where the net says which value."""

from mlpfit.figures.boundary import decision_boundary
from mlpfit.figures.parts import Drawing

FIGURES = [Drawing("regions", "four_units", "Exclusive or", decision_boundary, band=True)]
