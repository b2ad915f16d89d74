"""Section: what the time of a replica's training is made of, for every experiment, on one core.

Each part is done once more by itself, on its own clock; what is left of the whole is the Trainer,
what it records, and files.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import crew as crews
from crew import Crew, clock, tidy

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import LeastSquares

MOST_OPERATIONS = 1e11  # of a turn: a few seconds
HEAD = "experiment | replicas | ms | rows, order | weights | steps | new rows | errors | the rest"
NOTE = """Milliseconds of a replica's training as one of a shard of so many, and their shares, the
best of {turns} turns. Rows, order: drawn for all steps. Steps: the compiled kernel. New rows: those
of validation, drawn. Errors: on them, before and after the training, and on the training rows. The
rest: the Trainer, losses and checkpoints recorded, files written. `make ensembles` takes so many
replicas of each; its seconds are those of one core."""


@dataclass(frozen=True)
class Parts:
    """Seconds of one replica."""

    whole: float
    rows: float
    weights: float
    steps: float
    new_rows: float
    errors: float

    def line(self, name: str, replicas: int, unit: float, whole: str) -> str:
        parts = [self.rows, self.weights, self.steps, self.new_rows, self.errors]
        parts.append(max(0.0, self.whole - sum(parts)))
        shares = " | ".join(f"{part / sum(parts):.0%}" for part in parts)
        return f"| {name} | {replicas or ''} | {whole.format(self.whole * unit)} | {shares} |"


def trainings() -> str:
    lines, sums = [f"| {HEAD} |", "|" + " --- |" * (HEAD.count("|") + 1)], [0.0] * 6
    with Crew(1) as crew:
        for name in experiments():
            config = compose([f"experiment={name}"])
            replicas = config.ensemble.replicas
            shard = len(compose([f"experiment={name}", f"replicas={replicas}"]).shard_seeds[0])
            most = int(MOST_OPERATIONS / (config.operations * max(config.steps, 1)))
            ((parts),) = crew.each(measured, name, max(8, min(shard, most)), crews.TURNS)
            lines.append(parts.line(name, min(shard, max(8, most)), 1e3, "{:.2f}"))
            for i, field in enumerate(fields(Parts)):
                sums[i] += replicas * getattr(parts, field.name)
    lines.append(Parts(*sums).line("`make ensembles`", 0, 1, "{:,.0f} s"))
    note = " ".join(NOTE.split()).format(turns=crews.TURNS)
    return f"## What a training is made of\n\n{chr(10).join(lines)}\n\n{note}"


def measured(name: str, replicas: int, turns: int) -> Parts:
    """In a process of its own."""
    from mlpfit.engine.steps import CompiledSteps
    from mlpfit.training.engine import kernel_cache
    from mlpfit.training.evaluation import Evaluation
    from mlpfit.training.run import make_data, make_module, solve, train_replicas
    from mlpfit.training.shard import Shard

    config = compose([f"experiment={name}", f"replicas={replicas}", "logger=none"])
    is_solved = isinstance(config.optimizer, LeastSquares)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shard = Shard(config, config.replica_seeds, Path(folder))
            train_replicas(shard, lambda step, loss: None)

    def rows() -> Any:
        data = make_data(config)
        return data, data.order_of(0, max(config.steps, 1))

    def steps() -> Callable[[], object]:
        data, order = rows()
        module = make_module(config, compiled=not is_solved, data=data)
        if is_solved:
            return lambda: solve(module, data)
        kind = module.specialise, module.threads
        optimizer = module.configure_optimizers()
        take = CompiledSteps(module.mlp, module.loss, optimizer, kernel_cache(config), *kind)
        return lambda: take(data.x, data.y, config.steps, order)

    def errors() -> Callable[[], object]:
        data, _ = rows()
        data.val_dataloader()
        module, evaluate = make_module(config, data=data), Evaluation(data, kernel_cache(config))
        of = (evaluate.validation, evaluate.validation, evaluate.training, evaluate.truth)
        return lambda: [error(module) for error in of]

    whole()  # compiled
    data, _ = rows()
    parts = (
        lambda: whole,
        lambda: rows,
        lambda: lambda: make_module(config, compiled=not is_solved, data=data),
        steps,
        lambda: make_data(config).val_dataloader,
        errors,
    )
    return Parts(*(_seconds(part, turns) / replicas for part in parts))


def _seconds(prepared: Callable[[], Callable[[], object]], turns: int) -> float:
    best = float("inf")
    for _ in range(turns):
        work = prepared()
        tidy()
        started = clock()
        work()
        best = min(best, clock() - started)
    return best
