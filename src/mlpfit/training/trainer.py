"""Lightning's Trainer of a shard: its arguments, callbacks and loggers, and the checkpoint that it
resumes from."""

import inspect
import logging
import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from mlpfit.config.combinations import VALIDATING
from mlpfit.config.schema import Config, Objects
from mlpfit.data.datamodule import ReplicaData
from mlpfit.errors import ConfigError, RunError, as_config_error, one_line
from mlpfit.model.regression import Regression
from mlpfit.runs.identity import fingerprint
from mlpfit.training import callbacks, engine
from mlpfit.training.evaluation import Evaluation
from mlpfit.training.progress import OnStep, console
from mlpfit.training.shard import Shard

LAST = "last.ckpt"
RANKS = {"RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK"}
# Arguments of the Trainer that stop all shards at the same step.
SHORTENING = {"fast_dev_run", "limit_train_batches", "overfit_batches"}


def dtype(config: Config) -> str:
    """Name of the torch dtype of parameters and rows."""
    return "float64" if config.trainer.precision == "64-true" else "float32"


def run_trainer(
    shard: Shard,
    data: ReplicaData,
    module: Regression,
    snapshots: callbacks.Snapshots,
    history: callbacks.History,
    evaluate: Evaluation,
    on_step: OnStep,
) -> callbacks.Checkpoints:
    """Train the shard, from its last checkpoint if there is one. Returns the callback of
    checkpoints, which has the reason for the end. Raises RunError if it ends unlike other
    shards."""
    config, folder, schedule = shard.config, shard.folder / "checkpoints", shard.schedule
    run, single, last = fingerprint(shard.whole, shard.seeds), shard.whole.single, folder / LAST
    checkpoints = callbacks.Checkpoints(folder, run, schedule.checkpoints, single, evaluate)
    source, start = last, last_checkpoint(last, run)
    if start is not None and start["ended"]:
        restore(start, module, snapshots, history, checkpoints)
        return checkpoints
    if start is None and config.ckpt_path is not None:
        source, start = Path(config.ckpt_path), checkpoint_of_config(config)
    compiled = isinstance(module, engine.CompiledRegression)
    monitor = callbacks.Monitor(on_step, single, history)
    first: list[pl.Callback] = [history, snapshots, monitor]
    if source != last:
        first.append(callbacks.ConfiguredOptions())
    if single:
        command = f"`mlpfit experiment={config.name} seed={shard.seeds[0]}`"
        texts = {"question": config.question, "command": command}
        first.append(callbacks.Scalars(texts, schedule.scalars, snapshots, history))
    batches = engine.Chunks(data, schedule.chunk_ends) if compiled else data
    with quiet_lightning(), alone():
        trainer = make_trainer(shard, first, [checkpoints], compiled)
        with naming_callbacks(trainer, {*first, checkpoints}):
            try:
                trainer.fit(module, batches, ckpt_path=source if start else None, weights_only=True)
            finally:
                end_writing(trainer.loggers)
    if profile := config.trainer.arguments.get("profiler"):
        console.print(f"{profile} profile of {config.name}", trainer.profiler.summary())  # type: ignore[attr-defined]
    if checkpoints.end_reason is None:  # it did not begin
        checkpoints.end_reason = callbacks.end_reason(trainer)
    if history.step < config.steps:
        shortened = sorted(SHORTENING & config.trainer.arguments.keys())
        if not shard.has_all_replicas and not shortened:
            raise RunError(
                f"{config.name}: ended at step {trainer.global_step} ({checkpoints.end_reason}); "
                "shards of an ensemble must take equally many: set ensemble.shard to the number of "
                "replicas"
            )
        if shortened:
            checkpoints.end_reason = ", ".join(f"trainer.{name}" for name in shortened)
    return checkpoints


def end_writing(loggers: Sequence[Logger]) -> None:
    """End what a logger would write later, when the run's folder has its final name: W&B's process
    goes on after the training, and the next run of this process would be added to its run."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish()


def last_checkpoint(file: Path, run: str) -> dict[str, Any] | None:
    """The last checkpoint of an interrupted shard of this fingerprint, or None. Raises RunError if
    it can't be used."""
    if not file.is_file():
        return None
    checkpoint = callbacks.read_checkpoint(file)
    if checkpoint is None or checkpoint.get("run") != run:
        problem = "damaged, or not a checkpoint of this run"
        raise RunError(f"{file}: {problem}; start anew with force=true")
    return checkpoint


