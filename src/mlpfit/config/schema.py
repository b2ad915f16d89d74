"""The Config of a run. Every key with its type and range is a field of one of these dataclasses;
defaults are in ``conf/`` only."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, PlainValidator, ValidationInfo

from mlpfit.config.catalogue import folder_of, load_targets, tutorials
from mlpfit.config.checking import Section, validate
from mlpfit.config.combinations import loss_name, problems
from mlpfit.data import order, streams
from mlpfit.data import points as points
from mlpfit.data import table as table
from mlpfit.data.split import Split
from mlpfit.data.targets import TARGETS, Source, Target
from mlpfit.errors import ConfigError, UnknownKey, allowed, as_config_error
from mlpfit.model import named

# What a field decides, declared on it: the numbers of a run (every field that says nothing), only
# what is recorded of them, or neither. The recipe, a run's identity, the names of sweeps and their
# jobs and the differences between runs all follow from this.
RECORDING: dict[str, Any] = {"decides": "recording"}
NOTHING: dict[str, Any] = {"decides": "nothing"}

# Arguments of Lightning's Trainer that change no number of a run. All others, also those of a later
# Lightning, count as part of the recipe.
HARMLESS_ARGUMENTS = frozenset(
    [
        "barebones",
        "benchmark",
        "default_root_dir",
        "detect_anomaly",
        "enable_autolog_hparams",
        "enable_checkpointing",
        "enable_model_summary",
        "enable_progress_bar",
        "inference_mode",
        "limit_predict_batches",
        "limit_test_batches",
        "log_every_n_steps",
        "num_sanity_val_steps",
        "profiler",
    ]
)
# Those that a run sets itself: what they are for is done by keys of the config.
OWN_ARGUMENTS = {"callbacks": "callbacks", "logger": "logger", "plugins": "trainer.precision"}

Count = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Held = Count | Annotated[float, Field(gt=0, lt=1)]
SHARD_REPLICAS = 256  # in one shard, if ensemble.shard is null
Objects = dict[str, dict[str, Any] | None]  # name -> {_target_: ..., ...}; null: not used


@dataclass(frozen=True)
class Data(Section):
    batch_size: Count | None  # null: all rows
    order: order.Kind
    start_below: Count | None
    macro_batch: Count | None
    validation: Held | None  # rows held out: a count, or a share of the rows; null: fresh rows
    test: Held | None

    @property
    def split(self) -> Split:
        return Split(self.validation, self.test)


# Names that need no look into torch, whose import takes seconds.
COMMON_ACTIVATIONS = ("relu", "tanh", "identity")
COMMON_LOSSES = ("mse", "sse", "half_mse")


def _activation(plain: Any, key: str = "model.activation") -> Any:
    if plain in list(COMMON_ACTIVATIONS):
        return plain
    from mlpfit.model.mlp import checked_activation  # here, since it imports torch

    return checked_activation(plain, key)


def _init(plain: Any) -> Any:
    from mlpfit.model.initial import checked

    return checked(plain)


def _net(plain: Any) -> Any:
    if plain is None:
        return None
    name, arguments = named.split("model.net", plain)
    named.imported("model.net", name)
    return named.joined(name, arguments)


def _loss(plain: Any) -> Any:
    if plain in COMMON_LOSSES:
        return plain
    from mlpfit.model.losses import checked

    return checked(plain)


def _scheduler(plain: Any, info: ValidationInfo) -> Any:
    """optimizer, seeds and replicas are fields before it, if they were found right."""
    if plain is None or plain == {}:
        return None
    if "optimizer" not in info.data or "replicas" not in info.data:
        return plain  # there is another error
    from mlpfit.model.optimizers import optimizer_of
    from mlpfit.model.schedulers import checked

    optimizer = info.data["optimizer"]
    if optimizer.name == "least_squares":
        raise ConfigError("scheduler: optimizer=least_squares takes no steps; leave it out")
    plain_optimizer = dataclasses.asdict(optimizer)
    plain_optimizer |= plain_optimizer.pop("arguments", {})
    replicas = len(info.data.get("seeds") or ()) or info.data["replicas"]
    return checked(plain, optimizer_of(plain_optimizer, replicas), replicas)


@dataclass(frozen=True)
class Model(Section):
    hidden: int | str  # "8", "64-64-64", or "none" for a linear unit
    activation: Annotated[Any, PlainValidator(_activation)]
    output: Annotated[Any, PlainValidator(partial(_activation, key="model.output"))]
    init: Annotated[Any, PlainValidator(_init)]
    dropout: Share  # of the hidden units, in training
    gradient: Literal["autograd", "by_hand"]
    net: Annotated[Any, PlainValidator(_net)]  # a torch module instead of layers; null: layers

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
class OtherOptimizer(Section):
    """Any other of torch.optim, or the import path of a user's; in YAML the arguments are keys
    beside the name."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Trainer(Section):
    max_steps: Annotated[int, Field(ge=0, le=10**8)] | None  # null: those of max_epochs
    max_epochs: Annotated[int, Field(ge=0, le=10**8)] | None
    accelerator: str = field(metadata=RECORDING)
    precision: str | int
    chunk_steps: Count = field(
        metadata=RECORDING
    )  # of the engine between two of the Trainer's events
    arguments: dict[str, Any]  # others of Lightning's Trainer that are set; in YAML keys of trainer


