"""Section: time and memory as replicas, width and depth grow, each with its limit drawn in.

The limit is the time that torch's matrix product needs, on the same cores, for 6 operations per
weight and row. One replica of a large net may fill the machine: there the plain loop has all
threads, too, and time is time on the wall, so this section needs a quiet machine.
"""

import io
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import plain
from crew import Crew, clock, cores
from problems import Problem, calls, matrix_rate, under_trainer

from mlpfit.files import write_file
from mlpfit.training.engine import THREADS_OPERATIONS

FIGURE = Path("outputs/figures/bench/growth.svg")
COUNTS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
REPLICAS = {  # steps of a turn, and the most replicas
    Problem("parabola/eight_neurons", 1, 100): 1_000_000,
    Problem("tower/small", 1, 50): 100_000,
    Problem("tower/large", 1, 10): 10_000,
}
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
DEPTHS = (1, 2, 3, 4, 6, 8)
TURNS, ROUNDS = 5, 2  # a contender's in a row, and how often it is its turn
LINES = (
    *("mlpfit, one thread", "mlpfit, all threads"),
    *("plain loop, one thread", "plain loop, all threads", "limit, one core"),
)
Curve = list[tuple[float, float]]  # (what grows, seconds or MiB)


def growth() -> str:
    with Crew(1) as crew:
        (rate,) = crew.each(matrix_rate, 301, 64, False)
    seconds, memory = {}, {}
    for problem, most in REPLICAS.items():
        measured = [_replicas(replace(problem, replicas=n)) for n in COUNTS if n <= most]
        seconds[problem.experiment] = [(n, s) for n, s, _ in measured]
        memory[problem.experiment] = [(n, m) for n, _, m in measured]
    widths = {w: replace(NET, overrides=(f"model.hidden={w}-{w}",)) for w in WIDTHS}
    depths = {d: replace(NET, overrides=(f"model.hidden={'-'.join(['64'] * d)}",)) for d in DEPTHS}
    wider, deeper = _sizes(widths, rate), _sizes(depths, rate)
    limits = {problem.experiment: problem.operations / rate for problem in REPLICAS}
    note = " ".join(NOTE.split()).format(least=THREADS_OPERATIONS)
    write_file(FIGURE, _drawn(seconds, memory, wider, deeper, limits))
    return (
        f"## Growth\n\n{_table('replicas', seconds, 'µs a model-step')}\n\n"
        f"{_table('replicas', memory, 'MiB at most', 1)}\n\n"
        f"{_table('width (1-w-w-1)', wider, 'µs a step')}\n\n"
        f"{_table('hidden layers of 64', deeper, 'µs a step')}\n\n"
        f"![growth](figures/bench/{FIGURE.name})\n\n{note}"
    )


NET = Problem("tower/small", 1, 20)
NOTE = """Microseconds. Replicas: processor time of one process, its Trainers, files of checkpoints
and drawing of rows included, which 100 steps (50 of tower/small, 10 of tower/large) do not make up
for; memory is the process's largest, and flat once a shard is full. Width and depth: time on the
wall, the best of several turns, of one replica on 301 rows with Adam, without the Trainer; from
{least:,.0f} operations a step on mlpfit takes threads, with the bits of one. Limit: torch's matrix
product on one core."""


def _replicas(problem: Problem) -> tuple[int, float, float]:
    """Replicas, seconds per model-step and peak MiB, in a process of its own; larger numbers go in
    shards, as the command has them."""
    shard = len(problem.config.shard_seeds[0])
    with Crew(1) as crew:
        ((seconds, mebibytes),) = crew.each(_shards, problem, shard)
    trained = problem.replicas // shard * shard
    return problem.replicas, seconds / trained / problem.steps, mebibytes


def _shards(problem: Problem, shard: int) -> tuple[float, float]:
    part = replace(problem, replicas=shard)
    under_trainer(part)  # compiled
    started = clock()
    for _ in range(problem.replicas // shard):
        under_trainer(part)
    return clock() - started, _peak()


def _peak() -> float:
    """The most memory that this process has held, in MiB. (The maximum of getrusage would be that
    of the process which started it, if that is larger.)"""
    (line,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def _sizes(nets: dict[int, Problem], rate: float) -> dict[str, Curve]:
    times: dict[tuple[str, int], list[float]] = {}
    with Crew(1) as one, Crew(1, pinned=False) as whole:
        for size, net in nets.items():
            contenders = (
                ("mlpfit, one thread", one, (_compiled, net, 1)),
                ("mlpfit, all threads", whole, (_compiled, net, _threads(net))),
                ("plain loop, one thread", one, (_plain, net, 1)),
                ("plain loop, all threads", whole, (_plain, net, len(cores()))),
            )
            for name, crew, work in contenders * ROUNDS:  # they take turns
                times.setdefault((name, size), []).append(crew.each(*work)[0])
            times[LINES[-1], size] = [net.operations / rate]
    return {name: [(size, min(times[name, size])) for size in nets] for name in LINES}


def _threads(net: Problem) -> int:
    """As many as the command takes."""
    return len(cores()) if net.operations >= THREADS_OPERATIONS else 1


def _compiled(net: Problem, threads: int) -> float:
    return _quickest(calls(net, net.steps, net.rows, threads)) / net.steps


def _quickest(run: Callable[[], object]) -> float:
    """Seconds of the quickest of several turns."""

    def turn() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return min(turn() for _ in range(TURNS))


def _plain(net: Problem, threads: int) -> float:
    """The faster of the page's own loop and torch's fused optimiser."""
    how = [(net, net.steps, fused, threads, time.perf_counter) for fused in (False, True)]
    return min(plain.loop(*given).seconds for given in how for _ in range(TURNS)) / net.steps


def _table(what: str, curves: dict[str, Curve], unit: str, factor: float = 1e6) -> str:
    sizes = max(curves.values(), key=len)
    lines = [f"| {what}: {unit} | {' | '.join(f'{size:,}' for size, _ in sizes)} |"]
    lines.append("|" + " --- |" * (len(sizes) + 1))
    for name, curve in curves.items():
        cells = [f"{value * factor:,.3g}" for _, value in curve]
        lines.append(f"| {name} | {' | '.join(cells + [''] * (len(sizes) - len(cells)))} |")
    return chr(10).join(lines)


def _drawn(
    seconds: dict[str, Curve],
    memory: dict[str, Curve],
    wider: dict[str, Curve],
    deeper: dict[str, Curve],
    limits: dict[str, float],
) -> bytes:
    from mlpfit.figures import style
    from mlpfit.figures.parts import grid_of_axes

    panels = (
        (seconds, "replicas", "seconds per model-step"),
        (memory, "replicas", "MiB at most"),
        (wider, "width of two hidden layers", "seconds per step"),
        (deeper, "hidden layers of 64", "seconds per step"),
    )
    with style.use():
        figure, axes = grid_of_axes(4, columns=2)
        for ax, (curves, x, y) in zip(axes, panels, strict=True):
            for name, curve in curves.items():
                dashed = "--" if name.startswith("limit") else "o-"
                ax.plot(*zip(*curve, strict=True), dashed, label=name, markersize=3)
            ax.set(xscale="log", xlabel=x, ylabel=y)
            ax.set(yscale="log") if curves is not memory else ax.set_ylim(0)
            ax.legend(fontsize="x-small")
        for line, limit in zip(axes[0].lines[: len(limits)], limits.values(), strict=True):
            axes[0].axhline(limit, color=line.get_color(), linestyle="--", linewidth=0.8)
        axes[0].set_title("dashed: the limits of one core", fontsize="small")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
