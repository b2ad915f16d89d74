"""The fitted sine of either net."""

from mlpfit.figures.parts import Drawing, draw_band, new_axes, sorted_rows


def fit(run, replicas=None):
    figure, ax = new_axes()
    x, y = sorted_rows(run)
    draw_band(ax, replicas, x)
    ax.plot(x[:, 0], y[:, 0], ".")
    ax.plot(x[:, 0], run.predict(x)[0, :, 0])
    return figure


FIGURES = [
    Drawing(f"fit_{name}", name, "The fitted sine", fit, band=True)
    for name in ("one_layer", "two_layers")
]