@dataclass(frozen=True)
class Recording(Section):
    scalars: Annotated[int, Field(ge=2, le=10**6)]  # at most, of each kind in one run
    snapshots: Annotated[int, Field(ge=2, le=10**4)]  # of the weights
    weights_after: tuple[Annotated[int, Field(ge=0)], ...]  # steps; in ensembles, too
    losses_of_epochs: tuple[Count, ...]  # all steps of these; of ensembles
    checkpoint_every: Count  # steps


@dataclass(frozen=True)
class Ensemble(Section):
    replicas: Count = field(metadata=NOTHING)  # of `mlpfit ensembles`, unless overridden
    shard: Count | None  # replicas of one Trainer and one folder; null: 256
    processes: Annotated[int, Field(ge=1, le=1000)] | None = field(
        metadata=NOTHING
    )  # null: per core
    history_points: Count  # losses kept per replica, roughly
    only: tuple[Annotated[int, Field(ge=0)], ...] | None = field(metadata=NOTHING)  # null: all


def _optimizer(plain: Any) -> SGD | Adam | LeastSquares | OtherOptimizer:
    given = dict(plain) if isinstance(plain, Mapping) else {"name": plain}
    if "_target_" in given:
        given["name"] = given.pop("_target_")
    name = str(given.get("name"))
    name = name if named.is_path(name) else name.lower()
    known = {"sgd": SGD, "adam": Adam, "least_squares": LeastSquares}
    names = {field.name for field in dataclasses.fields(known[name])} if name in known else set()
    arguments = {k: v for k, v in given.items() if k in names or (v is not None and k != "name")}
    if name in known and {"name", *arguments} <= names:
        return validate(known[name], {**arguments, "name": name}, "optimizer.")
    if name == "least_squares":
        raise ConfigError(f"optimizer={name}: takes no {min(arguments.keys() - names)}")
    from mlpfit.model.optimizers import optimizer_of  # here, since it imports torch

    arguments.pop("name", None)
    optimizer_of({"name": name, **arguments}, replicas=1)
    return OtherOptimizer(name, arguments)


