"""Small pictures of a fit as it develops, for TensorBoard: same colours as the figures, drawn many
a second.

The axes, the truth and the rows are drawn once; each picture redraws only its own lines over that
background.
"""

import io
from typing import Any

import numpy as np

from mlpfit.figures import style


class FitPicture:
    """Left the fit over the rows, in the middle what is left of them, right what each hidden unit
    of the last layer adds; with several inputs all three over the observed value, as dots.

    x, y (n, d), (n, 1) are the rows; grid (m, d), truth (m, 1) the noise-free function, in the
    order of the input; parts (m, hidden) what the units add at last, for the scale.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, grid: np.ndarray, truth: np.ndarray, parts: np.ndarray
    ) -> None:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.x, self.y = x[:, 0], y[:, 0]
        self.one_input = x.shape[1] == 1
        self.grid = grid[:, 0] if self.one_input else self.y
        hidden = parts.shape[1]
        panels = 3 if hidden else 2
        spread = 1.05 * float(np.ptp(y)) or 1.0
        with (
            style.use(),
            matplotlib.rc_context({"figure.constrained_layout.use": False, "axes.titlesize": 8}),
        ):
            figure = Figure(figsize=(3.0 * panels, 2.4), dpi=60, layout=None)
            self.canvas = FigureCanvasAgg(figure)
            self.axes = axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
            figure.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.91, wspace=0.18)
            fit, left = axes[0], axes[1]
            if self.one_input:
                fit.set(title="fit")
                fit.plot(self.x, self.y, ".", color=style.ROWS, alpha=0.5)
                fit.plot(self.grid, truth[:, 0], "--", color=style.TRUTH)
                left.set(xlim=fit.get_xlim())
            else:
                fit.set(title="predicted over observed")
                fit.plot([y.min(), y.max()], [y.min(), y.max()], color=style.DIAGONAL)
                left.set(xlim=(y.min(), y.max()))
            left.set(ylim=(-spread / 2, spread / 2), title="residual (observed - predicted)")
            left.axhline(0, color=style.TRUTH, lw=0.8)
            mark = "-" if self.one_input else "."
            (self.line,) = fit.plot([], [], mark, color=style.FIT, animated=True)
            (self.residual,) = left.plot([], [], ".", color=style.ROWS, animated=True)
            self.units = []
            if panels == 3:
                reach = 1.2 * float(np.nanmax(np.abs(parts))) or 1.0
                axes[2].set(xlim=fit.get_xlim(), ylim=(-reach, reach), title="what each unit adds")
                look: dict[str, Any] = {"color": style.UNITS, "lw": 0.8, "ms": 2, "animated": True}
                self.units = [axes[2].plot([], [], mark, **look)[0] for _ in range(hidden)]
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, prediction: np.ndarray, at_rows: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """prediction (m,) on the grid (on the rows where there are several inputs), at_rows (n,),
        parts (m, hidden) -> picture (height, width, 3), uint8."""
        self.canvas.restore_region(self.background)
        self.line.set_data(self.grid, prediction)
        self.residual.set_data(self.x if self.one_input else at_rows, self.y - at_rows)
        for unit, part in zip(self.units, parts.T, strict=False):
            unit.set_data(self.grid, part)
        for axes, lines in zip(self.axes, ([self.line], [self.residual], self.units), strict=False):
            for line in lines:
                axes.draw_artist(line)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def png(picture: np.ndarray) -> bytes:
    """Encoded with a palette of 64 colours: the drawings have fewer, and the file is a third of the
    size."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).quantize(64).save(buffer, "png", optimize=False)
    return buffer.getvalue()