def checkpoint_of_config(config: Config) -> dict[str, Any]:
    """The checkpoint of ``ckpt_path``. Raises ConfigError if it does not fit the config's model."""
    given = f"ckpt_path={config.ckpt_path}"
    checkpoint: Any = callbacks.read_checkpoint(Path(config.ckpt_path or ""))
    try:
        if not {"state_dict", "callbacks"} <= checkpoint.keys():
            raise KeyError
        saved = checkpoint["hyper_parameters"]
        settings = {  # name -> the checkpoint's, the config's
            "units": (saved["units"], list(config.units)),
            "activation": (saved["activation"], config.model.activation),
            "output": (saved.get("output", "identity"), config.model.output),
            "dtype": (saved["dtype"], dtype(config)),
            "replicas": (len(saved["seeds"]), len(config.replica_seeds)),
            "optimizer": (saved["optimizer"]["name"], config.optimizer.name),
            "net": (saved.get("net"), config.model.net),
        }
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(f"{given}: not a checkpoint of a run, or damaged") from None
    for name, (actual, expected) in settings.items():
        if actual != expected and (config.train or name != "optimizer"):
            raise ConfigError(f"{given}: the checkpoint has {name}={actual}, the config {expected}")
    if config.train and (done := checkpoint.get("global_step", 0)) >= config.steps:
        raise ConfigError(
            f"{given}: is of step {done}, so {config.steps} steps leave none to train; give "
            "trainer.max_steps more, or train=false, which evaluates it"
        )
    return checkpoint


def restore(
    checkpoint: dict[str, Any],
    module: Regression,
    *stateful: callbacks.Snapshots | callbacks.History | callbacks.Checkpoints,
) -> None:
    """Load weights and callbacks' states from a checkpoint, without a Trainer. Raises ConfigError
    if it has none of these callbacks, as one from elsewhere."""
    module.load_state_dict(checkpoint["state_dict"])
    for callback in stateful:
        if callback.state_key not in checkpoint["callbacks"]:
            raise ConfigError(
                "ckpt_path: this checkpoint has no losses of its steps, so it is none of a run; "
                "name one of a run folder, checkpoints/last.ckpt"
            )
        callback.load_state_dict(checkpoint["callbacks"][callback.state_key])


