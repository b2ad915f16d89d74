"""Small pictures of a fit along its training, many a second: what stays the same (axes, truth,
rows) is drawn once, and each picture's lines over it."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mlpfit.figures import style
from mlpfit.figures.parts import FitPanels


class FitPicture:
    """Left the predictions, in the middle the residuals, right the share of each hidden unit, if
    there are any, scaled to the final shares. one_input: predictions are curves over the input;
    otherwise dots over the observed value."""

    def __init__(self, panels: FitPanels, one_input: bool) -> None:
        self.panels, self.order = panels, np.argsort(panels.x, kind="stable")
        self.x = panels.x[self.order]
        marker, x_name, color = "-", "input", style.TRUTH
        if not one_input:
            marker, x_name, color = ".", "observed value", style.DIAGONAL
        count = 3 if panels.shares.shape[2] else 2
        with style.use(), rc_context({"figure.constrained_layout.use": False, "axes.titlesize": 8}):
            figure = Figure(figsize=(3.0 * count, 2.4), dpi=60)
            self.canvas = FigureCanvasAgg(figure)
            fit, residual, *third = figure.subplots(1, count, sharex=True)
            figure.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.91, wspace=0.18)
            fit.set_title(f"prediction over {x_name}")
            fit.plot(panels.rows_x, panels.rows_y, ".", color=style.ROWS, alpha=0.5)
            fit.plot(self.x, panels.truth[self.order], "--", color=color)
            self.lines = fit.plot([], [], marker, color=style.FIT, animated=True)
            limit = 0.525 * float(np.ptp(panels.rows_y)) or 0.5
            residual.set_ylim(-limit, limit)
            residual.set_title("residual (observed - predicted)")
            residual.axhline(0, color=style.TRUTH, lw=0.8)
            self.lines += residual.plot([], [], ".", color=style.ROWS, animated=True)
            for ax in third:
                shares = panels.shares[-1]
                finite = np.abs(shares[np.isfinite(shares)])
                limit = 1.2 * float(finite.max(initial=0.0)) or 1.0
                ax.set_ylim(-limit, limit)
                ax.set_title("share of each unit")
                look = {"color": style.UNITS, "lw": 0.8, "ms": 2, "animated": True}
                self.lines += ax.plot(shares[:0], shares[:0], marker, **look)
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, snapshot: int) -> Image.Image:
        """The picture of this snapshot, counted from 0."""
        self.canvas.restore_region(self.background)
        panels, order = self.panels, self.order
        points = [(self.x, panels.prediction[snapshot][order])]
        points.append((panels.rows_x, panels.residual[snapshot]))
        points += [(self.x, share) for share in panels.shares[snapshot][order].T]
        for line, (x, y) in zip(self.lines, points, strict=True):
            line.set_data(x, y)
            line.axes.draw_artist(line)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3])


def png(image: Image.Image) -> bytes:
    """The image as PNG with 64 colours: the picture has fewer, and the file a third of the size."""
    file = io.BytesIO()
    image.quantize(64).save(file, "png", optimize=False)
    return file.getvalue()
