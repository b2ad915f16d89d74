"""Training under Lightning's Trainer by the compiled engine: a batch of the Trainer is a chunk of
optimiser steps, which a kernel takes in one call.

The engine is used where it does all that is asked for (:func:`outside` says what it does not do);
every other training takes Lightning's own loop, one step at a time, with
:class:`mlpfit.model.regression.Regression` itself.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from mlpfit.config.schema import HARMLESS_ARGUMENTS, Config, LeastSquares
from mlpfit.data import elementary
from mlpfit.data.datamodule import ReplicaData
from mlpfit.data.order import Order
from mlpfit.engine import compiler, steps
from mlpfit.engine.evaluation import known_activation
from mlpfit.model.optimizers import bias_options, optimizer_of
from mlpfit.model.regression import Regression
from mlpfit.model.schedulers import scheduler_of

# Callbacks that look at a training, or end it, between batches; all others may reach into a step.
CALLBACKS = {
    f"lightning.pytorch.callbacks.{name}"
    for name in [
        "EarlyStopping",
        "LearningRateMonitor",
        "ModelCheckpoint",
        "ModelSummary",
        "Timer",
        "RichModelSummary",
        "RichProgressBar",
        "TQDMProgressBar",
        "ProgressBar",
    ]
}
# Arguments of the Trainer that mean the same for a chunk as for a step, and those that do at this
# value.
ARGUMENTS = HARMLESS_ARGUMENTS | {"deterministic", "limit_val_batches", "max_time", "min_steps"}
NEUTRAL = {"devices": (1, "auto"), "strategy": ("auto",)}
# Seconds that a kernel compiled for the very problem saves per operation, of nets without a hidden
# layer, with one (and one output), and of others; and those that it must save.
SAVED, COMPILING = (2.5e-9, 3e-11, 3e-10), 0.5
THREADS_OPERATIONS = 1e8  # of a step of one replica; from here more threads save what they wait


def outside(config: Config) -> str | None:
    """Why the engine does not train this config, in a clause; None if it does."""
    if (key := unknown(config)) is not None:
        return f"{key} is outside the engine"
    try:
        compiler.load(compiler.source(_real(config), _library(config)), kernel_cache(config))
    except compiler.NoCompiler as error:
        return str(error)
    return None


def unknown(config: Config) -> str | None:
    """What of this config the engine does not do, as its key and value; None if it does it all."""
    trainer, model = config.trainer, config.model
    if not config.engine:
        return "engine=false"
    if trainer.accelerator != "cpu" and torch.accelerator.is_available():
        return f"trainer.accelerator={trainer.accelerator}"
    if trainer.precision not in ("32-true", "64-true"):
        return f"trainer.precision={trainer.precision}"
    if model.net is not None:
        return f"model.net={shown(model.net)}"
    if model.dropout:
        return f"model.dropout={model.dropout}"
    if known_activation(model.activation) is None:
        return f"model.activation={shown(model.activation)}"
    if model.output not in list(steps.OUTPUTS):
        return f"model.output={shown(model.output)}"
    if steps.known_loss(config.loss) is None:
        return f"loss={shown(config.loss)}"
    if not isinstance(config.optimizer, LeastSquares):
        kind, arguments = optimizer_of(config.plain()["optimizer"], replicas=1)
        if kind not in steps.OPTIMIZERS:
            return f"optimizer={config.optimizer.name}"
        if own := bias_options(config.plain()["optimizer"]):
            return f"optimizer.bias={shown(own)}"
        optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **arguments)
        if (option := steps.unknown_option(optimizer)) is not None:
            return f"optimizer.{option}={optimizer.param_groups[0][option]}"
        if config.scheduler is not None and _sets_more_than_rates(config.scheduler, optimizer):
            return f"scheduler={config.scheduler['name']}"
    for name, node in config.callbacks.items():
        if node and node.get("_target_") not in CALLBACKS:
            return f"callbacks.{name}"
    for name, value in trainer.arguments.items():
        if name not in ARGUMENTS and value not in NEUTRAL.get(name, ()):
            return f"trainer.{name}={value}"
    return None


def _sets_more_than_rates(scheduler: dict[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    """Whether a scheduler follows the error, or changes other options than learning rate and
    momentum, as OneCycleLR does betas."""
    (options,) = optimizer.param_groups
    before = {**options}
    made = scheduler_of(scheduler, optimizer)["scheduler"]
    if isinstance(made, lr_scheduler.ReduceLROnPlateau):
        return True
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch warns of its lack
    made.step()
    return any(options[key] != before[key] for key in before if key not in FOLLOWED)


FOLLOWED = ("params", "lr", "momentum")  # that a step of the engine takes from a scheduler


def shown(given: Any) -> str:
    """A name with its arguments, if it has some, as on the command line."""
    if isinstance(given, str):
        return given
    return "{" + ", ".join(f"{key}: {value}" for key, value in given.items()) + "}"


def worth_specialising(config: Config) -> bool:
    """Whether a kernel compiled for the very problem of these replicas saves its compilation."""
    replicas, hidden = len(config.replica_seeds), len(config.units) - 2
    saved = SAVED[hidden if hidden == 0 or (hidden == 1 and config.units[-1] == 1) else 2]
    return replicas > 4 and saved * config.operations * config.steps * replicas >= COMPILING


def kernel_cache(config: Config) -> Path:
    """Folder of compiled kernels, unless MLPFIT_KERNEL_CACHE names another."""
    return Path(config.output_dir) / ".cache" / "kernels"


def _library(config: Config) -> str:
    """The library whose compilation shows that the engine works for this config: its kernel's, or,
    if one is compiled for the very problem or none is needed, that of its errors."""
    kernel = steps.kernel_name(config.units)
    is_solved = isinstance(config.optimizer, LeastSquares)
    return (
        "evaluate" if is_solved or (kernel == "narrow" and worth_specialising(config)) else kernel
    )


def _real(config: Config) -> str:
    return "double" if config.trainer.precision == "64-true" else "float"


class Chunk:
    """Steps on rows x (R, n, d), y (R, n, 1), all of them or the slices of an order. Not a
    dataclass, whose fields Lightning would look through for tensors to move."""

    def __init__(self, x: Tensor, y: Tensor, steps: int, order: Order | None) -> None:
        self.x, self.y, self.steps, self.order = x, y, steps, order


class CompiledRegression(Regression):
    """A Regression whose training_step takes a chunk of steps in a kernel. Its checkpoints are
    those of a Regression."""

    compiled_steps: steps.CompiledSteps
    _is_watched = True  # whether callbacks of Lightning's may look at the loss of a chunk
    cache: Path
    specialise: bool
    threads: int

    def prepare(self, cache: Path, specialise: bool, threads: int) -> "CompiledRegression":
        """cache: folder of compiled kernels; specialise: compile one for this very problem;
        threads: at most, on a large net."""
        # Lightning takes one optimiser step for each batch in its automatic optimisation.
        self.automatic_optimization = False
        self.cache, self.specialise, self.threads = cache, specialise, threads
        return self

    def on_train_start(self) -> None:
        (optimizer,) = self.trainer.optimizers
        watching = self.trainer.callbacks  # type: ignore[attr-defined]
        self._is_watched = any(type(c).__module__.startswith("lightning.") for c in watching)
        self.compiled_steps = steps.CompiledSteps(
            self.mlp, self.loss, optimizer, self.cache, self.specialise, self.threads
        )

    def training_step(self, batch: Any, index: int) -> Any:  # a Chunk
        """Take the steps of a chunk. Returns {"losses": (steps, R)}, those before each update."""
        schedule = self._schedule(batch.steps)
        trace = self.compiled_steps(batch.x, batch.y, batch.steps, batch.order, **schedule)
        self._advance_global_step(len(trace))
        self.replica_losses = trace[-1]
        if self._is_watched:
            self._log("train/loss", trace[-1], prog_bar=True, logger=False)
        return {"losses": trace}

    def _schedule(self, steps: int) -> dict[str, np.ndarray]:
        """Learning rates and momenta (steps,) of the next steps, by torch's own schedulers, which
        are stepped as Lightning's loop does; {} without one."""
        schedulers = self.trainer.lr_scheduler_configs
        if not schedulers:
            return {}
        per_epoch = self.trainer.datamodule.data.batches_per_epoch  # type: ignore[attr-defined]
        (optimizer,) = self.trainer.optimizers
        (options,) = optimizer.param_groups
        rates, momenta = np.empty(steps), np.empty(steps)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch warns of its lack
        with portable_cosines():
            for i in range(steps):
                rates[i], momenta[i] = options["lr"], options.get("momentum", 0.0)
                done = self.trainer.global_step + i + 1
                for scheduler in schedulers:
                    every = scheduler.frequency
                    if scheduler.interval == "epoch":
                        every *= per_epoch
                    if done % every == 0:
                        scheduler.scheduler.step()  # type: ignore[call-arg]
        return {"rates": rates, "momenta": momenta}

    def _advance_global_step(self, steps: int) -> None:
        """Advance the Trainer's global_step, as LightningOptimizer.step does; its hooks of every
        callback at every step would take a fifth of the time. Also the loggers' step, to which
        Lightning adds one after each batch."""
        loop = self.trainer.fit_loop.epoch_loop
        for total in (
            loop.manual_optimization.optim_step_progress.total,
            loop.automatic_optimization.optim_progress.optimizer.step.total,
        ):
            total.ready += steps
            total.completed += steps
        loop._batches_that_stepped += steps - 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count steps as batches, so that Lightning's own loop can go on from this checkpoint."""
        total = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
        total |= dict.fromkeys(total, checkpoint["global_step"])


