"""Section: what a model-step's time is made of, for every problem, on one core.

No clock is put into the kernels: their parts come from what their time depends on. Of K steps of n
rows a call takes c + K (a + b n): c is copying parameters and rows in and out, a the update and
whatever else is done once a step, b n the rows. A call of one step and one with half the rows give
the three. Of the rows' time, what torch's matrix product would need for as many multiplications and
additions is told apart; the rest is activations, sums, loads and stores.
"""

from dataclasses import dataclass

from crew import Crew, Turn, clock, tidy
from ensembles import PROBLEMS, peak
from problems import Problem, calls, under_trainer

REPEATS = 5
HEAD = "problem | µs | products | rest of the rows | update | copying | Trainer, recording"
NOTE = """Microseconds of a model-step on one core, and their shares. Products: a model-step's
6 operations per weight and row at the speed of torch's matrix product. Rest of the rows:
activations, sums, loads and stores (0 where the kernel is faster than torch's product). Update: the
optimiser, and whatever is done once a step. Copying: parameters and rows in and out, once in 200
steps. Trainer, recording: all that is outside the compiled steps, callbacks and checkpoints
included."""


@dataclass(frozen=True)
class Parts:
    """Seconds of a model-step: the whole, and once a step, for the rows, copied."""

    whole: float
    step: float
    rows: float
    copied: float


def shares() -> str:
    lines = [f"| {HEAD} |", "|" + " --- |" * (HEAD.count("|") + 1)]
    with Crew(1) as crew:
        for problem in PROBLEMS:
            (parts,) = crew.each(measured, problem, REPEATS)
            lines.append(_line(problem, parts, peak(crew, problem)))
    return f"## What a step is made of\n\n{chr(10).join(lines)}\n\n{' '.join(NOTE.split())}"


def _line(problem: Problem, parts: Parts, products_per_second: float) -> str:
    products = min(problem.operations / products_per_second, parts.rows)
    named = (products, parts.rows - products, parts.step, parts.copied)
    rest = max(0.0, parts.whole - sum(named))
    percent = " | ".join(f"{seconds / (sum(named) + rest):.0%}" for seconds in (*named, rest))
    units = "-".join(map(str, problem.units))
    return f"| {problem.experiment}, {units} | {parts.whole * 1e6:.2f} | {percent} |"


def measured(problem: Problem, repeats: int) -> Parts:
    """In a process of its own."""
    chunk, half = 200, problem.rows // 2
    of_chunk, of_one = (_call(problem, steps, problem.rows, repeats) for steps in (chunk, 1))
    of_half = _call(problem, chunk, half, repeats)
    step = (of_chunk - of_one) / (chunk - 1)
    per_row = max(0.0, of_chunk - of_half) / chunk / (problem.rows - half)
    rows = min(step, per_row * problem.rows)
    whole = min(_per_step(under_trainer(problem)) for _ in range(repeats))
    copied = max(0.0, of_one - step) / chunk
    return Parts(whole, step - rows, rows, copied)


def _call(problem: Problem, steps: int, rows: int, repeats: int) -> float:
    """Seconds of a call, per replica."""
    run = calls(problem, steps, rows)
    best = float("inf")
    for _ in range(repeats + 1):
        tidy()
        started = clock()
        run()
        best = min(best, clock() - started)
    return best / problem.replicas


def _per_step(turn: Turn) -> float:
    return turn.seconds / turn.model_steps
