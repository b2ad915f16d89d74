"""Published numbers among those of the replicas: histograms of final numbers, bands of losses."""

import numpy as np

from mlpfit.data.elementary import geomspace
from mlpfit.figures import style
from mlpfit.figures.parts import (
    Axes,
    Figure,
    fill_between_quantiles,
    grid_of_axes,
    is_for_narrow_screens,
    log_ticks,
)
from mlpfit.judging import published
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.run import QUANTITIES, Run


def distribution(*runs: Run) -> Figure:
    """One panel an experiment: a histogram of its final number, the published one marked."""
    figure, axes = grid_of_axes(len(runs), columns=min(len(runs), 2))
    for ax, run in zip(axes, runs, strict=True):
        draw_histogram(ax, run, published.last_number(run.config["name"]))
        ax.set(title=run.config["name"], yticks=[])
    return figure


def draw_histogram(ax: Axes, run: Run, number: published.Number | None) -> None:
    """Histogram of a published number's quantity over the replicas; of their final mean squared
    error if none is published. The legend counts those outside the range shown, 1 in 1000 at each
    end."""
    values = published.values_in(run, number)
    finite = values[np.isfinite(values) & ~run.diverged]
    if not finite.size:
        ax.text(0.5, 0.5, "all replicas diverged", transform=ax.transAxes, ha="center")
        return
    low, high = quantiles(finite, (0.001, 0.999))
    if number:
        low, high = min(low, number.value), max(high, number.value)
    logarithmic = 0 < 10 * low < high
    edges = geomspace if logarithmic else np.linspace
    count = min(50, round(1.6 * len(values) ** 0.5))  # few replicas, few bins
    bins = edges(low, high, count).tolist() if low < high else 10
    beyond, diverged = int(((finite < low) | (finite > high)).sum()), len(values) - len(finite)
    label = f"{len(values):,} replicas" + f",\n{beyond:,} beyond this axis" * (beyond > 0)
    label += f",\n{diverged:,} diverged" * (diverged > 0)
    heights, *_ = ax.hist(finite, bins=bins, color=style.BAND, alpha=0.35, label=label)
    ax.set_ylim(0, 1.5 * np.max(heights))  # room for the legend
    median = float(quantiles(np.where(run.diverged, np.inf, values), (0.5,))[0])
    if np.isfinite(median):
        ax.axvline(median, ymax=0.67, color=style.FIT, ls=":", label="median of all")
    if number:
        label = f"on the page\n{number.value:g}"
        ax.axvline(number.value, ymax=0.67, color=style.PUBLISHED, ls="--", lw=2, label=label)
    ax.legend(loc="upper center", ncols=3, fontsize=7 if is_for_narrow_screens() else None)
    ax.set_xlabel(number.name if number else QUANTITIES["mse"])
    if logarithmic:
        ax.set_xscale("log")
        log_ticks(ax.xaxis)


def overview(*runs: Run) -> Figure:
    """One panel an experiment: the losses printed on its page, over those of the replicas."""
    figure, axes = grid_of_axes(len(runs), columns=3)
    for ax, run in zip(axes, runs, strict=True):
        trace = published.printed_trace(name := run.config["name"])
        steps, losses = np.array([(number.step, number.value) for number in trace]).T
        fill_between_quantiles(ax, steps, published.values_of(run, trace).T)
        ax.plot(steps, losses, "o", ms=3, color=style.PUBLISHED, label="printed on the page")
        ax.set(title=name, yscale="log", ylabel=trace[0].name)
        log_ticks(ax.yaxis)
    figure.supxlabel("step", fontsize=9)
    columns = 2 if is_for_narrow_screens() else 4
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=columns)
    return figure
