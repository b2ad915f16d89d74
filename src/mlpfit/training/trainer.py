"""One Trainer of Lightning's: from where it goes on, and what the config adds."""

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from mlpfit.config.schema import Config, Objects
from mlpfit.data.datamodule import ReplicaData
from mlpfit.errors import ConfigError, RunError, as_config_error, one_line
from mlpfit.model import compiled
from mlpfit.model.regression import Regression
from mlpfit.training import callbacks
from mlpfit.training.progress import OnStep, console
from mlpfit.training.shard import Shard

# Arguments of the Trainer that end every shard at the same step, and those that ask for validation.
SHORTENING = {"fast_dev_run", "limit_train_batches", "overfit_batches"}
VALIDATING = {"val_check_interval", "check_val_every_n_epoch", "limit_val_batches"}


def dtype(config: Config) -> str:
    return "float64" if config.trainer.precision == "64-true" else "float32"


def compiles(config: Config) -> bool:
    """Whether the steps are compiled: where wanted, on the processor, with a C++ compiler."""
    if config.trainer.accelerator != "cpu" and torch.accelerator.is_available():
        return False
    if config.worth_compiling and compiled.compiler() is None:
        missing = "no C++ compiler (g++ or clang++)"
        console.print(f"{missing}: the steps run uncompiled, some hundred times slower")
        return False
    return config.worth_compiling


def fit(
    shard: Shard,
    data: ReplicaData,
    module: Regression,
    snapshots: callbacks.Snapshots,
    on_step: OnStep,
) -> callbacks.Checkpoints:
    """Train over all chunks, from the last checkpoint if there is one. Returns what has written the
    checkpoints; it says why the training has ended."""
    config, last = shard.config, shard.folder / "checkpoints" / "last.ckpt"
    saved = callbacks.Checkpoints(shard, data)
    source, start = last, resumable(last, shard)
    if start is not None and start["ended"]:
        restore(start, module, snapshots, saved)
        return saved
    if start is None and config.ckpt_path is not None:
        source, start = Path(config.ckpt_path), given_checkpoint(config)
    module.to_loggers = False
    compiled.set_kernel_cache(Path(config.output_dir) / ".cache" / "inductor")
    own: list[pl.Callback] = [snapshots, callbacks.Monitor(on_step, shard.single)]
    if shard.single:
        own.append(callbacks.Scalars(config, data, snapshots))
    with quiet_lightning():
        trainer = trainer_of(shard, own, [saved])
        trainer.fit(module, data, ckpt_path=source if start else None, weights_only=True)
    if profile := config.trainer.arguments.get("profiler"):
        console.print(f"{profile} profile of {config.name}", trainer.profiler.summary())  # type: ignore[attr-defined]
    if len(module.history()) < config.trainer.max_steps:
        shortened = SHORTENING & config.trainer.arguments.keys()
        if not shard.is_whole and not shortened:
            raise RunError(
                f"{config.name}: ended at step {trainer.global_step} ({saved.ended}); shards of an "
                "ensemble must take equally many: give ensemble.shard as many replicas as there are"
            )
        if shortened:
            saved.ended = ", ".join(f"trainer.{name}" for name in sorted(shortened))
    return saved


def resumable(file: Path, shard: Shard) -> dict[str, Any] | None:
    """An interrupted run's checkpoint, if there is one. Raises RunError for another run's."""
    if not file.is_file():
        return None
    checkpoint = callbacks.read_checkpoint(file)
    if checkpoint is None or checkpoint.get("run") != shard.fingerprint:
        problem = "damaged, or not a checkpoint of this run"
        raise RunError(f"{file}: {problem}; start anew with force=true")
    return checkpoint


def given_checkpoint(config: Config) -> dict[str, Any]:
    """What ``ckpt_path`` names. Raises ConfigError if it is no checkpoint of such a model."""
    given = f"ckpt_path={config.ckpt_path}"
    checkpoint: Any = callbacks.read_checkpoint(Path(config.ckpt_path or ""))
    try:
        if not {"state_dict", "losses"} <= checkpoint.keys():
            raise KeyError
        saved = checkpoint["hyper_parameters"]
        settings = {k: saved[k] for k in ("units", "activation", "dtype")}
        settings |= {"replicas": len(saved["seeds"]), "optimizer": saved["optimizer"]["name"]}
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(f"{given}: no checkpoint of a run, or damaged") from None
    wanted: dict[str, Any] = {"units": list(config.units), "activation": config.model.activation}
    wanted |= {"dtype": dtype(config), "replicas": len(config.replica_seeds)}
    wanted |= {"optimizer": config.optimizer.name}
    for name, value in wanted.items():
        if settings[name] != value and (config.train or name != "optimizer"):
            raise ConfigError(f"{given}: its {name} is {settings[name]}, the config's {value}")
    return checkpoint


