"""Training itself: from a checked config to the files of a run folder."""

import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import yaml

from mlpfit import losses, tensorboard
from mlpfit.config import Config, LeastSquares
from mlpfit.datamodule import ReplicaData
from mlpfit.provenance import provenance
from mlpfit.recording import AtomicCheckpointIO, Checkpoints, Divergence, Progress, Report, Snapshots, snapshot_steps
from mlpfit.regression import Regression
from mlpfit.runs import write_arrays


@dataclass(frozen=True)
class Plan:
    """At which steps blocks end, weights are kept and checkpoints are written."""

    snapshots: list[int]
    checkpoints: list[int]
    boundaries: list[int]


def plan(config: Config) -> Plan:
    steps, every = config.trainer.max_steps, config.checkpoint.every_n_steps
    snapshots = snapshot_steps(steps, config.logger.pictures)
    checkpoints = sorted({*range(every, steps, every), steps} - {0})
    blocks = range(0, steps, config.trainer.block_steps)
    return Plan(snapshots, checkpoints, sorted({*blocks, *snapshots, *checkpoints}))


def train_into(folder: Path, config: Config, progress: Progress) -> None:
    """Train, or go on training from the folder's last checkpoint, and write every file of the run but the marker."""
    started = time.time()
    torch.set_num_threads(1)  # two threads on tensors this small are up to a hundred times slower
    seeds = config.replica_seeds
    steps = plan(config)
    data = ReplicaData(config, seeds, steps.boundaries)
    module = build(config, seeds)
    snapshots = Snapshots(steps.snapshots)
    if isinstance(config.optimizer, LeastSquares):
        solve(module, data)
        snapshots.keep(0, module)
    else:
        fit(folder, config, steps, data, module, snapshots, progress)
    history = module.history().numpy()
    write_arrays(folder / "history.npz", {"step": np.arange(1, len(history) + 1), "loss": history})
    write_arrays(folder / "weights.npz", snapshots.arrays())
    write_arrays(folder / "data.npz", data.arrays)
    (folder / "metrics.json").write_text(json.dumps(metrics(module, data), indent=1))
    (folder / "config.yaml").write_text(yaml.safe_dump(config.plain(), sort_keys=False))
    made = provenance() | {"seeds": list(seeds), "threads": torch.get_num_threads(), "seconds": time.time() - started}
    (folder / "provenance.json").write_text(json.dumps(made, indent=1))


def build(config: Config, seeds: Sequence[int]) -> Regression:
    """The untrained replicas with these seeds."""
    return Regression(
        units=list(config.units),
        optimizer=config.plain()["optimizer"],
        seeds=list(seeds),
        streams=config.streams,
        init=config.model.init,
        activation=config.model.activation,
        gradient=config.model.gradient,
        loss=config.loss,
        dtype="float64" if config.trainer.precision == "64-true" else "float32",
    )


def fit(
    folder: Path,
    config: Config,
    steps: Plan,
    data: ReplicaData,
    module: Regression,
    snapshots: Snapshots,
    progress: Progress,
) -> None:
    """Lightning's Trainer over all blocks, from the last checkpoint if there is one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its tips and its list of absent devices
    checkpoints = folder / "checkpoints"
    callbacks: list[pl.Callback] = [snapshots, Divergence(), Report(progress)]
    if config.logger.tensorboard:
        callbacks.append(tensorboard.TensorBoard(config, data, steps.snapshots))
    callbacks.append(Checkpoints(checkpoints, steps.checkpoints, data.x, data.y))
    with warnings.catch_warnings():
        # Lightning 2.6 asks after a class that torch 2.13 has deprecated; nothing here can be done about it.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        trainer = pl.Trainer(
            max_steps=config.trainer.max_steps,
            accelerator=config.trainer.accelerator,
            devices=1,
            precision=config.trainer.precision,
            logger=tensorboard.logger(folder) if config.logger.tensorboard else False,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            log_every_n_steps=1,  # nothing is logged through it; larger values make it warn of short epochs
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        last = checkpoints / "last.ckpt"
        trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)


def solve(module: Regression, data: ReplicaData) -> None:
    """Set each linear unit to the least-squares solution with intercept on its rows."""
    x, y = data.x.double(), data.y.double()
    design = torch.cat([x, torch.ones_like(y)], dim=2)
    solution = torch.linalg.lstsq(design, y, driver="gelsd").solution  # (R, d + 1, 1)
    with torch.no_grad():
        ((weight, bias),) = module.mlp.layers
        weight.copy_(solution[:, :-1])
        bias.copy_(solution[:, -1:])


def metrics(module: Regression, data: ReplicaData) -> dict[str, list[float]]:
    """Final numbers, one per replica, all after the last update.

    mse, sse on the training rows; truth_mse: mean squared distance to the noise-free function on all rows generated;
    dead_units: hidden units that are zero on every one of them.
    """
    with torch.no_grad():
        x = torch.from_numpy(data.arrays["pool_x"]).to(data.x)
        truth = torch.from_numpy(data.arrays["pool_truth"]).to(data.x)
        mlp = module.cpu().mlp
        outputs, prediction = mlp.outputs(x), mlp(data.x)
        dead = sum(((h == 0).all(1).sum(1) for h in outputs[1:-1]), torch.zeros(len(x)))
        numbers = {
            "mse": losses.loss("mse", prediction, data.y),
            "sse": losses.loss("sse", prediction, data.y),
            "truth_mse": losses.loss("mse", outputs[-1], truth),
            "dead_units": dead,
        }
    return {name: values.tolist() for name, values in numbers.items()}
