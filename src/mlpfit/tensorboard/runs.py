"""What TensorBoard shows of a finished run or ensemble, beside what was logged.

A run: ``fit`` (pictures), ``weights/...``, ``activations/...`` and ``kinks`` at the snapshots. An
ensemble: three runs p5, median, p95 with these quantiles of ``train/loss``, and their chart under
Custom Scalars. Both: the config and the verdicts on the published numbers as texts.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import yaml
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from mlpfit.figures import style
from mlpfit.figures.parts import FitPanels, fit_panels
from mlpfit.judging.statistics import QUANTILES, quantiles
from mlpfit.runs.run import Run
from mlpfit.tensorboard.events import add_curve, add_histogram, write_events

MAX_KINK = 1e3  # those farther from 0 would squeeze the others into one bin
LOSS = "train/loss"  # the tag in the log of a single run, so that the curves overlay
POINTS = 200  # of a curve
Verdicts = list[dict[str, Any]]  # the ledger's entries on the published numbers of one experiment


def write_run(run: Run, verdicts: Verdicts) -> int:
    """Write the run's event file. Returns 0 if it was up to date, else 1."""

    def add(writer: SummaryWriter) -> None:
        run.check_files()
        add_texts(writer, run, verdicts)
        inputs = run.data["pool_x" if run.data["x"].shape[2] == 1 else "x"][0]
        panels = fit_panels(run)
        snapshots = zip(run.snapshots.tolist(), draw_pictures(panels), panels.kinks, strict=True)
        tag = "fit" if run.data["y"].shape[2] == 1 else "fit of the first output"
        for step, picture, kinks in snapshots:
            if not run.classifies:  # its outputs are logits, which no axis shows beside the rows
                writer.add_image(tag, picture, step, dataformats="HWC")
            for layer, (weight, _) in enumerate(run.parameters(step)):
                add_histogram(writer, f"weights/{layer}", weight[0], step)
            for layer, output in enumerate(run.hidden(inputs, step)):
                add_histogram(writer, f"activations/{layer}", output[0], step)
            add_histogram(writer, "kinks", kinks[np.abs(kinks) < MAX_KINK], step)

    return write_events(run.path, [run.config, run.number_hashes(), verdicts], add)


def write_ensemble(run: Run, verdicts: Verdicts) -> int:
    """Write the ensemble's three event files; none for a closed form, which has no losses. Returns
    how many were out of date."""

    def add(quantile: str, writer: SummaryWriter) -> None:
        recorded = run.history["step"]
        steps = np.unique([*recorded[:: -(-len(recorded) // POINTS)], recorded[-1]])
        losses = quantiles(run.history["loss"][np.searchsorted(recorded, steps)])  # (3, steps)
        curves = dict(zip(QUANTILES, losses, strict=True))
        add_curve(writer, LOSS, steps, curves[quantile])
        if quantile == "median":  # the run that has the texts and the chart, which needs all three
            finite = np.isfinite(losses).all(axis=0)
            name = run.config["name"]  # in the tags, since a chart shows its tags in all runs
            for end, loss in curves.items():
                add_curve(writer, f"band/{name}/{end}", steps[finite], loss[finite])
            tags = [f"band/{name}/{end}" for end in ("median", "p5", "p95")]
            chart = {f"{name}: loss, 5 to 95 %": ["Margin", tags]}
            writer.add_custom_scalars({name.split("/")[0]: chart})
            writer.add_text("question", run.config["question"])
            add_texts(writer, run, verdicts)

    sources = [run.config, run.number_hashes(), verdicts]
    names = QUANTILES if len(run.history["step"]) else ()
    return sum(write_events(run.path / name, sources, partial(add, name)) for name in names)


def add_texts(writer: SummaryWriter, run: Run, verdicts: Verdicts) -> None:
    """Add the config and, if any number is published, a table of them with their verdicts."""
    writer.add_text("config", f"```yaml\n{yaml.safe_dump(run.config, sort_keys=False)}```")
    rows = ["| quantity | step | published | verdict | median of the replicas (5 to 95 %) |"]
    rows.append("| --- " * 5 + "|")
    for v in verdicts:
        step = "" if v["step"] is None else v["step"]
        band = f"{v['median']:.4g} ({v['p5']:.4g} to {v['p95']:.4g})" if "median" in v else ""
        row = f"| {v['quantity']} | {step} | {v['published']:g} | {v['verdict']} | {band} |"
        rows.append(row)
    if verdicts:
        writer.add_text("published", "\n".join(rows))


def draw_pictures(panels: FitPanels) -> Iterator[np.ndarray]:
    """The fit at every snapshot as RGB (height, width, 3): left the predictions (curves over the
    input, or dots over the observed value), in the middle the residuals, right the share of each
    hidden unit, if there are any, scaled to the final shares.

    Axes, rows and truth are drawn once, and for each snapshot only what moves: add_figure, which
    draws everything anew, takes ten times as long.
    """
    one_input = panels.x is not panels.rows_x
    marker, x_name = ("-", "input") if one_input else (".", "observed value")
    spread, shares = float(np.ptp(panels.rows_y)), np.abs(panels.shares[-1])
    largest = float(shares[np.isfinite(shares)].max(initial=0.0))
    views: list[tuple[Any, ...]] = [  # title, x (m,), y (S, m, lines), largest y, look
        (f"prediction over {x_name}", panels.x, panels.prediction[..., None], 0, marker, style.FIT),
        ("residual (observed - predicted)", panels.rows_x, panels.residual[..., None],
         0.525 * spread or 0.5, ".", style.ROWS),
        ("share of each unit", panels.x, panels.shares, 1.2 * largest or 1.0, marker, style.UNITS),
    ][: 3 if shares.size else 2]  # fmt: skip
    with style.use(), rc_context({"figure.constrained_layout.use": False, "axes.titlesize": 8}):
        figure = Figure(figsize=(3.0 * len(views), 2.4), dpi=60)
        axes = figure.subplots(1, len(views), sharex=True)
        figure.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.91, wspace=0.18)
        axes[0].plot(panels.rows_x, panels.rows_y, ".", color=style.ROWS, alpha=0.5)
        truth = np.array(sorted(zip(panels.x, panels.truth, strict=True))).T
        axes[0].plot(*truth, "--", color=style.TRUTH if one_input else style.DIAGONAL)
        axes[1].axhline(0, color=style.TRUTH, lw=0.8)
        moving = []
        for ax, (title, x, y, limit, look, color) in zip(axes, views, strict=True):
            ax.set_title(title)
            ax.set_ylim((-limit, limit) if limit else ax.get_ylim())
            x_gaps = np.tile([*x, np.nan], y.shape[2])  # a gap ends each line: all are one path
            moving += ax.plot(x_gaps, x_gaps, look, color=color, animated=True)
        for line in moving[2:]:
            line.set(lw=0.8, ms=2)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)
    for snapshot in range(len(panels.prediction)):
        canvas.restore_region(background)
        for line, (_, _, y, *_) in zip(moving, views, strict=True):
            gaps = np.pad(y[snapshot], ((0, 1), (0, 0)), constant_values=np.nan)
            line.set_ydata(gaps.T.ravel())
            line.axes.draw_artist(line)
        yield np.asarray(canvas.buffer_rgba())[..., :3]
