"""Small pictures of a fit as it develops, drawn many a second: axes, truth and rows once, and over
them each picture's own lines."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mlpfit.figures import style
from mlpfit.figures.parts import FitPanels


class FitPicture:
    """Left the prediction over the rows, in the middle the residuals, right each unit's share, its
    scale that of the final ones. ``curves``: over the net's input; otherwise over the observed
    value, and predictions are dots."""

    def __init__(self, panels: FitPanels, curves: bool) -> None:
        self.panels, self.order = panels, np.argsort(panels.x, kind="stable")
        self.at = panels.x[self.order]
        mark, over, known = "-", "input", style.TRUTH
        if not curves:
            mark, over, known = ".", "observed value", style.DIAGONAL
        count = 3 if panels.shares.shape[2] else 2
        with style.use(), rc_context({"figure.constrained_layout.use": False, "axes.titlesize": 8}):
            figure = Figure(figsize=(3.0 * count, 2.4), dpi=60)
            self.canvas = FigureCanvasAgg(figure)
            fit, residual, *third = figure.subplots(1, count, sharex=True)
            figure.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.91, wspace=0.18)
            fit.set_title(f"prediction over {over}")
            fit.plot(panels.rows_x, panels.rows_y, ".", color=style.ROWS, alpha=0.5)
            fit.plot(self.at, panels.truth[self.order], "--", color=known)
            self.lines = fit.plot([], [], mark, color=style.FIT, animated=True)
            reach = 0.525 * float(np.ptp(panels.rows_y)) or 0.5
            residual.set_ylim(-reach, reach)
            residual.set_title("residual (observed - predicted)")
            residual.axhline(0, color=style.TRUTH, lw=0.8)
            self.lines += residual.plot([], [], ".", color=style.ROWS, animated=True)
            for ax in third:
                shares = panels.shares[-1]
                finite = np.abs(shares[np.isfinite(shares)])
                reach = 1.2 * float(finite.max(initial=0.0)) or 1.0
                ax.set_ylim(-reach, reach)
                ax.set_title("share of each unit")
                look = {"color": style.UNITS, "lw": 0.8, "ms": 2, "animated": True}
                self.lines += ax.plot(shares[:0], shares[:0], mark, **look)
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, at: int) -> Image.Image:
        """The picture of this snapshot, counted from 0."""
        self.canvas.restore_region(self.background)
        panels, order = self.panels, self.order
        points = [(self.at, panels.prediction[at][order]), (panels.rows_x, panels.residual[at])]
        points += [(self.at, share) for share in panels.shares[at][order].T]
        for line, (across, up) in zip(self.lines, points, strict=True):
            line.set_data(across, up)
            line.axes.draw_artist(line)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3])


def png(image: Image.Image) -> bytes:
    """With a palette of 64 colours: a drawing has fewer, and the file is a third of the size."""
    file = io.BytesIO()
    image.quantize(64).save(file, "png", optimize=False)
    return file.getvalue()
