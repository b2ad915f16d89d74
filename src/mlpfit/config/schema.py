"""The Config of a run. Every key with its type and range is a field of one of these dataclasses;
defaults are in ``conf/`` only."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from mlpfit.config.catalogue import load_targets
from mlpfit.config.checking import Section, validate
from mlpfit.config.combinations import problems
from mlpfit.data import order, streams
from mlpfit.data.targets import TARGETS, Target
from mlpfit.errors import ConfigError, UnknownKey, allowed, as_config_error
from mlpfit.model import layout

# Arguments of Lightning's Trainer that a config may set: those that change the numbers, and others.
NUMERICAL_ARGUMENTS = frozenset(
    ["fast_dev_run", "limit_train_batches", "overfit_batches", "max_time", "deterministic"]
)
_OTHER_ARGUMENTS = """
    strategy devices num_nodes sync_batchnorm use_distributed_sampler barebones profiler benchmark
    max_epochs min_epochs min_steps inference_mode detect_anomaly enable_autolog_hparams
    limit_val_batches limit_test_batches limit_predict_batches reload_dataloaders_every_n_epochs
    val_check_interval check_val_every_n_epoch num_sanity_val_steps log_every_n_steps
    enable_progress_bar enable_model_summary enable_checkpointing
"""
TRAINER_ARGUMENTS = NUMERICAL_ARGUMENTS.union(_OTHER_ARGUMENTS.split())

Count = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Objects = dict[str, dict[str, Any] | None]  # name -> {_target_: ..., ...}; null: not used


@dataclass(frozen=True)
class Data(Section):
    batch_size: Count | None  # null: all rows
    order: order.Kind
    start_below: Count | None
    macro_batch: Count | None


@dataclass(frozen=True)
class Model(Section):
    hidden: int | str  # "8", "64-64-64", or "none" for a linear unit
    activation: Literal["relu", "tanh", "identity"]
    init: Literal["torch", "normal", "ones"]
    gradient: Literal["autograd", "by_hand"]

    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers: "64-32" -> (64, 32), "none" -> (). Raises ConfigError."""
        if self.hidden == "none":
            return ()
        parts = str(self.hidden).split("-")
        if not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
            widths = "allowed are widths such as 8 or 64-64-64, or none"
            raise ConfigError(f"model.hidden={self.hidden}: {widths}")
        return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class SGD(Section):
    name: Literal["sgd"]
    lr: Positive
    momentum: Share


@dataclass(frozen=True)
class Adam(Section):
    name: Literal["adam"]
    lr: Positive
    beta1: Share
    beta2: Share
    eps: Positive


@dataclass(frozen=True)
class LeastSquares(Section):
    name: Literal["least_squares"]  # the closed form instead of steps


@dataclass(frozen=True)
class Trainer(Section):
    max_steps: Annotated[int, Field(ge=0, le=10**8)]  # all losses are in memory
    accelerator: str
    precision: Literal["32-true", "64-true"]
    chunk_steps: Count  # optimiser steps in one training_step
    compile: bool | Literal["auto"]  # auto: if it saves time (model/layout.py)
    arguments: dict[str, Any]  # TRAINER_ARGUMENTS that are set; in YAML keys of trainer


@dataclass(frozen=True)
class Recording(Section):
    scalars: Annotated[int, Field(ge=2, le=10**6)]  # at most, of each kind in one run
    snapshots: Annotated[int, Field(ge=2, le=10**4)]  # of the weights
    checkpoint_every: Count  # steps


@dataclass(frozen=True)
class Ensemble(Section):
    replicas: Count  # of `mlpfit ensembles`, unless overridden
    shard: Count | None  # replicas of one Trainer and one folder; null: 256
    processes: Annotated[int, Field(ge=1, le=1000)] | None  # null: one per core
    history_points: Count  # losses kept per replica, roughly
    only: tuple[Annotated[int, Field(ge=0)], ...] | None  # train these shards; null: all


def _target(plain: Any) -> Target:
    name = plain.get("name") if isinstance(plain, Mapping) else plain
    if not isinstance(name, str) or name not in TARGETS or not isinstance(plain, Mapping):
        raise ConfigError(f"target.name={name}: {allowed(name, TARGETS)}")
    if "__annotations__" in vars(kind := TARGETS[name]) and kind.__init__ is Target.__init__:
        raise ConfigError(
            f"target {name}: write @dataclass(frozen=True, kw_only=True) above its class"
        )
    fields = {key: value for key, value in plain.items() if key != "name"}
    return validate(kind, fields, "target.")


