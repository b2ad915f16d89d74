"""What is kept while training: weights and errors at a few steps, checkpoints, the user's view of
progress."""

import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from mlpfit.config.schema import Config
from mlpfit.data.datamodule import ReplicaData
from mlpfit.errors import Diverged
from mlpfit.files import write_file
from mlpfit.model.regression import Regression
from mlpfit.training.progress import OnStep
from mlpfit.training.shard import Shard

# ``module`` is a Regression in what follows, for which Lightning's signatures have its own base.


class Snapshots(pl.Callback):
    """Parameters, and the error on fresh rows, after the given steps; checkpoints hold them."""

    def __init__(self, steps: Sequence[int], data: ReplicaData) -> None:
        self.steps, self.data = set(steps), data
        self.parameters: dict[int, dict[str, Tensor]] = {}
        self.val_mse: dict[int, Tensor] = {}  # (R,)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if not self.parameters:
            self.keep(trainer.global_step, module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self.keep(trainer.global_step, module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.global_step not in self.parameters:  # ended early
            self.keep(trainer.global_step, module)

    def keep(self, step: int, module: Any) -> None:
        self.parameters[step] = {n: p.detach().clone() for n, p in module.mlp.named_parameters()}
        self.val_mse[step] = module.mean_squared_error(self.data.val_dataloader())

    def weights(self) -> dict[str, np.ndarray]:
        """step (S,), weight_i (S, R, in, out), bias_i (S, R, 1, out)."""
        steps = sorted(self.parameters)
        kept = [self.parameters[step] for step in steps]
        stacked = {n: np.stack([at[n].numpy(force=True) for at in kept]) for n in kept[0]}
        return {"step": np.array(steps), **stacked}

    def validation(self) -> dict[str, np.ndarray]:
        """step (S,), mse (S, R) on fresh rows."""
        steps = sorted(self.val_mse)
        errors = np.stack([self.val_mse[step].numpy(force=True) for step in steps])
        return {"step": np.array(steps), "mse": errors}

    def state_dict(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "val_mse": self.val_mse}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.parameters, self.val_mse = state["parameters"], state["val_mse"]


class Checkpoints(pl.Callback):
    """last.ckpt at the given steps and at the end, best.ckpt whenever the error on the training
    rows is the lowest so far. Each says of which run it is, whether and why the training has ended,
    and how many seconds have gone into it."""

    def __init__(self, shard: Shard, data: ReplicaData) -> None:
        self.folder, self.run = shard.folder / "checkpoints", shard.fingerprint
        self.steps, self.data = set(shard.checkpoints), data
        self.started, self.spent = time.time(), 0.0  # spent: by the processes before this one
        # replicas have no best step in common
        self.best = float("inf") if shard.single else float("-inf")
        self.ended: str | None = None  # why, once it has
        self.stopping = False  # asked to before the interruption

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        trainer.should_stop |= self.stopping

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is None or not loop._should_check_val_fx(fetcher):
            self.on_validation_end(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """A step that is validated is saved with what callbacks have concluded from it."""
        if trainer.global_step in self.steps:
            self.save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.ended = reason_of_ending(trainer)
        if trainer.global_step not in self.steps:  # ended early
            self.save(trainer, module)

    def save(self, trainer: pl.Trainer, module: Any) -> None:
        if self.best > float("-inf"):  # else the error of all replicas would be computed in vain
            error = float(
                module.mean_squared_error([{"x": self.data.x, "y": self.data.y}]).nanmedian()
            )
            if error < self.best:
                self.best = error
                trainer.save_checkpoint(self.folder / "best.ckpt")
        trainer.save_checkpoint(self.folder / "last.ckpt")

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: Any) -> None:
        checkpoint |= {"run": self.run, "ended": self.ended, "stopping": trainer.should_stop}

    def on_load_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: Any) -> None:
        self.stopping = checkpoint.get("run") == self.run and checkpoint["stopping"]

    def state_dict(self) -> dict[str, Any]:
        seconds = self.spent + time.time() - self.started
        return {"best": self.best, "seconds": seconds, "ended": self.ended}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.spent, self.ended = state["best"], state["seconds"], state["ended"]


def reason_of_ending(trainer: pl.Trainer) -> str:
    """Why a training has ended."""
    if trainer.global_step >= trainer.max_steps:
        return "trainer.max_steps"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if message := getattr(callback, "stopping_reason_message", None):
            return message
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return "trainer.max_time"
    return "a callback"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and moves into place. Lightning's own goes through TMPDIR, which may
    lie on another file system: then a kill or a full disk leaves half a file where the last good
    one was."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_file(Path(path), buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds; None if it is damaged or none. torch itself takes flipped bits for
    weights, although its zip files have checksums. Nothing in it is executed."""
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                return None
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # of whatever kind: nothing of it is used
        return None


class Monitor(pl.Callback):
    """Tells the user's display how far the run is, and stops a single one whose loss is no longer
    finite; in an ensemble the others go on."""

    def __init__(self, on_step: OnStep, single: bool) -> None:
        self.on_step, self.single = on_step, single

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        trace = module.losses[-1]
        self.on_step(trainer.global_step, float(trace[-1].nanmedian()))
        if self.single and not trace.isfinite().all():
            bad = int((~trace.isfinite()).any(1).nonzero()[0])
            raise Diverged(trainer.global_step - len(trace) + bad + 1, float(trace[bad, 0]))


class Events(TensorBoardLogger):
    """Lightning's logger without its file of hyper-parameters (the run folder has the config), and
    with one record for all numbers of a step: each costs a twentieth of a millisecond."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        self.experiment.file_writer.add_summary(Summary(value=values), step)

    def save(self) -> None:
        self.experiment.flush()


class Scalars(pl.Callback):
    """What a single run tells its loggers; the same names everywhere, so that runs overlay.

    train/loss      before each update, of about ``recording.scalars`` steps
    val/mse         on fresh rows, and all that follow at the snapshots
    error/truth     mean squared distance to the noise-free function, on the rows generated
    learning_rate   of the optimiser
    units/dead      share of units of the first hidden layer that are zero on every row generated
    question, command   as text, for TensorBoard

    Pictures, distributions and the graph are made from the finished run: here they would take a
    tenth of its time.
    """

    def __init__(self, config: Config, data: ReplicaData, snapshots: Snapshots) -> None:
        self.config, self.snapshots = config, snapshots
        self.every = max(1, -(-config.trainer.max_steps // config.recording.scalars))
        self.x, self.truth = (
            torch.from_numpy(data.arrays[name]).to(data.x) for name in ("pool_x", "pool_truth")
        )

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.global_step:
            return
        command = f"`mlpfit experiment={self.config.name} seed={self.config.replica_seeds[0]}`"
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("question", self.config.question)
                logger.experiment.add_text("command", command)
        self._tell(trainer, self._of_snapshot(module, 0), 0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        done, trace = trainer.global_step, module.losses[-1][:, 0].tolist()
        for step, loss in enumerate(trace, start=done - len(trace) + 1):
            if step % self.every == 0 or step == 1:
                self._tell(trainer, {"train/loss": loss}, step)
        if done in self.snapshots.steps:
            learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
            numbers = self._of_snapshot(module, done) | {"learning_rate": learning_rate}
            self._tell(trainer, numbers, done)

    def _tell(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)

    def _of_snapshot(self, module: Regression, step: int) -> dict[str, float]:
        with torch.no_grad():
            outputs = module.mlp.outputs(self.x.to(module.device))
        error = (outputs[-1] - self.truth.to(module.device)).square().mean()
        numbers = {"val/mse": float(self.snapshots.val_mse[step][0]), "error/truth": float(error)}
        if hidden := outputs[1:-1]:
            numbers["units/dead"] = float((hidden[0][0] == 0).all(0).float().mean())
        return numbers