def make_trainer(
    shard: Shard,
    first: Sequence[pl.Callback] = (),
    last: Sequence[pl.Callback] = (),
    compiled: bool = True,
) -> pl.Trainer:
    """The Trainer of a shard, with the first callbacks, then the config's, then the last ones.

    It validates, after every chunk_steps, only if the config has callbacks or validation arguments.
    Only single runs have loggers. compiled: by the engine, a batch being a chunk of steps. Raises
    ConfigError for arguments that Lightning refuses.
    """
    config, folder, arguments = shard.config, shard.folder, shard.config.trainer.arguments
    if given := [name for name in os.environ if name.startswith("PL_TRAINER_")]:
        key = given[0].removeprefix("PL_TRAINER_").lower()
        raise ConfigError(
            f"{given[0]}={os.environ[given[0]]} is in the environment, where a run does not record "
            f"it: unset it, and set trainer.{key}"
        )
    configured = instances_of("callbacks", config.callbacks, pl.Callback, folder)
    loggers = instances_of("logger", config.logger, Logger, folder) if shard.whole.single else []
    if not loggers and any(isinstance(c, LearningRateMonitor) for c in configured):
        raise ConfigError(
            "callbacks: LearningRateMonitor needs a logger, which only a run of one replica has; "
            "leave it out, or train one replica with a logger"
        )
    for found in (c for c in configured if isinstance(c, LearningRateFinder | BatchSizeFinder)):
        raise ConfigError(
            f"callbacks: {type(found).__name__} would change what the config says: leave it out; a "
            "sweep compares several values (mlpfit -m)"
        )
    validated = config.has_validation and (configured or {*VALIDATING} & arguments.keys())
    defaults: dict[str, Any] = {
        "max_steps": config.steps,
        "max_epochs": -1 if compiled else config.trainer.max_epochs or -1,
        "accelerator": config.trainer.accelerator,
        "precision": config.trainer.precision,
        "callbacks": [*first, *configured, *last],
        "logger": loggers or False,
        "plugins": [callbacks.AtomicCheckpointIO()],
        "default_root_dir": folder,
        "log_every_n_steps": 1 if compiled else config.trainer.chunk_steps,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1.0 if validated else 0,
        "val_check_interval": 1 if compiled else config.trainer.chunk_steps,
        "check_val_every_n_epoch": None,  # else an interval of 1 would mean one epoch
        "enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in configured),
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if "check_val_every_n_epoch" in arguments:
        del defaults["val_check_interval"]
    with as_config_error("trainer"):
        trainer = pl.Trainer(**defaults | arguments)
    if trainer.world_size > 1:
        key = "num_nodes" if arguments.get("num_nodes", 1) != 1 else "devices"
        raise ConfigError(
            f"trainer.{key}={arguments.get(key)}: a run takes one device; replicas are "
            "spread over processes by ensemble.processes, over machines by hydra/launcher"
        )
    return trainer


def fit_without_files(
    config: Config, module: Regression, data: ReplicaData, *watching: pl.Callback
) -> None:
    """Train by Lightning's loop with only these callbacks, writing nothing."""
    with quiet_lightning(), alone():
        trainer = pl.Trainer(
            max_steps=config.steps,
            accelerator=config.trainer.accelerator,
            precision=config.trainer.precision,  # type: ignore[arg-type]
            devices=1,
            callbacks=list(watching),
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data)


def try_trainer(config: Config) -> None:
    """Raises ConfigError if the Trainer of this config can't be made. Nothing is written."""
    with quiet_lightning(), alone():
        compiled = engine.outside(config) is None
        make_trainer(
            Shard(config, config.replica_seeds, Path(config.output_dir)), compiled=compiled
        )


def instances_of(group: str, nodes: Objects, kind: type, folder: Path) -> list[Any]:
    """Instantiate the callbacks or loggers of a config, each of the class kind. Loggers write into
    the folder unless configured otherwise. Raises ConfigError for another class or a failure."""
    from hydra.utils import get_class, instantiate  # here, since most configs have none

    instances = []
    for name, node in nodes.items():
        if node is None:
            continue
        with as_config_error(f"{group}.{name}"):
            cls = get_class(node["_target_"])
            if not issubclass(cls, kind):
                raise ConfigError(f"{group}.{name}._target_={node['_target_']}: no {kind.__name__}")
            within = kind is Logger and "save_dir" not in node  # else in folders of Lightning's own
            arguments = (_logger_folder(cls, folder) if within else {}) | node
            instances.append(instantiate(arguments, _convert_="all", _recursive_=False))
    return instances


def _logger_folder(logger: type, folder: Path) -> dict[str, Any]:
    """Arguments with which a logger writes directly into the run's folder, so that TensorBoard
    shows the experiment's name."""
    parameters = inspect.signature(logger.__init__).parameters  # type: ignore[misc]
    if issubclass(logger, TensorBoardLogger) or "flush_logs_every_n_steps" in parameters:
        return {"save_dir": str(folder), "name": "", "version": ""}
    return {"save_dir": str(folder)} if "save_dir" in parameters else {}


@contextmanager
def alone() -> Iterator[None]:
    """A run is one process: what torchrun or SLURM say of others in the environment is hidden from
    Lightning, which would take part of the work for theirs."""
    names = [n for n in os.environ if n in RANKS or n.startswith(("SLURM_", "TORCHELASTIC_"))]
    hidden = {name: os.environ.pop(name) for name in names}
    rank = getattr(rank_zero_only, "rank", 0)
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    try:
        yield
    finally:
        os.environ |= hidden
        rank_zero_only.rank = rank  # type: ignore[attr-defined]


@contextmanager
def naming_callbacks(trainer: pl.Trainer, ours: set[pl.Callback]) -> Iterator[None]:
    """Turn an error out of a callback of the config into RunError with its class. (With
    HYDRA_FULL_ERROR=1 the command prints its traceback, too.)"""
    try:
        yield
    except (ConfigError, RunError, MisconfigurationException, OSError, MemoryError):
        raise
    except Exception as error:
        given = [c for c in trainer.callbacks if c not in ours]  # type: ignore[attr-defined]
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        owners = (frame.f_locals.get("self") for frame in reversed(frames))
        culprit = next((owner for owner in owners if any(owner is c for c in given)), None)
        if culprit is None:
            raise
        if str(error).startswith("Early stopping conditioned on metric"):
            raise ConfigError(f"callbacks: {one_line(error)}") from error
        raise RunError(f"callbacks: {type(culprit).__name__}: {one_line(error)}") from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress needless messages of Lightning; turn its errors of configuration into
    ConfigError."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # no tips, no list of devices
    with warnings.catch_warnings():
        for message in (
            ".*LeafSpec.*",  # Lightning 2.6 uses a class deprecated in torch 2.13
            ".*Experiment logs directory.*exists",  # the run's folder, or a resumed run
            ".*smaller than the logging interval.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        except MisconfigurationException as error:
            raise ConfigError(f"trainer: {one_line(error)}") from error
