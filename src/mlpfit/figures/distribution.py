"""Where published numbers lie among the replicas."""

import numpy as np

from mlpfit.figures import style
from mlpfit.figures.parts import Axes, Figure, fill_between_quantiles, grid_of_axes, log_ticks
from mlpfit.judging import published
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.run import QUANTITIES, Run


def distribution(*runs: Run) -> Figure:
    """One panel an experiment: its final number over the replicas, the published one marked."""
    figure, axes = grid_of_axes(len(runs), columns=min(len(runs), 2))
    for ax, run in zip(axes, runs, strict=True):
        draw_histogram(ax, run, published.final_number(run.config["name"]))
        ax.set(title=run.config["name"], yticks=[])
    return figure


def draw_histogram(ax: Axes, run: Run, number: published.Number | None) -> None:
    """The replicas' own values of a published number; of their final mean squared error if none is
    published. A part in a thousand at either end may lie beyond the axis, and is counted."""
    values = published.values_in(run, number)
    shown = values[np.isfinite(values) & ~run.diverged]
    if not shown.size:
        ax.text(0.5, 0.5, "all replicas diverged", transform=ax.transAxes, ha="center")
        return
    low, high = quantiles(shown, (0.001, 0.999))
    if number:
        low, high = min(low, number.value), max(high, number.value)
    wide = 0 < 10 * low < high
    bins = (np.geomspace if wide else np.linspace)(low, high, 50).tolist() if low < high else 10
    beyond, lost = int(((shown < low) | (shown > high)).sum()), len(values) - len(shown)
    label = f"{len(values)} replicas" + f",\n{beyond} beyond the axis" * (beyond > 0)
    label += f",\n{lost} diverged" * (lost > 0)
    heights, *_ = ax.hist(shown, bins=bins, color=style.BAND, alpha=0.35, label=label)
    ax.set_ylim(0, 1.5 * np.max(heights))  # the legend goes above
    median = float(quantiles(np.where(run.diverged, np.inf, values), (0.5,))[0])
    if np.isfinite(median):
        ax.axvline(median, ymax=0.67, color=style.FIT, ls=":", label="median of all")
    if number:
        label = f"published\n{number.value:g}"
        ax.axvline(number.value, ymax=0.67, color=style.PUBLISHED, ls="--", lw=2, label=label)
    ax.legend(loc="upper center", ncols=3)
    ax.set(
        xscale="log" if wide else "linear", xlabel=QUANTITIES[number.quantity if number else "mse"]
    )
    if wide:
        log_ticks(ax.xaxis)


def overview(*runs: Run) -> Figure:
    """One panel an experiment: the losses that its page prints, over those of the replicas."""
    figure, axes = grid_of_axes(len(runs), columns=3)
    for ax, run in zip(axes, runs, strict=True):
        trace = published.printed_trace(name := run.config["name"])
        steps, printed = np.array([(number.step, number.value) for number in trace]).T
        fill_between_quantiles(ax, steps, published.trace_values(run, trace).T)
        ax.plot(steps, printed, "o", ms=3, color=style.PUBLISHED, label="printed on the page")
        ax.set(title=name, yscale="log", ylabel=QUANTITIES[trace[0].quantity])
        log_ticks(ax.yaxis)
    figure.supxlabel("step", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
