"""Small pictures of a fit as it develops, drawn fast enough to accompany a run of a second.

The axes, the truth and the rows are drawn once; each picture redraws only its own lines over that background.
"""

import numpy as np

from mlpfit.figures import style


class FitPicture:
    """Left the fit over the rows, right what each hidden unit of the last layer adds (for several inputs: observed
    against predicted, alone). x, y (n, d), (n, 1) are the rows; grid (m, d), truth (m, 1) the noise-free function."""

    def __init__(self, x: np.ndarray, y: np.ndarray, grid: np.ndarray, truth: np.ndarray, hidden: int) -> None:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.one_input = x.shape[1] == 1
        panels = 2 if self.one_input and hidden else 1
        with style.use(), matplotlib.rc_context({"figure.constrained_layout.use": False}):
            figure = Figure(figsize=(3.2 * panels, 2.4), dpi=60, layout=None)
            self.canvas = FigureCanvasAgg(figure)
            self.axes = axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
            figure.subplots_adjust(left=0.12, right=0.98, bottom=0.12, top=0.97)
            fit = axes[0]
            if self.one_input:
                fit.plot(x[:, 0], y[:, 0], ".", color=style.ROWS, alpha=0.5)
                fit.plot(grid[:, 0], truth[:, 0], "--", color=style.TRUTH)
                self.grid = grid[:, 0]
                (self.line,) = fit.plot([], [], color=style.FIT, animated=True)
            else:
                fit.plot([y.min(), y.max()], [y.min(), y.max()], color=style.DIAGONAL)
                self.grid = y[:, 0]
                (self.line,) = fit.plot([], [], ".", color=style.FIT, animated=True)
            self.units = []
            if panels == 2:
                units = axes[1]
                spread = 1.5 * (truth.max() - truth.min())
                units.set(xlim=(grid.min(), grid.max()), ylim=(-spread, spread))
                self.units = [units.plot([], [], color=style.UNITS, lw=0.8, animated=True)[0] for _ in range(hidden)]
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, prediction: np.ndarray, parts: np.ndarray | None) -> np.ndarray:
        """prediction (m,), parts (m, hidden) -> picture (height, width, 3), uint8."""
        self.canvas.restore_region(self.background)
        self.line.set_data(self.grid, prediction)
        for unit, part in zip(self.units, parts.T if parts is not None else [], strict=False):
            unit.set_data(self.grid, part)
        for axes, lines in zip(self.axes, ([self.line], self.units), strict=False):
            for line in lines:
                axes.draw_artist(line)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()
