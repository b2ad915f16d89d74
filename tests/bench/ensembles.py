"""Section: many replicas, and one, of every kind of problem; every contender on all cores."""

import math
from dataclasses import replace
from typing import Any

import crew as crews
import plain
import with_jax
from crew import Crew, cores
from problems import Problem, matrix_rate, steps_alone, under_trainer

# As many steps as the experiment takes, since subnormal numbers, dead units and divergence appear
# late; replicas for a turn of one to three seconds.
PROBLEMS = [
    Problem("parabola/eight_neurons", 1000, 5000),
    Problem("tower/small", 500, 1000),
    Problem("tower/large", 8, 1000),
    Problem("plane/scratch", 2000, 200),
    Problem("plane/sequential", 2000, 200),
    Problem("restoration/wide", 128, 1000),
    Problem("restoration/framework", 500, 3090),
]
ONE = Problem(
    "parabola/eight_neurons",
    1,
    50_000,
    ("recording.checkpoint_every=50000", "trainer.chunk_steps=1000"),
)
HEAD = (
    *("problem", "plain loop", "JAX", "its best layout", "mlpfit", "/ JAX", "/ loop"),
    *("its steps alone", "/ JAX"),
)
NOTE = """Model-steps (replicas x optimiser steps) per second of all cores together, compilation
apart, the best of {turns} turns; contenders take turns. Each contender has one process a core,
pinned to it, with one thread. Plain loop: one model after another, its layers and optimiser from
torch, either as the pages write it or with torch's fused optimiser and losses kept as tensors,
whichever is faster; it keeps every loss, nothing else. JAX: jit of a scan over the steps, for
groups of {groups} replicas, vmapped or, but for layers of more than 32 x 32,
with the replica axis last and layers written out; its
batches are given ready, it returns the losses and keeps nothing else. mlpfit: its command's own
training under Lightning's Trainer; it picks its batches from the rows, keeps losses, evaluates on
fresh rows and writes checkpoints; one replica in chunks of 1,000 steps.
"Steps alone": its compiled steps on batches given ready, without Trainer, recording and the error
on fresh rows: what JAX does. Peak: torch's matrix
product, all cores at once, of the problem's own hidden layer or of 1024 units, whichever is faster,
in the problem's precision; a model-step counts 6 operations per weight and row."""


def ensembles() -> str:
    with Crew(len(cores())) as crew:
        rows = [contest(problem, crew) for problem in PROBLEMS]
    head = (*HEAD, "of the peak", "compiling: JAX, mlpfit")
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows), *map(_line, one())]
    note = NOTE.replace("\n", " ").format(turns=crews.TURNS, groups="8 to 256")
    return f"## Ensembles\n\n{chr(10).join(lines)}\n\n{note}"


def contest(problem: Problem, crew: Crew) -> list[str]:
    """One row of the table."""
    loop_steps = _within(1e9, problem.operations + 2_000_000, most=500)
    single = replace(problem, replicas=1)
    contenders: dict[str, Any] = {
        f"loop {fused}": (plain.loop, single, loop_steps, fused) for fused in (False, True)
    }
    contenders |= {"mlpfit": (under_trainer, problem), "alone": (steps_alone, problem)}
    if with_jax.available():
        layouts = jax_layouts(problem)
        trial = crew.contest(layouts, turns=1)
        name = max(trial, key=lambda name: trial[name][0])
        contenders[name] = layouts[name]
    best = crew.contest(contenders)
    if with_jax.available():
        best[name] = (best[name][0], trial[name][1])
    return _row(problem, best, peak(crew, problem))


def jax_layouts(problem: Problem) -> dict[str, Any]:
    """Group sizes and layouts that may be JAX's best. Large layers written out take a minute."""
    large = min(problem.units[1:-1]) > 32 and len(problem.units) > 3
    layouts = {}
    for group in (8, 25, 50) if large else (16, 64, 256):
        steps = _within(2e9, problem.operations * group, most=problem.steps)
        part = replace(problem, replicas=group, steps=steps)
        for layout in ("vmap", "last")[: 1 if large else 2]:
            layouts[f"{group}, {layout}"] = (with_jax.turn, part, layout)
    return layouts


def one() -> list[list[str]]:
    """One replica on one core."""
    contenders: dict[str, Any] = {
        f"loop {fused}": (plain.loop, ONE, 2000, fused) for fused in (False, True)
    }
    contenders |= {"mlpfit": (under_trainer, ONE), "alone": (steps_alone, ONE)}
    if with_jax.available():
        contenders["1, vmap"] = (with_jax.turn, ONE, "vmap")
    with Crew(1) as crew:
        return [_row(ONE, crew.contest(contenders), peak(crew, ONE), "one replica")]


def _row(problem: Problem, best: Any, peak: float, words: str = "") -> list[str]:
    loop = max(best["loop False"][0], best["loop True"][0])
    (rate, compiling), (alone, _) = best["mlpfit"], best["alone"]
    ours = ("mlpfit", "alone")
    groups = {n: b for n, b in best.items() if n not in ours and not n.startswith("loop")}
    name = max(groups, key=lambda n: groups[n][0], default=None)
    jax, jax_compiling = groups[name] if name else (math.nan, math.nan)
    label = f"{problem.experiment}, {'-'.join(map(str, problem.units))}, {problem.rows} rows"
    return [
        f"{label}{words and ', ' + words}",
        *(f"{loop:,.0f}", f"{jax:,.0f}", name or "not installed", f"{rate:,.0f}"),
        *(f"**{rate / jax:.1f}**", f"**{rate / loop:,.0f}**"),
        *(f"{alone:,.0f}", f"**{alone / jax:.1f}**"),
        f"{alone * problem.operations / peak:.0%}",
        f"{jax_compiling:.1f} s, {max(compiling, 0):.1f} s",
    ]


def peak(crew: Crew, problem: Problem) -> float:
    """Matrix-product operations a second, all processes at once."""
    double = problem.config.trainer.precision == "64-true"
    own = sum(crew.each(matrix_rate, problem.rows, max(problem.units), double))
    return max(own, sum(crew.each(matrix_rate, 1024, 1024, double)))


def _within(operations: float, of_a_step: float, most: int) -> int:
    return int(max(20, min(most, operations / of_a_step)))


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
