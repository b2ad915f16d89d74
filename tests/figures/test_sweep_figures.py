"""Pictures of sweeps hold what the summary says, and nothing in them covers anything else."""

import itertools

import numpy as np
import pytest

from mlpfit.figures import style
from mlpfit.figures.sweep import curves, maps
from mlpfit.sweeps.summary import stability_of

QUANTITIES = ("mse", "truth_mse", "val_mse")
RATES = ["0.001", "0.002", "0.005", "0.01", "0.1"]
NETS = ["-".join(["64"] * depth) for depth in range(1, 13)]
NAMES = [f"restoration/sine_network_number_{i}_of_many" for i in range(30)]
MANY = [str(i) for i in range(40)]


def job(error=0.5, diverged=0.0, **keys):
    """The row of a finished job, as summary.csv holds it."""
    row = keys | {"job": "", "failure": "", "parameters": 9, "layers": 1, "replicas": 64}
    factors = {"p5": 0.5, "median": 1, "p95": 3}
    for quantity, quantile in itertools.product(QUANTITIES, factors):
        row[f"{quantity}_{quantile}"] = error * factors[quantile]
    if diverged >= 0.05:
        row |= {f"{quantity}_p95": np.inf for quantity in QUANTITIES}
    if diverged >= 0.5:
        row |= {f"{quantity}_median": np.inf for quantity in QUANTITIES}
    return row | {"diverged": diverged}


def failed(**keys):
    """The row of a job that has no numbers."""
    return dict.fromkeys(job()) | keys | {"job": "", "failure": "diverged at step 3"}


def grid(diverged=(0.0,), **keys):
    """A job for every combination of values; errors over four decades."""
    rng = np.random.default_rng(0)
    rows = []
    for values in itertools.product(*keys.values()):
        error, lost = 10 ** rng.uniform(-3, 1), float(rng.choice(diverged))
        rows.append(job(error, lost, **dict(zip(keys, values, strict=True))))
    return rows


def marked(ax, marker):
    """Where the points of this marker stand along x."""
    return sorted(x for line in ax.lines if line.get_marker() == marker for x in line.get_xdata())


def test_a_cross_is_a_job_without_a_median_and_a_hollow_point_one_that_lost_replicas():
    rows = [job(a="1"), job(a="2", diverged=0.1), job(a="4", diverged=0.9), failed(a="8")]
    (ax,) = curves(rows, "a").axes
    assert marked(ax, "x") == [4, 8]
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[2]]
    middle = next(line for line in ax.lines if line.get_linestyle() == "-")
    np.testing.assert_array_equal(middle.get_ydata(), [0.5, 0.5, np.nan, np.nan])


def test_failed_jobs_that_have_no_place_along_x_are_counted():
    rows = [job(a="1"), job(a="2") | {"parameters": 20}, failed(a="3")]
    figure = curves(rows, "parameters")
    assert "1 failed jobs not shown" in figure.get_suptitle()


def test_what_has_no_order_is_not_joined():
    (ax,) = curves([job(a=name) for name in ("sgd", "adam")], "a").axes
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["adam", "sgd"]


def test_whole_numbers_have_whole_ticks():
    (ax,) = curves(grid(seed=MANY), "seed").axes
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_a_map_holds_the_medians_by_size_of_the_keys_and_is_grey_without_one():
    rows = [job(float(a) * float(b), a=a, b=b) for a in ("10", "2", "1") for b in ("1", "3")]
    rows[0] = failed(a="10", b="1")
    ax, _ = maps(rows, ["a", "b"]).axes
    shown = ax.images[0].get_array()
    assert shown.tolist() == [[1, 2, None], [3, 6, 30]]
    assert marked(ax, "x") == [2]


def test_a_third_key_has_a_map_a_value():
    *axes, _ = maps(grid(a=["1", "2", "3"], b=["1", "2"], c=["x", "y"]), ["a", "b", "c"]).axes
    assert [ax.get_title() for ax in axes] == ["x", "y"]