def target_of(plain: Any) -> Source:
    """The target of {"name": ..., and its fields}. Raises ConfigError."""
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
    question: str = field(metadata=NOTHING)
    seed: Seed
    replicas: Annotated[int, Field(ge=1, le=10**6)]
    seeds: tuple[Seed, ...] | None
    streams: streams.Kind
    loss: Annotated[Any, PlainValidator(_loss)]  # a name, or name and arguments
    target: Annotated[Source, PlainValidator(target_of)]
    data: Data
    model: Model
    optimizer: Annotated[SGD | Adam | LeastSquares | OtherOptimizer, PlainValidator(_optimizer)]
    scheduler: Annotated[Any, PlainValidator(_scheduler)]
    trainer: Trainer
    engine: bool
    callbacks: Objects
    logger: Objects = field(metadata=RECORDING)
    recording: Recording = field(metadata=RECORDING)
    ensemble: Ensemble = field(metadata=RECORDING)
    ckpt_path: str | None
    train: bool
    metric: Literal["mse", "sse", "truth_mse", "val_mse"] = field(metadata=NOTHING)
    output_dir: str = field(metadata=NOTHING)
    force: bool = field(metadata=NOTHING)

    @property
    def units(self) -> tuple[int, ...]:
        """Widths of all layers: (inputs, hidden ..., outputs). With loss=cross_entropy there is an
        output for each class, the logits; else one for each column of y."""
        outputs = self.target.outputs
        if loss_name(self.loss) == "cross_entropy":
            outputs = self.target.classes or 1
        return (self.target.dim, *self.model.widths(), outputs)

    @property
    def rows(self) -> int:
        """Training rows of each replica, those held out for validation and test apart."""
        return self.data.split.training(self.target.rows_observed)

    @property
    def has_validation(self) -> bool:
        """Whether there are rows of validation: held out, or fresh ones of a function."""
        return self.data.validation is not None or self.target.is_endless

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the last of which may be shorter than the others; 1 if every step
        has all rows. Epoch e, counted from 1, ends after e * steps_per_epoch steps. Where batches
        are accumulated it counts batches, and steps are fewer."""
        data = self.data
        if data.batch_size is None:
            return 1
        batching = (data.order, self.rows, data.batch_size, data.macro_batch)
        return len(order.Batching(*batching, data.start_below).epoch)

    @property
    def replica_seeds(self) -> tuple[int, ...]:
        return tuple(streams.replica_seeds(self.seed, self.replicas, self.seeds))

    @property
    def single(self) -> bool:
        """Whether the run has one replica."""
        return len(self.replica_seeds) == 1

    @property
    def shard_seeds(self) -> list[tuple[int, ...]]:
        """The seeds of every shard of an ensemble, in order."""
        seeds = self.replica_seeds
        size = self.ensemble.shard or SHARD_REPLICAS
        return [seeds[i : i + size] for i in range(0, len(seeds), size)]

    @property
    def steps(self) -> int:
        """Optimiser steps of the training: trainer.max_steps, or those of trainer.max_epochs if
        they are fewer."""
        limits = [self.trainer.max_steps]
        if (epochs := self.trainer.max_epochs) is not None:
            limits.append(epochs * self.steps_per_epoch)
        return min(limit for limit in limits if limit is not None)

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of :func:`mlpfit.data.datamodule.draw` except seed and steps."""
        from mlpfit.model.initial import initial_parameters

        weights = partial(initial_parameters, self.units, self.model.init)
        return {
            "target": self.target,
            "streams": self.streams,
            "weights": None if self.model.net else weights,
            **vars(self.data),
        }

    @property
    def operations(self) -> int:
        """Floating-point operations of one step of one replica: 2 forward and 4 backward for each
        weight and row."""
        rows = self.data.batch_size or self.rows
        return 6 * rows * sum(a * b for a, b in pairwise(self.units))

    @property
    def folder(self) -> Path:
        """Default folder of the run: under runs/ for one replica, else under ensembles/."""
        kind = "runs" if self.single else "ensembles"
        return Path(self.output_dir) / kind / self.name

    def plain(self) -> dict[str, Any]:
        """The config as in YAML: nested dicts, lists, numbers and strings."""
        plain = dataclasses.asdict(self)
        plain["target"] = {"name": self.target.name, **plain["target"]}
        plain["trainer"] |= plain["trainer"].pop("arguments")
        plain["optimizer"] |= plain["optimizer"].pop("arguments", {})
        return json.loads(json.dumps(plain))

    def recipe(self, *, recording: bool = True) -> dict[str, Any]:
        """The part of the config that decides the numbers of a run and, with recording, what is
        recorded of them."""
        plain, left_out = self.plain(), {"nothing"} | (set() if recording else {"recording"})
        for key in keys_deciding(*left_out):
            section, name = plain, key
            while "." in name:
                head, _, name = name.partition(".")
                section = section.get(head, {})
            section.pop(name, None)
        for name in HARMLESS_ARGUMENTS:
            plain["trainer"].pop(name, None)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain values, so that a new process imports the user's targets."""
        return parse, (self.plain(),)


