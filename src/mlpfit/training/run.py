"""Training of one shard, from its config to the files of its folder."""

import json
import time
from multiprocessing import parent_process

import numpy as np
import torch
import yaml

from mlpfit.config.schema import Config, LeastSquares
from mlpfit.data.datamodule import ReplicaData
from mlpfit.data.streams import streams
from mlpfit.files import write_arrays
from mlpfit.model.initial import initial_parameters
from mlpfit.model.least_squares import least_squares
from mlpfit.model.regression import Regression
from mlpfit.processes import cores
from mlpfit.runs.provenance import provenance
from mlpfit.training import engine
from mlpfit.training.callbacks import History, Snapshots
from mlpfit.training.evaluation import Evaluation
from mlpfit.training.progress import OnStep, console
from mlpfit.training.shard import Shard
from mlpfit.training.trainer import (
    checkpoint_of_config,
    dtype,
    fit_without_files,
    restore,
    run_trainer,
)

ALL_CORES_OPERATIONS = 4e8  # of a step; from here torch is faster with a thread on every core
SGD = {"name": "sgd", "lr": 0.0}  # of a module that is solved, not trained


def train_replicas(shard: Shard, on_step: OnStep) -> None:
    """Train these replicas, resuming from a last checkpoint in the folder, and write all files of
    the run except the marker. Raises Diverged if the loss of a single run is not finite."""
    started, config = time.time(), shard.config
    reason = engine.outside(config)
    # On small tensors two threads are up to a hundred times slower than one.
    large = reason is not None and shard.whole.single and config.operations >= ALL_CORES_OPERATIONS
    torch.set_num_threads(cores() if large else 1)
    data = make_data(config)
    module = make_module(config, compiled=reason is None, data=data)
    evaluate = Evaluation(data, engine.kernel_cache(config))
    schedule, ended = shard.schedule, None
    history, snapshots = History(schedule.stride), Snapshots(schedule.snapshots, evaluate)
    if not config.train:
        checkpoint = checkpoint_of_config(config)
        restore(checkpoint, module, history)
        snapshots.take(checkpoint["global_step"], module)
    elif isinstance(config.optimizer, LeastSquares):
        solve(module, data)
        snapshots.take(0, module)
    else:
        if reason is not None and shard.seeds[0] == shard.whole.replica_seeds[0]:
            console.print(f"{config.name}: trained step by step, since {reason}", markup=False)
        checkpoints = run_trainer(shard, data, module, snapshots, history, evaluate, on_step)
        snapshots.take(history.step, module)  # callbacks may change the weights at the very end
        started, ended = started - checkpoints.earlier_seconds, checkpoints.end_reason
    steps = write_results(shard, data, module, snapshots, history, evaluate)
    content = provenance() | {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "seeds": list(shard.seeds),
        "ended": ended,
        "outside_engine": reason,
        "seconds": time.time() - started,
    }
    (shard.folder / "provenance.json").write_text(json.dumps(content, indent=1))
    if config.train and steps < config.steps:
        console.print(f"{config.name}: ended at step {steps} of {config.steps} ({ended})")


def solve(module: Regression, data: ReplicaData) -> None:
    """Set each linear unit to the least-squares fit of its replica's rows."""
    weight, bias = least_squares(data.x.double().numpy(), data.y.double().numpy())
    with torch.no_grad():
        ((weights, biases),) = module.mlp.layers
        weights.copy_(torch.from_numpy(weight))
        biases.copy_(torch.from_numpy(bias))


def write_results(
    shard: Shard,
    data: ReplicaData,
    module: Regression,
    snapshots: Snapshots,
    history: History,
    evaluate: Evaluation,
) -> int:
    """Write all files of the run except its provenance. Returns the number of steps."""
    folder, (kept, losses) = shard.folder, history.kept(len(shard.seeds))
    numbers = final_metrics(module, data, history.lost, snapshots, evaluate)
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=1))
    recorded = np.isin(kept, shard.schedule.recorded_steps(history.step))
    write_arrays(folder / "history.npz", {"step": kept[recorded], "loss": losses[recorded]})
    write_arrays(folder / "weights.npz", snapshots.weights())
    write_arrays(folder / "validation.npz", snapshots.validation())
    rows = {k: v[:1] if (v == v[:1]).all() else v for k, v in data.arrays.items()}
    write_arrays(folder / "data.npz", rows)  # rows shared by all replicas are written once
    config = yaml.safe_dump(shard.whole.plain(), sort_keys=False)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return history.step