@dataclass(frozen=True)
class Config(Section):
    """The validated config of a run. Its fields are explained in ``conf/config.yaml``."""

    name: str
    question: str
    seed: Seed
    replicas: Annotated[int, Field(ge=1, le=10**6)]
    seeds: tuple[Seed, ...] | None
    streams: streams.Kind
    loss: Literal["mse", "sse", "half_mse"]
    target: Annotated[Target, PlainValidator(_target)]
    data: Data
    model: Model
    optimizer: Annotated[SGD | Adam | LeastSquares, Field(discriminator="name")]
    trainer: Trainer
    callbacks: Objects
    logger: Objects
    recording: Recording
    ensemble: Ensemble
    ckpt_path: str | None
    train: bool
    metric: Literal["mse", "sse", "truth_mse", "val_mse"]
    output_dir: str
    force: bool

    @property
    def units(self) -> tuple[int, ...]:
        """Widths of all layers: (inputs, hidden ..., 1)."""
        return (self.target.dim, *self.model.widths(), 1)

    @property
    def rows(self) -> int:
        """Training rows of each replica."""
        return self.target.points if self.target.observed is None else self.target.observed

    @property
    def replica_seeds(self) -> tuple[int, ...]:
        return tuple(streams.replica_seeds(self.seed, self.replicas, self.seeds))

    @property
    def shard_seeds(self) -> list[tuple[int, ...]]:
        """The seeds of every shard of an ensemble, in order."""
        seeds = self.replica_seeds
        size = self.ensemble.shard or layout.SHARD_REPLICAS
        return [seeds[i : i + size] for i in range(0, len(seeds), size)]

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of :func:`mlpfit.data.datamodule.draw` except the seed."""
        from mlpfit.model import mlp  # here, since it imports torch

        return {
            "target": self.target,
            "streams": self.streams,
            "weights": partial(mlp.initial_parameters, self.units, self.model.init),
            "steps": self.trainer.max_steps,
            **vars(self.data),
        }

    @property
    def uncompiled_seconds(self) -> float:
        """Predicted duration with uncompiled steps."""
        steps, rows = self.trainer.max_steps, self.data.batch_size or self.rows
        return layout.uncompiled_seconds(steps, len(self.replica_seeds), rows, self.units[1:])

    @property
    def worth_compiling(self) -> bool:
        """Whether to compile the steps: ``trainer.compile``, for auto whether it saves time."""
        if self.trainer.compile != "auto":
            return self.trainer.compile
        return self.uncompiled_seconds >= layout.COMPILED_SECONDS and not self.uses_all_cores

    @property
    def operations(self) -> int:
        """Floating-point operations of one step of one replica."""
        return layout.operations(self.data.batch_size or self.rows, self.units)

    @property
    def uses_all_cores(self) -> bool:
        """Whether steps use all cores, as for one large net; else each process uses one core."""
        return len(self.replica_seeds) == 1 and self.operations >= layout.ALL_CORES_OPERATIONS

    @property
    def folder(self) -> Path:
        """Default folder of the run: under runs/ for one replica, else under ensembles/."""
        kind = "runs" if len(self.replica_seeds) == 1 else "ensembles"
        return Path(self.output_dir) / kind / self.name

    def plain(self) -> dict[str, Any]:
        """The config as in YAML: nested dicts, lists, numbers and strings."""
        plain = dataclasses.asdict(self)
        plain["target"] = {"name": self.target.name, **plain["target"]}
        plain["trainer"] |= plain["trainer"].pop("arguments")
        return json.loads(json.dumps(plain))

    def recipe(self) -> dict[str, Any]:
        """The part of the config that decides the results."""
        incidental = ("question", "output_dir", "force", "metric", "train")
        recipe = {key: value for key, value in self.plain().items() if key not in incidental}
        for name in ("replicas", "processes", "only"):
            recipe["ensemble"].pop(name)
        for name in TRAINER_ARGUMENTS - NUMERICAL_ARGUMENTS:
            recipe["trainer"].pop(name, None)
        return recipe

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain values, so that a new process imports the user's targets."""
        return parse, (self.plain(),)


def parse(plain: Mapping[str, Any]) -> Config:
    """Validate plain values as a Config. Raises ConfigError with the key and what is allowed."""
    load_targets()
    plain = dict(plain)
    if isinstance(trainer := plain.get("trainer"), Mapping):
        fields = {key: value for key, value in trainer.items() if key not in TRAINER_ARGUMENTS}
        keys = [field.name for field in dataclasses.fields(Trainer) if field.name != "arguments"]
        if unknown := [key for key in fields if key not in keys]:
            names = [f"trainer.{key}" for key in [*keys, *sorted(TRAINER_ARGUMENTS)]]
            raise UnknownKey(f"trainer.{unknown[0]}", names)
        arguments = {k: v for k, v in trainer.items() if k in TRAINER_ARGUMENTS and v is not None}
        plain["trainer"] = fields | {"arguments": arguments}
    config: Config = validate(Config, plain)
    with as_config_error(f"target {config.target.name}"):
        if problem := next(problems(config), ""):
            raise ConfigError(problem)
    return config
