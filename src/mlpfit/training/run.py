"""Training itself: from a checked config to the files of a run folder."""

import hashlib
import json
import logging
import time
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import yaml

from mlpfit.config.schema import Config, LeastSquares
from mlpfit.data.datamodule import ReplicaData
from mlpfit.errors import RunError
from mlpfit.model import compiled, losses
from mlpfit.model.regression import Regression
from mlpfit.runs.files import write_arrays
from mlpfit.runs.identity import identity
from mlpfit.runs.provenance import provenance
from mlpfit.training import events as tensorboard
from mlpfit.training.callbacks import (
    AtomicCheckpointIO,
    Checkpoints,
    Divergence,
    Progress,
    Report,
    Snapshots,
    snapshot_steps,
)
from mlpfit.training.progress import console


@dataclass(frozen=True)
class Plan:
    """After which steps weights are kept and checkpoints are written."""

    snapshots: list[int]
    checkpoints: list[int]


def plan(config: Config, replicas: int) -> Plan:
    """A single run is recorded as it develops, an ensemble at its beginning and its end."""
    steps, every = config.trainer.max_steps, config.recording.checkpoint_every
    snapshots = (
        snapshot_steps(steps, config.recording.snapshots) if replicas == 1 else sorted({0, steps})
    )
    checkpoints = sorted({*range(every, steps, every), steps} - {0})
    return Plan(snapshots, checkpoints)


def train_into(folder: Path, config: Config, seeds: Sequence[int], report: Progress) -> None:
    """Train the replicas with these seeds, or go on training them from the folder's last
    checkpoint, and write every file of the run but the marker."""
    started = time.time()
    torch.set_num_threads(1)  # two threads on tensors this small are up to a hundred times slower
    steps = plan(config, len(config.replica_seeds))
    data = rows_of(config, seeds, [*steps.snapshots, *steps.checkpoints])
    module = build(config, seeds)
    snapshots = Snapshots(steps.snapshots)
    if isinstance(config.optimizer, LeastSquares):
        solve(module, data)
        snapshots.keep(0, module)
    else:
        started -= fit(folder, config, steps, data, module, snapshots, report)
    history = module.history().cpu().numpy()
    (folder / "metrics.json").write_text(json.dumps(metrics(module, data, history), indent=1))
    kept = kept_steps(config)
    write_arrays(folder / "history.npz", {"step": kept, "loss": history[kept - 1]})
    write_arrays(folder / "weights.npz", snapshots.arrays())
    write_arrays(folder / "data.npz", {name: once(values) for name, values in data.arrays.items()})
    (folder / "config.yaml").write_text(yaml.safe_dump(config.plain(), sort_keys=False))
    made = provenance() | {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    made |= {"seeds": list(seeds), "seconds": time.time() - started}
    (folder / "provenance.json").write_text(
        json.dumps(made | {"compiled": module.compile_steps}, indent=1)
    )


def kept_steps(config: Config) -> np.ndarray:
    """Steps whose loss is kept, counted from 1: all of a single run; of an ensemble the first, the
    last and every 1st, 2nd, 5th or 10th, so that about ``ensemble.history_points`` remain. The
    published steps are multiples of 10."""
    steps = config.trainer.max_steps
    every = np.arange(1, steps + 1)
    if len(config.replica_seeds) == 1:
        return every
    stride = next((k for k in (1, 2, 5) if steps / k <= config.ensemble.history_points), 10)
    return every[(every % stride == 0) | (every == 1) | (every == steps)]


def once(values: np.ndarray) -> np.ndarray:
    """(R, ...) -> (1, ...) if all replicas have the same values."""
    return values[:1] if (values == values[:1]).all() else values


def compiles(config: Config) -> bool:
    """Whether the steps are compiled: where it is wanted, on the processor, and there is a C++
    compiler."""
    if config.trainer.accelerator != "cpu" and torch.accelerator.is_available():
        return False
    if config.worth_compiling and compiled.compiler() is None:
        console.print(
            "no C++ compiler (g++ or clang++): the steps run uncompiled, some hundred times slower"
        )
        return False
    return config.worth_compiling


def rows_of(config: Config, seeds: Sequence[int], stops: Sequence[int] = ()) -> ReplicaData:
    """The rows of the replicas with these seeds, in chunks that end at these steps, too."""
    return ReplicaData(
        seeds=seeds,
        **config.sampling,
        dtype=dtype(config),
        chunk_steps=config.trainer.chunk_steps,
        stops=stops,
    )


def dtype(config: Config) -> str:
    return "float64" if config.trainer.precision == "64-true" else "float32"


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
        dtype=dtype(config),
    )


