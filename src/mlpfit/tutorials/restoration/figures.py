"""2 sin x + 5 before and after training."""

from mlpfit.figures import style
from mlpfit.figures.parts import Drawing, Figure, draw_band, grid_of_axes, sorted_rows
from mlpfit.runs.run import Run


def before_after(run: Run, replicas: Run | None = None) -> Figure:
    """True values as a thick line, the net's as a thin one: left untrained, right trained."""
    figure, axes = grid_of_axes(2, columns=2, sharex=True)
    x, y = sorted_rows(run)
    for ax, step, label in zip(axes, (0, None), ("before training", "after training"), strict=True):
        draw_band(ax, replicas, x, step)
        ax.plot(x[:, 0], y[:, 0], color=style.TRUTH, lw=5, label="true values")
        prediction = run.predict(x, step)[0, :, 0]
        ax.plot(x[:, 0], prediction, color=style.BEFORE, lw=2, label=f"net {label}")
        ax.set(title=f"{run.config['model']['hidden']} units {label}", xlabel="x", ylabel="y")
        ax.legend()
    return figure


CAPTIONS = {
    "narrow": "Five hidden units before and after 1000 steps",
    "wide": "A hundred hidden units before and after 1000 steps",
    "framework": "A hundred units with momentum before and after 30 epochs, both our choice",
    "linear": "Five units without activation before and after 1000 steps",
}
FIGURES = [
    Drawing(name, name, caption, before_after, band=True, ours=name == "linear")
    for name, caption in CAPTIONS.items()
]
