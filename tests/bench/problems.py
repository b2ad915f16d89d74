"""The problems: an experiment's numbers for the other contenders, and mlpfit's own turns."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from crew import Turn, clock, tidy

from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.data.datamodule import batches


@dataclass(frozen=True)
class Problem:
    """``replicas``, seeds from the experiment's own on, that take ``steps`` steps, compiled; one
    alone is recorded as a single run is."""

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
                "trainer.compile=true",
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
        chunk = batches(self.rows_drawn.chunk(0, self.steps))
        return {name: chunk.get(name) for name in ("x", "y", "weights")}

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
    losses and checkpoints kept. What it takes to compile is found with two steps."""
    compiling = 0.0
    if problem not in _COMPILED:
        _COMPILED.add(problem)
        short = Problem(problem.experiment, problem.replicas, 2, problem.overrides)
        compiling = _trained(short) - _trained(short)
    return Turn(problem.replicas * problem.steps, _trained(problem), compiling)


_COMPILED: set[Problem] = set()


def _trained(problem: Problem) -> float:
    from mlpfit.training.callbacks import Snapshots
    from mlpfit.training.run import make_data, make_module
    from mlpfit.training.shard import Shard
    from mlpfit.training.trainer import run_trainer, will_compile

    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(problem.config, problem.config.replica_seeds, Path(folder))
        data = make_data(shard.config, [*shard.snapshots, *shard.checkpoints])
        module, snapshots = make_module(shard.config), Snapshots(shard.snapshots, data)
        module.compile_steps = will_compile(shard.whole)
        tidy()
        started = clock()
        run_trainer(shard, data, module, snapshots, lambda step, loss: None)
        return clock() - started


def calls(problem: Problem, steps: int, rows: int, pick: bool = False) -> Callable[[], object]:
    """One call of the compiled steps on the first rows of batches that are ready, or that it still
    picks."""
    from mlpfit.model.compiled import CompiledSteps

    module = problem.module()
    run = CompiledSteps(module.mlp, module.loss, module.configure_optimizers())
    chunk = problem.rows_drawn.chunk(0, steps)
    if pick and "starts" in chunk:
        x, y = (chunk[name].expand(steps, -1, -1, -1) for name in ("x", "y"))
        return lambda: run(x, y, order=chunk)
    data = {k: None if v is None else v[:steps, :, :rows] for k, v in problem.data().items()}
    if len(data["x"]) == 1:
        data |= {name: data[name].expand(steps, -1, -1, -1) for name in ("x", "y")}
    return lambda: run(*data.values())


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
    import torch

    dtype = torch.float64 if double else torch.float32
    a, b = torch.randn(8, rows, units, dtype=dtype), torch.randn(8, units, units, dtype=dtype)
    best = float("inf")
    for _ in range(20):
        started = clock()
        for _ in range(max(1, 2**24 // (rows * units * units))):
            a @ b
        best = min(best, clock() - started)
    return max(1, 2**24 // (rows * units * units)) * 8 * 2 * rows * units**2 / best
