"""The problems: an experiment's numbers for the other contenders, and mlpfit's own turns."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crew import Turn, clock, tidy

from mlpfit.config.compose import compose
from mlpfit.config.schema import Config


@dataclass(frozen=True)
class Problem:
    """``replicas``, seeds from the experiment's own on, that take ``steps`` steps of the engine;
    one alone is recorded as a single run is."""

    experiment: str
    replicas: int
    steps: int
    overrides: tuple[str, ...] = ()

    @cached_property
    def config(self) -> Config:
        return compose(
            [
                f"experiment={self.experiment}",
                f"replicas={self.replicas}",
                f"trainer.max_steps={self.steps}",
                "logger=none",
                *self.overrides,
            ]
        )

    @property
    def units(self) -> tuple[int, ...]:
        return tuple(self.config.units)

    @property
    def rows(self) -> int:
        """Of a step."""
        return self.config.data.batch_size or self.config.rows

    @property
    def operations(self) -> int:
        """Floating-point operations of a model-step: forward 2, backward 4 per weight and row."""
        return self.config.operations

    @property
    def optimizer(self) -> dict[str, Any]:
        return self.config.plain()["optimizer"]

    def data(self) -> dict[str, Any]:
        """x (K, R, n, d), y (K, R, n, 1), weights (K, R, n) or None; K = 1 where every step sees
        the same rows."""
        data = self.rows_drawn
        if (order := data.order_of(0, self.steps)) is None:
            return {"x": data.x[None], "y": data.y[None], "weights": None}
        numbers = order.numbers()  # (K, R, n), -1 where a batch is shorter
        inside = torch.from_numpy(numbers >= 0)
        rows = np.where(numbers >= 0, numbers, numbers[..., :1])
        replica = np.arange(self.replicas)[:, None]
        weights = inside.to(data.dtype) if order.varies else None
        return {"x": data.x[replica, rows], "y": data.y[replica, rows], "weights": weights}

    @property
    def rows_drawn(self) -> Any:
        """The datamodule."""
        from mlpfit.training.run import make_data

        return make_data(self.config)

    def parameters(self) -> list[np.ndarray]:
        """Weights (R, in, out) and biases (R, 1, out), layer by layer."""
        return [p.detach().numpy() for p in self.module().parameters()]

    def module(self) -> Any:
        from mlpfit.training.run import make_module

        return make_module(self.config)


def under_trainer(problem: Problem) -> Turn:
    """mlpfit as its command trains: Lightning's Trainer, rows drawn before, batches picked,
    losses and checkpoints kept. What it takes to compile is found with two steps of its kernel."""
    compiling = 0.0
    if problem not in _COMPILED:
        _COMPILED.add(problem)
        short = Problem(problem.experiment, problem.replicas, 2, problem.overrides)
        compiling = _trained(short, problem) - _trained(short, problem)
    return Turn(problem.replicas * problem.steps, _trained(problem, problem), compiling)


_COMPILED: set[Problem] = set()


def _trained(problem: Problem, kernel_of: Problem) -> float:
    from mlpfit.training.callbacks import History, Snapshots
    from mlpfit.training.engine import kernel_cache, worth_specialising
    from mlpfit.training.evaluation import Evaluation
    from mlpfit.training.run import make_data, make_module
    from mlpfit.training.shard import Schedule, Shard
    from mlpfit.training.trainer import run_trainer

    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(problem.config, problem.config.replica_seeds, Path(folder))
        data, module = make_data(shard.config), make_module(shard.config, compiled=True)
        module.specialise = worth_specialising(kernel_of.config)
        evaluate = Evaluation(data, kernel_cache(shard.config))
        snapshots, history = Snapshots(Schedule(problem.config).snapshots, evaluate), History()
        tidy()
        started = clock()
        run_trainer(shard, data, module, snapshots, history, evaluate, lambda step, loss: None)
        return clock() - started


def calls(problem: Problem, steps: int, rows: int, threads: int = 1) -> Callable[[], object]:
    """One call of the compiled steps on the first rows of each batch, with the kernel that the
    command takes for the problem, which may take so many threads for one large net."""
    from mlpfit.engine.steps import CompiledSteps
    from mlpfit.training.engine import kernel_cache
    from mlpfit.training.run import make_module

    module, data = make_module(problem.config, compiled=True), problem.rows_drawn
    cache, optimizer = kernel_cache(problem.config), module.configure_optimizers()
    kind = module.specialise, threads
    run = CompiledSteps(module.mlp, module.loss, optimizer, cache, *kind)
    if (order := data.order_of(0, steps)) is None:
        x, y = (values[:, :rows].contiguous() for values in (data.x, data.y))
        return lambda: run(x, y, steps)
    lengths, longest = np.minimum(order.lengths, rows), min(order.longest, rows)
    order = replace(order, lengths=lengths, longest=longest)
    return lambda: run(data.x, data.y, steps, order)


def steps_alone(problem: Problem) -> Turn:
    """mlpfit's compiled steps without the Trainer, nothing recorded but the losses."""
    calls(problem, 1, problem.rows)()
    run = calls(problem, problem.steps, problem.rows)
    tidy()
    started = clock()
    run()
    return Turn(problem.replicas * problem.steps, clock() - started)


def matrix_rate(rows: int, units: int, double: bool) -> float:
    """Operations a second of torch's matrix product (rows, units) x (units, units) on this core,
    the best of twenty."""
    dtype = torch.float64 if double else torch.float32
    a, b = torch.randn(8, rows, units, dtype=dtype), torch.randn(8, units, units, dtype=dtype)
    best = float("inf")
    for _ in range(20):
        started = clock()
        for _ in range(max(1, 2**24 // (rows * units * units))):
            a @ b
        best = min(best, clock() - started)
    return max(1, 2**24 // (rows * units * units)) * 8 * 2 * rows * units**2 / best
