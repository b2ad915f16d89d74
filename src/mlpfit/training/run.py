"""Training itself: from a checked config to the files of a run folder."""

import json
import time
from collections.abc import Sequence

import numpy as np
import torch
import yaml

from mlpfit.config.schema import Config, LeastSquares
from mlpfit.data.datamodule import ReplicaData
from mlpfit.data.streams import streams
from mlpfit.files import write_arrays
from mlpfit.model import mlp
from mlpfit.model.regression import Regression
from mlpfit.processes import cores
from mlpfit.runs.provenance import provenance
from mlpfit.training.callbacks import Snapshots
from mlpfit.training.progress import OnStep, console
from mlpfit.training.shard import Shard
from mlpfit.training.trainer import compiles, dtype, fit, given_checkpoint, restore


def train_into(shard: Shard, on_step: OnStep) -> None:
    """Train these replicas, or go on training them from the folder's last checkpoint, and write
    every file of the run but the marker. Raises RunError if a single run's loss diverges."""
    started, config = time.time(), shard.config
    compiled = compiles(shard.whole)
    wide = shard.single and config.uses_all_cores and not compiled
    # One large net alone takes all cores; on small tensors two threads are up to a hundred times
    # slower than one.
    torch.set_num_threads(cores() if wide else 1)
    data, module = rows_of(config, [*shard.snapshots, *shard.checkpoints]), build(config)
    snapshots, ended = Snapshots(shard.snapshots, data), None
    if not config.train:
        checkpoint = given_checkpoint(config)
        restore(checkpoint, module)
        snapshots.keep(checkpoint["global_step"], module)
    elif isinstance(config.optimizer, LeastSquares):
        module.solve(data.x, data.y)
        snapshots.keep(0, module)
    else:
        module.compile_steps, module.fused = compiled, wide
        saved = fit(shard, data, module, snapshots, on_step)
        started, ended = started - saved.spent, saved.ended
    steps = write_results(shard, data, module, snapshots)
    content = provenance() | {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "seeds": list(shard.seeds),
        "ended": ended,
        "compiled": module.compile_steps,
        "seconds": time.time() - started,
    }
    (shard.folder / "provenance.json").write_text(json.dumps(content, indent=1))
    wanted = config.trainer.max_steps
    if config.train and steps < wanted:
        console.print(f"{config.name}: ended at step {steps} of {wanted} ({ended})")


def write_results(shard: Shard, data: ReplicaData, module: Regression, snapshots: Snapshots) -> int:
    """Every file of the run but its provenance; returns the number of steps."""
    folder, history = shard.folder, module.history().numpy()
    numbers = metrics(module, data, history, snapshots)
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=1))
    steps = shard.recorded_steps(len(history))
    write_arrays(folder / "history.npz", {"step": steps, "loss": history[steps - 1]})
    write_arrays(folder / "weights.npz", snapshots.weights())
    write_arrays(folder / "validation.npz", snapshots.validation())
    rows = {k: v[:1] if (v == v[:1]).all() else v for k, v in data.arrays.items()}
    write_arrays(folder / "data.npz", rows)  # once, where all replicas have the same
    (folder / "config.yaml").write_text(yaml.safe_dump(shard.whole.plain(), sort_keys=False))
    return len(history)


def rows_of(config: Config, stops: Sequence[int] = ()) -> ReplicaData:
    """The rows of its replicas, in chunks that end at these steps, too."""
    return ReplicaData(
        seeds=config.replica_seeds,
        **config.sampling,
        dtype=dtype(config),
        chunk_steps=config.trainer.chunk_steps,
        stops=stops,
    )


def build(config: Config) -> Regression:
    """Its replicas, untrained."""
    module = Regression(
        units=list(config.units),
        optimizer=config.plain()["optimizer"],
        seeds=list(config.replica_seeds),
        streams=config.streams,
        init=config.model.init,
        activation=config.model.activation,
        gradient=config.model.gradient,
        loss=config.loss,
        dtype=dtype(config),
    )
    if config.streams == "legacy":  # one generator, which has given the rows before
        module.mlp.load([_after_rows(config, seed) for seed in config.replica_seeds])
    return module


def _after_rows(config: Config, seed: int) -> list[np.ndarray]:
    one = streams(seed, config.streams)
    config.target.rows(one.data)
    return mlp.initial_parameters(config.units, config.model.init, one.weights)


def metrics(
    module: Regression, data: ReplicaData, history: np.ndarray, snapshots: Snapshots
) -> dict[str, list[float | None]]:
    """Final numbers, one per replica, all after the last update; None where a number is not finite.

    mse, sse on the training rows; truth_mse: mean squared distance to the noise-free function on
    all rows generated; val_mse: on fresh rows; dead_units: hidden units that are zero on every row
    generated; diverged_at: first step whose loss is not finite.
    """
    pool_x, truth = (torch.from_numpy(data.arrays[k]).to(data.x) for k in ("pool_x", "pool_truth"))
    sse, from_truth = module.sum_of_squares(data.x, data.y), module.sum_of_squares(pool_x, truth)
    numbers = {
        "mse": (sse / data.x.shape[1]).numpy(),
        "sse": sse.numpy(),
        "truth_mse": (from_truth / pool_x.shape[1]).numpy(),
        "val_mse": snapshots.validation()["mse"][-1],
        "dead_units": module.dead_units(pool_x).numpy(),
    }
    bad = ~np.isfinite(history)
    numbers["diverged_at"] = np.where(bad.any(0), bad.argmax(0) + 1 if len(bad) else 0, np.nan)
    return {
        k: [float(v) if np.isfinite(v) else None for v in values] for k, values in numbers.items()
    }
