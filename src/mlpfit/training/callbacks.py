"""Callbacks and loggers of a training: snapshots, checkpoints, progress, TensorBoard's scalars."""

import csv
import io
import os
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
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from mlpfit.errors import Diverged
from mlpfit.files import write_file
from mlpfit.model.regression import Regression
from mlpfit.training.evaluation import Evaluation
from mlpfit.training.progress import OnStep

# ``module`` is a Regression below; it is Any, since Lightning declares its base class.


class History(pl.Callback):
    """The loss of every replica before the update of a step; where several batches are accumulated
    for a step, their mean. It is kept at every stride-th step, the first and the last."""

    def __init__(self, stride: int = 1) -> None:
        self.stride = stride
        self.traces: list[Tensor] = []  # (kept steps, R) each
        self.numbers: list[Tensor] = []  # of the steps in each
        self.accumulated: list[Tensor] = []  # (R,) each, of batches since the last update
        self.step = 0  # updates so far
        self.last = torch.empty(0, 1)  # losses of the steps of the last batch: (steps, R)
        self.lost: Tensor | None = None  # (R,) first step whose loss is not finite, 0: none

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        if isinstance(outputs, dict) and "losses" in outputs:  # of the engine
            self.add(outputs["losses"], trainer.global_step)
        else:
            self.accumulated.append(module.replica_losses.cpu())
            if trainer.global_step > self.step:
                self.add(torch.stack(self.accumulated).mean(0)[None], trainer.global_step)
                self.accumulated = []
        self.step = trainer.global_step

    def add(self, trace: Tensor, step: int) -> None:
        """Add the losses of the steps up to this one: (steps, R)."""
        self.last, numbers = trace, torch.arange(step - len(trace) + 1, step + 1)
        if not trace.isfinite().all():
            bad = ~trace.isfinite()
            first = torch.where(bad.any(0), numbers[bad.to(torch.uint8).argmax(0)], 0)
            self.lost = first if self.lost is None else torch.where(self.lost > 0, self.lost, first)
        if self.stride > 1:
            kept = (numbers % self.stride == 0) | (numbers == 1)
            trace, numbers = trace[kept], numbers[kept]
        if len(numbers):
            self.traces.append(trace)
            self.numbers.append(numbers)

    def kept(self, replicas: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the steps that are kept (k,), and their losses (k, R)."""
        self._join()
        if not self.traces:
            return np.empty(0, np.int64), np.empty((0, replicas), np.float32)
        numbers, losses = self.numbers[0].numpy(), self.traces[0].numpy()
        if len(self.last) and numbers[-1] < self.step:
            numbers = np.append(numbers, self.step)
            losses = np.concatenate([losses, self.last[-1:].numpy()])
        return numbers, losses

    def losses(self, replicas: int) -> np.ndarray:
        """The losses that are kept: (k, R)."""
        return self.kept(replicas)[1]

    def _join(self) -> None:
        if len(self.traces) > 1:
            self.traces, self.numbers = [torch.cat(self.traces)], [torch.cat(self.numbers)]

    def state_dict(self) -> dict[str, Any]:
        self._join()
        state = {"traces": self.traces, "accumulated": self.accumulated, "step": self.step}
        every = self.stride == 1 and all(len(n) == self.step for n in self.numbers)
        numbers = [] if every else self.numbers  # those of all steps need no room
        return state | {"numbers": numbers, "lost": self.lost, "last": self.last[-1:].clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.traces, self.accumulated = list(state["traces"]), list(state["accumulated"])
        self.numbers = list(state.get("numbers", ()))
        if not self.numbers:
            self.numbers = [torch.arange(1, len(trace) + 1) for trace in self.traces]
        self.step, self.lost = state["step"], state.get("lost")
        self.last = state.get("last", self.last)


class Snapshots(pl.Callback):
    """Saves parameters and the error on fresh rows after the given steps, and before the first."""

    def __init__(self, steps: Sequence[int], evaluate: Evaluation) -> None:
        self.steps, self.evaluate = set(steps), evaluate
        self.parameters: dict[int, dict[str, Tensor]] = {}
        self.val_mse: dict[int, Tensor] = {}  # (R,)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if not self.parameters:
            self.take(trainer.global_step, module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        step = trainer.global_step
        if step in self.steps and step not in self.parameters:  # accumulated batches share a step
            self.take(step, module)

    def take(self, step: int, module: Any) -> None:
        arrays = module.mlp.arrays().items()
        self.parameters[step] = {name: a.detach().cpu().clone() for name, a in arrays}
        self.val_mse[step] = torch.from_numpy(self.evaluate.validation(module))

    def weights(self) -> dict[str, np.ndarray]:
        """step (S,), weight_i (S, R, in, out), bias_i (S, R, 1, out); of nets of the user's own
        net.<name> (S, R, ...)."""
        steps = sorted(self.parameters)
        snapshots = [self.parameters[step] for step in steps]
        arrays = {n: np.stack([s[n].numpy(force=True) for s in snapshots]) for n in snapshots[0]}
        return {"step": np.array(steps), **arrays}

    def validation(self) -> dict[str, np.ndarray]:
        """step (S,), mse (S, R) on fresh rows."""
        steps = sorted(self.val_mse)
        errors = np.stack([self.val_mse[step].numpy(force=True) for step in steps])
        return {"step": np.array(steps), "mse": errors}

    def state_dict(self) -> dict[str, Any]:
        """The steps, and of all of them together what weights() and validation() have: a tensor
        takes longer to pickle than the numbers in it."""
        weights, errors = self.weights(), self.validation()["mse"]
        steps = weights.pop("step").tolist()
        parameters = {name: torch.from_numpy(values) for name, values in weights.items()}
        return {"steps": steps, "parameters": parameters, "val_mse": torch.from_numpy(errors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if "steps" not in state:  # written by an earlier version
            self.parameters, self.val_mse = state["parameters"], state["val_mse"]
            return
        for i, step in enumerate(state["steps"]):
            self.parameters[step] = {name: v[i] for name, v in state["parameters"].items()}
            self.val_mse[step] = state["val_mse"][i]


class Checkpoints(pl.Callback):
    """Saves last.ckpt in the folder after these steps and at the end, when other callbacks may have
    changed the weights, and, of a single run, best.ckpt if the error on the training rows is then
    the lowest so far: replicas have no common best step. Both contain the fingerprint ``run``, the
    seconds of training, why the training ended, and the rows of CSVLoggers, which delete those of
    an interrupted training when they go on."""

    def __init__(
        self, folder: Path, run: str, steps: Sequence[int], single: bool, evaluate: Evaluation
    ) -> None:
        self.folder, self.run, self.steps, self.evaluate = folder, run, {*steps}, evaluate
        self.started, self.earlier_seconds = time.time(), 0.0  # of interrupted processes
        self.best = float("inf") if single else float("-inf")
        self.end_reason: str | None = None  # None: not ended
        self.stopping = False  # a callback asked to stop before the interruption
        self.rows: list[list[dict[str, str]]] = []  # of each CSVLogger before the interruption
        self.from_another_run = False

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        trainer.should_stop |= self.stopping
        if self.from_another_run:  # with its state of the optimiser, but this run's settings
            for optimizer in trainer.optimizers:
                for group, options in zip(
                    optimizer.param_groups, module.group_options, strict=True
                ):
                    group |= options
        if self.rows:  # what was logged since the start of this process repeats the last of them
            for writer, rows in zip(_csv_writers(trainer), self.rows, strict=True):
                writer.metrics = rows  # type: ignore[assignment]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is None or not loop._should_check_val_fx(fetcher):
            self.on_validation_end(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """A validated step is saved after validation, with the state of callbacks that watch it."""
        if trainer.global_step in self.steps:
            self.save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.end_reason = end_reason(trainer)
        self.save(trainer, module)

    def save(self, trainer: pl.Trainer, module: Any) -> None:
        is_best = False
        if self.best > float("-inf"):  # an ensemble needs no error
            error = float(np.nanmedian(self.evaluate.training(module)))
            if is_best := error < self.best:
                self.best = error
        trainer.save_checkpoint(last := self.folder / "last.ckpt")
        if is_best:
            write_file(self.folder / "best.ckpt", last.read_bytes())

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: Any) -> None:
        checkpoint |= {"run": self.run, "ended": self.end_reason, "stopping": trainer.should_stop}
        checkpoint["rows"] = [_rows(writer) for writer in _csv_writers(trainer)]

    def on_load_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: Any) -> None:
        self.from_another_run = checkpoint.get("run") != self.run
        if not self.from_another_run:
            self.stopping, self.rows = checkpoint["stopping"], checkpoint["rows"]

    def state_dict(self) -> dict[str, Any]:
        seconds = self.earlier_seconds + time.time() - self.started
        return {"best": self.best, "seconds": seconds, "ended": self.end_reason}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.end_reason = state["best"], state["ended"]
        self.earlier_seconds = state["seconds"]


def _csv_writers(trainer: pl.Trainer) -> list[ExperimentWriter]:
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, CSVLogger)]


def _rows(writer: ExperimentWriter) -> list[dict[str, str]]:
    """The rows logged so far."""
    writer.save()
    file = Path(writer.metrics_file_path)
    if not file.is_file():
        return []
    with open(file, newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def end_reason(trainer: pl.Trainer) -> str:
    """Why a training ended: a key of the config, or the message of a callback."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return "trainer.max_steps"
    if (epochs := trainer.max_epochs) not in (None, -1) and trainer.current_epoch >= epochs:
        return "trainer.max_epochs"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if message := getattr(callback, "stopping_reason_message", None):
            return message
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return "trainer.max_time"
    return "a callback"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically. Lightning's class writes to TMPDIR first; if that is on
    another file system, a kill or a full disk replaces the last good checkpoint by half a file."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_file(Path(path), buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Content of a checkpoint, or None if it is damaged or not one. Tests the checksums of the zip
    file, which torch.load ignores. No code in it is executed."""
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                return None
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # torch raises many kinds for damaged files
        return None


class Monitor(pl.Callback):
    """Reports progress to the display. Raises Diverged if a single run's loss is not finite; in an
    ensemble the other replicas go on."""

    def __init__(self, on_step: OnStep, single: bool, history: History) -> None:
        self.on_step, self.single, self.history = on_step, single, history

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if not len(trace := self.history.last):
            return
        self.on_step(trainer.global_step, float(trace[-1].nanmedian()))
        if self.single and not trace.isfinite().all():
            first = int((~trace.isfinite()).any(1).nonzero()[0])
            raise Diverged(trainer.global_step - len(trace) + first + 1, float(trace[first, 0]))


class Events(TensorBoardLogger):
    """TensorBoard's logger without hyper-parameters (the run folder has the config) and with one
    record for all numbers of a step, since a record takes 0.05 ms."""

    @property
    def log_dir(self) -> str:
        """The run's folder as it is named: Lightning would expand a ``$`` or ``~`` in its name."""
        within = self.version == "" and os.path.isdir(self.root_dir)
        return self.root_dir if within else super().log_dir

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        self.experiment.file_writer.add_summary(Summary(value=values), step)

    def save(self) -> None:
        self.experiment.flush()


class Scalars(pl.Callback):
    """Logs scalars of a single run, with the same names in all runs, so that TensorBoard overlays
    them.

    train/loss      before the update, after every so many steps
    val/mse         on fresh rows; this and all below at the snapshots
    error/truth     mean squared distance to the noise-free function, on the rows generated
    learning_rate   of the optimiser
    units/dead      share of hidden units that are zero on every row generated
    texts           by name, for TensorBoard

    Images, histograms and the graph are written from the finished run by ``mlpfit tensorboard``;
    here they would take a tenth of the training time.
    """

    def __init__(
        self, texts: Mapping[str, str], every: int, snapshots: Snapshots, history: History
    ) -> None:
        self.texts, self.every, self.snapshots, self.history = texts, every, snapshots, history
        self.evaluate = snapshots.evaluate

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.global_step:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, text in self.texts.items():
                    logger.experiment.add_text(name, text)
        self._log(trainer, self._snapshot_metrics(module, 0), 0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        done, trace = trainer.global_step, self.history.last[:, 0]
        first = done - len(trace) + 1
        steps = range(-(-first // self.every) * self.every, done + 1, self.every)
        for step in [1, *steps] if first == 1 < self.every else steps:
            self._log(trainer, {"train/loss": float(trace[step - first])}, step)
        if done in self.snapshots.steps:
            learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
            numbers = self._snapshot_metrics(module, done) | {"learning_rate": learning_rate}
            self._log(trainer, numbers, done)

    def _log(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)

    def _snapshot_metrics(self, module: Regression, step: int) -> dict[str, float]:
        truth, dead = self.evaluate.truth(module)
        numbers = {"error/truth": float(truth[0])}
        if self.evaluate.data.val_dataloader():
            numbers["val/mse"] = float(self.snapshots.val_mse[step][0])
        units = sum(module.hparams["units"][1:-1])
        if units and module.hparams["net"] is None:
            numbers["units/dead"] = float(dead[0]) / units
        return numbers


class ConfiguredOptions(pl.Callback):
    """Gives the optimiser the config's options, such as its learning rate, where a training goes on
    from a checkpoint that has others: loading it restores those."""

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        if module.scheduler is not None:  # which may have set another rate for the first step
            return
        for optimizer in trainer.optimizers:
            for group, options in zip(optimizer.param_groups, module.group_options, strict=True):
                group.update(options)