@contextmanager
def portable_cosines() -> Iterator[None]:
    """torch's schedulers take the cosine of :mod:`mlpfit.data.elementary`: that of the C library
    depends on the processor."""
    functions = {**vars(math), "cos": elementary.cos_of_number}
    lr_scheduler.math = SimpleNamespace(**functions)  # type: ignore[assignment]
    try:
        yield
    finally:
        lr_scheduler.math = math


class Chunks(pl.LightningDataModule):
    """The batches of a ReplicaData in chunks of steps that end at the boundaries: one epoch of the
    Trainer.

    Iteration starts at the Trainer's ``global_step``, so a resumed run gets exactly the steps that
    it has not taken.
    """

    def __init__(self, data: ReplicaData, boundaries: Sequence[int]) -> None:
        super().__init__()
        self.data, self.boundaries = data, sorted({0, *boundaries})

    def train_dataloader(self) -> "Chunks":
        return self

    def val_dataloader(self) -> Any:
        return self.data.val_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, index: int) -> Any:
        return batch  # the engine is on the CPU, and an order is no tensor

    def __len__(self) -> int:
        return len(self.boundaries) - 1

    def __iter__(self) -> Iterator[Chunk]:
        done = self.trainer.global_step if self.trainer is not None else 0
        for first, last in zip(self.boundaries, self.boundaries[1:], strict=False):
            if last > done:
                first = max(first, done)
                order = self.data.order_of(first, last)
                yield Chunk(self.data.x, self.data.y, last - first, order)

    def state_dict(self) -> dict[str, Any]:
        """Empty; its presence tells Lightning that the dataloader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