@cache
def keys_deciding(*what: str) -> tuple[str, ...]:
    """Keys whose fields declare that they decide one of these: "recording", "nothing"."""
    keys = []
    for outer in dataclasses.fields(Config):
        if outer.metadata.get("decides") in what:
            keys.append(outer.name)
        elif dataclasses.is_dataclass(kind := get_type_hints(Config).get(outer.name)):
            inner = dataclasses.fields(kind)
            keys += [f"{outer.name}.{f.name}" for f in inner if f.metadata.get("decides") in what]
    return tuple(keys)


# Sections in which classes may be named by import paths, and the keys that name them.
NAMING_SECTIONS = ("loss", "model", "optimizer", "scheduler", "callbacks", "logger")
NAMING_KEYS = ("_target_", "name", "loss", "activation", "output", "init", "weight", "bias", "net")


def with_paths(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with import paths that begin with a tutorial's name, such as ramp.losses.Mine,
    written in full."""
    packages = {tutorial.name: tutorial.package for tutorial in tutorials()}

    def in_full(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {inner: in_full(inner, v) for inner, v in value.items()}
        if isinstance(value, list):
            return [in_full("", item) for item in value]
        if key in NAMING_KEYS and isinstance(value, str):
            head, dot, rest = value.partition(".")
            return f"{packages[head]}.{rest}" if dot and head in packages else value
        return value

    return {k: in_full(k, v) if k in NAMING_SECTIONS else v for k, v in plain.items()}


def import_paths(value: Any, key: str = "name") -> Iterator[str]:
    """The import paths that nested values of a section name."""
    if isinstance(value, Mapping):
        for inner, item in value.items():
            yield from import_paths(item, inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from import_paths(item, "")
    elif key in NAMING_KEYS and isinstance(value, str) and "." in value:
        yield value


def parse(plain: Mapping[str, Any]) -> Config:
    """Validate plain values as a Config. Raises ConfigError with the key and what is allowed."""
    load_targets()
    plain = with_paths(plain)
    if isinstance(trainer := plain.get("trainer"), Mapping):
        keys = [field.name for field in dataclasses.fields(Trainer) if field.name != "arguments"]
        given = {key: value for key, value in trainer.items() if key in keys}
        others = {k: v for k, v in trainer.items() if k not in keys and v is not None}
        _check_arguments(others, keys)
        plain["trainer"] = given | {"arguments": others}
    config: Config = validate(Config, plain)
    config.target.within(folder_of(config.name))
    with as_config_error(f"target {config.target.name}"):
        if problem := next(problems(config), ""):
            raise ConfigError(problem)
    return config


# Arguments that conf/trainer names, known without importing Lightning.
COMMON_ARGUMENTS = [
    "devices",
    "strategy",
    "max_time",
    "fast_dev_run",
    "overfit_batches",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "deterministic",
    "detect_anomaly",
    "profiler",
    "enable_progress_bar",
]


def _check_arguments(arguments: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raises ConfigError for what Lightning's Trainer does not take, or other keys set."""
    for name in arguments:
        if name in OWN_ARGUMENTS:
            raise ConfigError(f"trainer.{name}: is set by the key {OWN_ARGUMENTS[name]}")
    if unknown := [name for name in arguments if name not in COMMON_ARGUMENTS]:
        from lightning.pytorch import Trainer as Lightning  # here, since it takes seconds

        names = [*keys, *list(inspect.signature(Lightning.__init__).parameters)[1:]]
        if wrong := [name for name in unknown if name not in names]:
            free = [f"trainer.{name}" for name in dict.fromkeys(names) if name not in OWN_ARGUMENTS]
            raise UnknownKey(f"trainer.{wrong[0]}", free)