def make_data(config: Config) -> ReplicaData:
    """The rows of a config's replicas."""
    return ReplicaData(seeds=config.replica_seeds, **config.sampling, dtype=dtype(config))


def make_module(
    config: Config, compiled: bool = False, data: ReplicaData | None = None
) -> Regression:
    """The untrained module of a config's replicas; compiled: whose steps the engine takes; data:
    their rows, with which legacy streams have perhaps drawn the weights."""
    kind = engine.CompiledRegression if compiled else Regression
    module = kind(
        units=list(config.units),
        optimizer=config.plain()["optimizer"] if config.optimizer.name != "least_squares" else SGD,
        seeds=list(config.replica_seeds),
        streams=config.streams,
        init=config.model.init,
        activation=config.model.activation,
        output=config.model.output,
        gradient=config.model.gradient,
        loss=config.loss,
        dtype=dtype(config),
        scheduler=config.scheduler,
        dropout=config.model.dropout,
        net=config.model.net,
    )
    module.logs_steps = False  # callbacks.Scalars logs them
    if config.streams == "legacy" and config.model.net is None:  # it draws the rows first
        drawn = data.initial if data is not None else None
        module.mlp.load(drawn or [_after_rows(config, seed) for seed in config.replica_seeds])
    if isinstance(module, engine.CompiledRegression):
        replicas, is_beside_others = len(config.replica_seeds), parent_process() is not None
        large = replicas == 1 and config.operations >= engine.THREADS_OPERATIONS
        threads = cores() if large and not is_beside_others else 1
        specialise = engine.worth_specialising(config)
        module.prepare(engine.kernel_cache(config), specialise, threads)
    return module


def _after_rows(config: Config, seed: int) -> list[np.ndarray]:
    """Initial parameters from a stream that has drawn the rows before."""
    rngs = streams(seed, config.streams)
    config.target.rows(rngs.data)
    return initial_parameters(config.units, config.model.init, rngs.weights)


def final_metrics(
    module: Regression,
    data: ReplicaData,
    lost: torch.Tensor | None,
    snapshots: Snapshots,
    evaluate: Evaluation,
) -> dict[str, list[float | None]]:
    """Final numbers of each replica after the last update; None for a number that is not finite.

    mse, sse: on the training rows; truth_mse: mean squared distance to the noise-free function on
    all rows there are; val_mse: on the rows of validation; dead_units: number of hidden units that
    are zero on all rows there are; diverged_at: lost, the first step whose loss is not finite, 0:
    none.
    """
    mse = evaluate.training(module)
    truth_mse, dead_units = evaluate.truth(module)
    first = np.zeros(len(mse)) if lost is None else lost.numpy()
    numbers = {
        "mse": mse,
        "sse": mse * (data.x.shape[1] * module.hparams["units"][-1]),
        "truth_mse": truth_mse,
        "val_mse": snapshots.validation()["mse"][-1],
        "dead_units": dead_units,
        "diverged_at": np.where(first > 0, first, np.nan),
    }
    return {
        k: [float(v) if np.isfinite(v) else None for v in values] for k, values in numbers.items()
    }


def losses_from_perturbed_weights(config: Config) -> np.ndarray:
    """Losses (steps, R) of a training by Lightning's loop from initial weights each of which is
    moved to the next number of its type; nothing is written."""
    data, module, history = make_data(config), make_module(config), History()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.nextafter(parameter, torch.full_like(parameter, torch.inf)))
    if config.steps:
        fit_without_files(config, module, data, history)
    return history.losses(len(config.replica_seeds))
