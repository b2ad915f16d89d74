"""What a run writes for TensorBoard while it trains: same tags in every experiment, so that runs
overlay.

loss            before each update, thinned to ``logger.points``
error/truth     mean squared distance to the noise-free function, at the snapshot steps
learning_rate   of the optimiser
units/dead      share of hidden units that are zero on every row
question, command   as text

The config, pictures, distributions and the graph come from the finished run (board.py): made here,
they would take a tenth of its time.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary

from mlpfit.config.schema import Config
from mlpfit.data.datamodule import ReplicaData
from mlpfit.model.regression import Regression


class Events(TensorBoardLogger):
    """Lightning's logger without its file of hyper-parameters: the run folder has the config."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def save(self) -> None:
        self.experiment.flush()


def logger(folder: Path) -> Events:
    """Writes directly into the run folder: TensorBoard then shows the run under the experiment's
    name."""
    return Events(folder, name="", version="")


class TensorBoard(pl.Callback):
    """Shows the first replica."""

    def __init__(self, config: Config, data: ReplicaData, snapshots: list[int]) -> None:
        self.config, self.snapshots = config, set(snapshots)
        self.every = max(1, -(-config.trainer.max_steps // config.recording.scalars))
        arrays = {name: values[0] for name, values in data.arrays.items()}
        self.grid, self.truth = arrays["pool_x"], arrays["pool_truth"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Regression)
        if trainer.global_step:
            return
        writer, name = _writer(trainer), self.config.name
        writer.add_text("question", self.config.question)
        writer.add_text(
            "command",
            f"`mlpfit experiment={name} seed={module.hparams['seeds'][0]}`",
        )
        self._snapshot(writer, module, 0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, Regression)
        writer, done = _writer(trainer), trainer.global_step
        trace = module.losses[-1][:, 0].tolist()
        for step, loss in enumerate(trace, start=done - len(trace) + 1):
            if step % self.every == 0 or step == 1:
                writer.add_scalar("loss", loss, step)
        if done in self.snapshots:
            self._snapshot(
                writer, module, done, learning_rate=trainer.optimizers[0].param_groups[0]["lr"]
            )

    def _snapshot(self, writer: Any, module: Regression, step: int, **scalars: float) -> None:
        mlp = module.mlp
        with torch.no_grad():
            first = mlp.layers[0][0]
            grid = torch.from_numpy(self.grid).to(first)
            outputs = mlp.outputs(grid.expand(len(first), *grid.shape))
        prediction = outputs[-1][0, :, 0].double().cpu().numpy()
        scalars["error/truth"] = float(np.mean((prediction - self.truth[:, 0]) ** 2))
        if hidden := outputs[1:-1]:
            scalars["units/dead"] = float((hidden[0][0] == 0).all(0).float().mean())
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        writer.file_writer.add_summary(
            Summary(value=values), step
        )  # one record: each costs a twentieth millisecond


def _writer(trainer: pl.Trainer) -> Any:
    assert isinstance(trainer.logger, TensorBoardLogger)
    return trainer.logger.experiment
