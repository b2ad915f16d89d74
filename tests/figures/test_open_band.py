"""A band where replicas have diverged."""

import numpy as np

from mlpfit.figures.parts import fill_between_quantiles, new


def test_a_band_is_open_at_the_top_where_replicas_have_diverged():
    values = np.tile(np.linspace(0, 1, 100), (2, 1))
    values[1, :20] = np.nan  # a fifth
    _, ax = new()
    fill_between_quantiles(ax, np.array([0.0, 1.0]), values)
    ninety = ax.collections[0].get_paths()[0].vertices
    assert ax.get_ylim()[1] < 1.1 < ninety[:, 1].max()
    assert "open: diverged" in str(ax.collections[0].get_label())