def fit(
    folder: Path,
    config: Config,
    steps: Plan,
    data: ReplicaData,
    module: Regression,
    snapshots: Snapshots,
    report: Progress,
) -> float:
    """Lightning's Trainer over all chunks, from the last checkpoint if there is one. Returns the
    seconds that were spent up to that checkpoint."""
    logging.getLogger("lightning.pytorch").setLevel(
        logging.ERROR
    )  # its tips and its list of absent devices
    checkpoints = folder / "checkpoints"
    module.compile_steps = compiles(config)
    module.to_loggers = False
    compiled.cache_in(Path(config.output_dir) / ".cache" / "inductor")
    callbacks: list[pl.Callback] = [snapshots, Report(report)]
    single = len(config.replica_seeds) == 1
    if single:
        callbacks.append(Divergence())
        if config.logger:
            callbacks.append(tensorboard.TensorBoard(config, data, steps.snapshots))
    run = hashlib.sha256(
        json.dumps([identity(config), module.hparams["seeds"]]).encode()
    ).hexdigest()
    kept = Checkpoints(checkpoints, steps.checkpoints, data.x, data.y, best=single, run=run)
    callbacks.append(kept)
    with warnings.catch_warnings():
        # Lightning 2.6 asks after a class that torch 2.13 has deprecated; nothing here can be done
        # about it.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        trainer = pl.Trainer(
            max_steps=config.trainer.max_steps,
            accelerator=config.trainer.accelerator,
            devices=1,
            precision=config.trainer.precision,
            logger=tensorboard.logger(folder) if single and config.logger else False,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            log_every_n_steps=1,  # nothing is logged through it; larger values make it warn of short epochs
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            module, data, ckpt_path=resumable(checkpoints / "last.ckpt", run), weights_only=True
        )
    return kept.spent


def resumable(checkpoint: Path, run: str) -> Path | None:
    """The checkpoint, if there is one. Raises RunError if it is another run's or damaged: torch
    itself takes flipped bits for weights, although its zip files have checksums."""
    if not checkpoint.is_file():
        return None
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            sound = parts.testzip() is None
        sound = sound and torch.load(checkpoint, weights_only=True)["run"] == run
    except Exception:  # of whatever kind: nothing of it is used
        sound = False
    if not sound:
        raise RunError(
            f"{checkpoint}: damaged, or not a checkpoint of this run; start anew with force=true"
        )
    return checkpoint


def solve(module: Regression, data: ReplicaData) -> None:
    """Set each linear unit to the least-squares solution with intercept on its rows."""
    x, y = data.x.double(), data.y.double()
    design = torch.cat([x, torch.ones_like(y)], dim=2)
    solution = torch.linalg.lstsq(design, y, driver="gelsd").solution  # (R, d + 1, 1)
    with torch.no_grad():
        ((weight, bias),) = module.mlp.layers
        weight.copy_(solution[:, :-1])
        bias.copy_(solution[:, -1:])


def metrics(
    module: Regression, data: ReplicaData, history: np.ndarray
) -> dict[str, list[float | None]]:
    """Final numbers, one per replica, all after the last update; None where a number is not finite.

    mse, sse on the training rows; truth_mse: mean squared distance to the noise-free function on
    all rows generated; dead_units: hidden units that are zero on every one of them; diverged_at:
    first step whose loss is not finite.
    """
    with torch.no_grad():
        mlp = module.cpu().mlp
        x, truth = (
            torch.from_numpy(data.arrays[name]).to(data.x) for name in ("pool_x", "pool_truth")
        )
        outputs, prediction = mlp.outputs(x), mlp(data.x)
        dead = sum(((h == 0).all(1).sum(1) for h in outputs[1:-1]), torch.zeros(len(x)))
        numbers = {
            "mse": losses.loss("mse", prediction, data.y).numpy(),
            "sse": losses.loss("sse", prediction, data.y).numpy(),
            "truth_mse": losses.loss("mse", outputs[-1], truth).numpy(),
            "dead_units": dead.numpy(),
        }
    bad = ~np.isfinite(history)
    numbers["diverged_at"] = np.where(bad.any(0), bad.argmax(0) + 1 if len(bad) else 0, np.nan)
    return {
        k: [float(v) if np.isfinite(v) else None for v in values] for k, values in numbers.items()
    }