def test_stability_is_read_from_the_gentlest_job_and_drawn():
    rows = [job(lr=lr, diverged=lost) for lr, lost in (("1", 0), ("2", 0), ("3", 0.4))]
    for row, value in zip(rows, (4.0, 8.0, 16.0), strict=True):
        row |= {f"sharpness_{q}": value for q in ("p5", "median", "p95")}
    assert stability_of(rows, "lr") == (0.5, 0.5, 0.5, 2.0)
    (ax,) = curves(rows, "lr", stability=stability_of(rows, "lr")).axes
    labels = ax.get_legend_handles_labels()[1]
    assert {"2 / largest\neigenvalue", "largest stable\nvalue"} <= set(labels)


LOSING = (0.0, 0.1, 0.9)
FIGURES = {
    "one key": lambda: curves(grid(LOSING, lr=RATES), "lr"),
    "one job": lambda: curves(grid(lr=["3"]), "lr"),
    "many values": lambda: curves(grid(LOSING, seed=MANY), "seed"),
    "names": lambda: curves(grid(LOSING, name=NAMES[:4]), "name", panels=("mse", "val_mse")),
    "many long names": lambda: curves(grid(LOSING, name=NAMES), "name", panels=("mse", "val_mse")),
    "lines": lambda: curves(grid(LOSING, lr=RATES, net=NETS), "lr", "net"),
    "names in groups": lambda: curves(grid(name=NETS[:3], lr=RATES), "name", "lr"),
    "all diverged": lambda: curves(grid((1.0,), lr=RATES), "lr"),
    "map": lambda: maps(grid(LOSING, lr=RATES, net=NETS), ["lr", "net"]),
    "large map": lambda: maps(grid(LOSING, a=MANY, name=NAMES), ["a", "name"]),
    "map, all diverged": lambda: maps(grid((1.0,), lr=RATES, net=NETS), ["lr", "net"]),
    "two maps": lambda: maps(grid(LOSING, lr=RATES, net=NETS, m=["0", "0.9"]), ["lr", "net", "m"]),
    "five maps": lambda: maps(grid(LOSING, n=NAMES, a=RATES, net=NETS[:5]), ["n", "a", "net"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_covers_another_or_leaves_the_figure(name):
    with style.use():
        figure = FIGURES[name]()
        figure.draw_without_rendering()
    texts = list(texts_of(figure))
    assert len(texts) > 3
    inside = figure.bbox.padded(1)
    for text in texts:
        corners = text.get_window_extent().corners()
        assert all(inside.contains(*corner) for corner in corners), text
    for one, other in itertools.combinations(texts, 2):
        assert not covers(one, other), (one, other)


def texts_of(figure):
    """All that is written, without tick labels beyond the ends of their axis."""
    for ax in figure.axes:
        yield from (t for t in (ax.title, ax.xaxis.label, ax.yaxis.label) if t.get_text())
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                for label in (tick.label1, tick.label2):
                    if label.get_visible() and label.get_text() and low <= tick.get_loc() <= high:
                        yield label
    for text in (figure._suptitle, *(t for legend in figure.legends for t in legend.get_texts())):
        if text.get_text():
            yield text


def covers(one, other):
    """Boxes overlap by more than a pixel; of two slanted labels, lines closer than their height."""
    if one.get_rotation() == other.get_rotation() == 40:
        apart = np.subtract(one.get_transform().transform(one.get_position()),
                            other.get_transform().transform(other.get_position()))  # fmt: skip
        return abs(apart[1]) < 5 and abs(apart[0]) * np.sin(np.deg2rad(40)) < one.get_fontsize()
    if 40 in (one.get_rotation(), other.get_rotation()):
        return False
    a, b = (text.get_window_extent().padded(-1) for text in (one, other))
    return a.overlaps(b)