def restore(
    checkpoint: dict[str, Any],
    module: Regression,
    *watching: callbacks.Snapshots | callbacks.Checkpoints,
) -> None:
    """The weights, losses and callbacks' states of a checkpoint, without a Trainer."""
    module.load_state_dict(checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)
    for callback in watching:
        callback.load_state_dict(checkpoint["callbacks"][callback.state_key])


def trainer_of(
    shard: Shard, own: Sequence[pl.Callback] = (), last: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """The Trainer of these replicas: with our own callbacks, then the config's, then the last.

    The error on fresh rows is computed by the Trainer (after every chunk, for callbacks that watch
    it) only where callbacks or its arguments ask for it. Loggers are for single runs.
    """
    config, folder, arguments = shard.config, shard.folder, shard.config.trainer.arguments
    configured = objects("callbacks", config.callbacks, pl.Callback, folder)
    loggers = objects("logger", config.logger, Logger, folder) if shard.single else []
    defaults: dict[str, Any] = {
        "max_steps": config.trainer.max_steps,
        "accelerator": config.trainer.accelerator,
        "precision": config.trainer.precision,
        "callbacks": [*own, *configured, *last],
        "logger": loggers or False,
        "plugins": [callbacks.AtomicCheckpointIO()],
        "default_root_dir": folder,
        "log_every_n_steps": 1,  # chunks come seldom enough
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1.0 if configured or VALIDATING & arguments.keys() else 0,
        "val_check_interval": 1,
        "check_val_every_n_epoch": None,  # an interval of 1 alone would be one of 1.0 epochs
        "enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in configured),
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    with as_config_error("trainer"):
        trainer = pl.Trainer(**defaults | arguments)
    if trainer.world_size > 1:
        raise ConfigError(
            f"trainer.devices={arguments.get('devices')}: a Trainer takes one device here; "
            "ensemble.processes spreads replicas over processes, hydra/launcher over machines"
        )
    return trainer


def try_trainer(config: Config) -> None:
    """Raises ConfigError if the Trainer of this config can't be made. Nothing is written."""
    with quiet_lightning():
        trainer_of(Shard(config, config.replica_seeds[:1], Path(config.output_dir)))


def objects(group: str, nodes: Objects, kind: type, folder: Path) -> list[Any]:
    """The callbacks or loggers of a group of the config. Loggers write into the run's folder unless
    it says otherwise. Raises ConfigError in one line if one is no such class, or can't be made."""
    from hydra.utils import get_class, instantiate  # late: most configs name none

    instances = []
    for name, node in nodes.items():
        if node is None:
            continue
        with as_config_error(f"{group}.{name}"):
            cls = get_class(node["_target_"])  # begins as the config's check allows
            if not issubclass(cls, kind):
                raise ConfigError(f"{group}.{name}._target_={node['_target_']}: no {kind.__name__}")
            place = _place(cls, folder) if kind is Logger else {}
            instances.append(instantiate({**place, **node}, _convert_="all", _recursive_=False))
    return instances


def _place(logger: type, folder: Path) -> dict[str, Any]:
    """Arguments that let a logger write directly into the run's folder: TensorBoard then shows the
    run under the experiment's name."""
    parameters = inspect.signature(logger.__init__).parameters  # type: ignore[misc]
    if issubclass(logger, TensorBoardLogger) or "flush_logs_every_n_steps" in parameters:
        return {"save_dir": str(folder), "name": "", "version": ""}
    return {"save_dir": str(folder)} if "save_dir" in parameters else {}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Quiet where all is as it should be; what Lightning refuses becomes a ConfigError."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # tips, and absent devices
    with warnings.catch_warnings():
        for message in (
            ".*LeafSpec.*",  # Lightning 2.6 asks after a class that torch 2.13 has deprecated
            ".*Experiment logs directory.*exists",  # the run's folder, or a run going on
            ".*smaller than the logging interval.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        except MisconfigurationException as error:
            raise ConfigError(f"trainer: {one_line(error)}") from error
        except RuntimeError as error:
            if not str(error).startswith("Early stopping conditioned on metric"):
                raise
            raise ConfigError(f"callbacks: {one_line(error)}") from error
