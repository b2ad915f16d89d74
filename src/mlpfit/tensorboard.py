"""What a run writes for TensorBoard while it trains: same tags in every experiment, so that runs overlay.

loss            before each update, thinned to ``logger.points``
error/truth     mean squared distance to the noise-free function, at the snapshot steps
learning_rate   of the optimiser
units/dead      share of hidden units that are zero on every row
config, question, command   as text

Pictures, distributions and the graph come from the finished run's weights (board.py): made here, they would take a
tenth of its time.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from mlpfit.config import Config
from mlpfit.datamodule import ReplicaData
from mlpfit.regression import Regression


def logger(folder: Path) -> TensorBoardLogger:
    """Writes its events directly into the run folder: TensorBoard then shows the run under the experiment's name."""
    return TensorBoardLogger(folder, name="", version="", default_hp_metric=False)


class TensorBoard(pl.Callback):
    """Shows the first replica."""

    def __init__(self, config: Config, data: ReplicaData, snapshots: list[int]) -> None:
        self.config, self.snapshots = config, set(snapshots)
        self.every = max(1, -(-config.trainer.max_steps // config.logger.points))
        arrays = {name: values[0] for name, values in data.arrays.items()}
        self.grid, self.truth = arrays["pool_x"], arrays["pool_truth"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Regression)
        if trainer.global_step:
            return
        writer, name = _writer(trainer), self.config.name
        writer.add_text("question", self.config.question)
        writer.add_text("command", f"`python -m mlpfit.train experiment={name} seed={module.hparams['seeds'][0]}`")
        writer.add_text("config", "```yaml\n" + yaml.safe_dump(self.config.plain(), sort_keys=False) + "```")
        self._snapshot(writer, module, 0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, Regression)
        writer, done = _writer(trainer), trainer.global_step
        block = module.losses[-1][:, 0].tolist()
        for step, loss in enumerate(block, start=done - len(block) + 1):
            if step % self.every == 0 or step == 1:
                writer.add_scalar("loss", loss, step)
        if done in self.snapshots:
            writer.add_scalar("learning_rate", trainer.optimizers[0].param_groups[0]["lr"], done)
            self._snapshot(writer, module, done)

    def _snapshot(self, writer: Any, module: Regression, step: int) -> None:
        mlp = module.mlp
        with torch.no_grad():
            first = mlp.layers[0][0]
            grid = torch.from_numpy(self.grid).to(first)
            outputs = mlp.outputs(grid.expand(len(first), *grid.shape))
        prediction = outputs[-1][0, :, 0].double().cpu().numpy()
        writer.add_scalar("error/truth", float(np.mean((prediction - self.truth[:, 0]) ** 2)), step)
        hidden = outputs[1:-1]
        if hidden:
            writer.add_scalar("units/dead", float((hidden[0][0] == 0).all(0).float().mean()), step)


def _writer(trainer: pl.Trainer) -> Any:
    assert isinstance(trainer.logger, TensorBoardLogger)
    return trainer.logger.experiment
