"""What is kept while training: weights at a few steps, checkpoints, the user's view of progress."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from mlpfit.errors import Diverged
from mlpfit.model import losses
from mlpfit.model.regression import Regression
from mlpfit.runs.files import write_file

Progress = Callable[[int, float], None]  # steps done, last loss (median over replicas)


def snapshot_steps(steps: int, count: int) -> list[int]:
    """0, the last step and about ``count`` between them, close together at the beginning, where
    most happens."""
    spaced = np.geomspace(1, steps, count).round().astype(int).tolist() if steps else []
    return sorted({0, steps, *spaced})


class Snapshots(pl.Callback):
    """Keeps the parameters after the given steps; they travel with the checkpoints."""

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps = set(steps)
        self.kept: dict[int, list[Tensor]] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self.keep(0, module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self.keep(trainer.global_step, module)

    def keep(self, step: int, module: pl.LightningModule) -> None:
        self.kept[step] = [p.detach().clone().cpu() for p in module.parameters()]

    def arrays(self) -> dict[str, np.ndarray]:
        """step (S,), weight_i (S, R, in, out), bias_i (S, R, 1, out)."""
        steps = sorted(self.kept)
        stacked = [
            np.stack([t.numpy() for t in kept])
            for kept in zip(*(self.kept[s] for s in steps), strict=True)
        ]
        names = [f"{kind}_{i}" for i in range(len(stacked) // 2) for kind in ("weight", "bias")]
        return {"step": np.array(steps), **dict(zip(names, stacked, strict=True))}

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = state["kept"]


class Divergence(pl.Callback):
    """Stops a single run whose loss is no longer finite. In an ensemble it is not used: the other
    replicas go on."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, Regression)
        trace = module.losses[-1]
        if not trace.isfinite().all():
            bad = int((~trace.isfinite()).any(1).nonzero()[0])
            raise Diverged(trainer.global_step - len(trace) + bad + 1, float(trace[bad, 0]))


class Checkpoints(pl.Callback):
    """last.ckpt at the given steps, best.ckpt whenever the error on the training rows is the lowest
    so far. Each says of which run it is, and how many seconds have gone into it."""

    def __init__(
        self, folder: Path, steps: Sequence[int], x: Tensor, y: Tensor, best: bool, run: str
    ) -> None:
        self.folder, self.steps, self.rows, self.run = folder, set(steps), (x, y), run
        self.started, self.spent = time.time(), 0.0  # spent: by the processes before this one
        self.best = float("inf") if best else float("-inf")  # replicas have no best step in common

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step not in self.steps:
            return
        if self.best > float("-inf"):  # else the rows of all replicas would be computed for nothing
            with torch.no_grad():
                x, y = (rows.to(module.device) for rows in self.rows)
                error = float(losses.loss("mse", module(x), y).nanmedian())
            if error < self.best:
                self.best = error
                trainer.save_checkpoint(self.folder / "best.ckpt")
        trainer.save_checkpoint(self.folder / "last.ckpt")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["run"] = self.run

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "seconds": self.spent + time.time() - self.started}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.spent = state["best"], state["seconds"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and moves into place. Lightning's own goes through TMPDIR, which may
    lie on another file system: then a kill or a full disk leaves half a file where the last good
    one was."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_file(Path(path), buffer.getvalue())


class Report(pl.Callback):
    """Tells the user's display how far the run is."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, Regression)
        self.progress(trainer.global_step, float(module.losses[-1][-1].nanmedian()))
