"""Training of one shard, from its config to the files of its folder."""

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
from mlpfit.training.trainer import checkpoint_of_config, dtype, restore, run_trainer, will_compile


def train_into(shard: Shard, on_step: OnStep) -> None:
    """Train these replicas, resuming from a last checkpoint in the folder, and write all files of
    the run except the marker. Raises Diverged if the loss of a single run is not finite."""
    started, config = time.time(), shard.config
    compiled = will_compile(shard.whole)
    all_cores = shard.single and config.uses_all_cores and not compiled
    # On small tensors two threads are up to a hundred times slower than one.
    torch.set_num_threads(cores() if all_cores else 1)
    data, module = make_data(config, [*shard.snapshots, *shard.checkpoints]), make_module(config)
    snapshots, ended = Snapshots(shard.snapshots, data), None
    if not config.train:
        checkpoint = checkpoint_of_config(config)
        restore(checkpoint, module)
        snapshots.take(checkpoint["global_step"], module)
    elif isinstance(config.optimizer, LeastSquares):
        module.solve(data.x, data.y)
        snapshots.take(0, module)
    else:
        module.compile_steps, module.fused = compiled, all_cores
        checkpoints = run_trainer(shard, data, module, snapshots, on_step)
        started, ended = started - checkpoints.earlier_seconds, checkpoints.end_reason
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
    max_steps = config.trainer.max_steps
    if config.train and steps < max_steps:
        console.print(f"{config.name}: ended at step {steps} of {max_steps} ({ended})")


def write_results(shard: Shard, data: ReplicaData, module: Regression, snapshots: Snapshots) -> int:
    """Write all files of the run except its provenance. Returns the number of steps."""
    folder, history = shard.folder, module.history().numpy()
    numbers = final_metrics(module, data, history, snapshots)
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=1))
    steps = shard.recorded_steps(len(history))
    write_arrays(folder / "history.npz", {"step": steps, "loss": history[steps - 1]})
    write_arrays(folder / "weights.npz", snapshots.weights())
    write_arrays(folder / "validation.npz", snapshots.validation())
    rows = {k: v[:1] if (v == v[:1]).all() else v for k, v in data.arrays.items()}
    write_arrays(folder / "data.npz", rows)  # rows shared by all replicas are written once
    (folder / "config.yaml").write_text(yaml.safe_dump(shard.whole.plain(), sort_keys=False))
    return len(history)


def make_data(config: Config, stops: Sequence[int] = ()) -> ReplicaData:
    """The rows of a config's replicas; stops: further steps at which chunks end."""
    return ReplicaData(
        seeds=config.replica_seeds,
        **config.sampling,
        dtype=dtype(config),
        chunk_steps=config.trainer.chunk_steps,
        stops=stops,
    )


def make_module(config: Config) -> Regression:
    """The untrained module of a config's replicas."""
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
    if config.streams == "legacy":  # the generator draws the rows first
        module.mlp.load([_after_rows(config, seed) for seed in config.replica_seeds])
    return module


def _after_rows(config: Config, seed: int) -> list[np.ndarray]:
    """Initial parameters from a stream that has drawn the rows before."""
    rngs = streams(seed, config.streams)
    config.target.rows(rngs.data)
    return mlp.initial_parameters(config.units, config.model.init, rngs.weights)


def final_metrics(
    module: Regression, data: ReplicaData, history: np.ndarray, snapshots: Snapshots
) -> dict[str, list[float | None]]:
    """Final numbers of each replica after the last update; None for a number that is not finite.

    mse, sse: on the training rows; truth_mse: mean squared distance to the noise-free function on
    all rows generated; val_mse: on fresh rows; dead_units: number of hidden units that are zero on
    all rows generated; diverged_at: first step whose loss is not finite.
    """
    pool_x, truth = (torch.from_numpy(data.arrays[k]).to(data.x) for k in ("pool_x", "pool_truth"))
    sse, truth_sse = module.sum_of_squares(data.x, data.y), module.sum_of_squares(pool_x, truth)
    numbers = {
        "mse": (sse / data.x.shape[1]).numpy(),
        "sse": sse.numpy(),
        "truth_mse": (truth_sse / pool_x.shape[1]).numpy(),
        "val_mse": snapshots.validation()["mse"][-1],
        "dead_units": module.dead_units(pool_x).numpy(),
    }
    lost = ~np.isfinite(history)
    numbers["diverged_at"] = np.where(lost.any(0), lost.argmax(0) + 1 if len(lost) else 0, np.nan)
    return {
        k: [float(v) if np.isfinite(v) else None for v in values] for k, values in numbers.items()
    }
