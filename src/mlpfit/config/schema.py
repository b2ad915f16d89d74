"""From plain data to a checked, frozen Config.

Every key, its type and its range is a field of one of the dataclasses below, checked by pydantic;
defaults live in ``conf/`` only.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from mlpfit.config.catalogue import load_targets, tutorials
from mlpfit.data import order, streams
from mlpfit.data.targets import TARGETS, Target
from mlpfit.errors import ConfigError, users_code
from mlpfit.model import layout

# Further arguments of lightning's Trainer that may be given; those in DECIDING change the numbers.
DECIDING = {"fast_dev_run", "limit_train_batches", "overfit_batches", "max_time", "deterministic"}
LIGHTNING = DECIDING | {
    *("strategy", "devices", "num_nodes", "max_epochs", "min_epochs", "min_steps", "benchmark"),
    *("limit_val_batches", "limit_test_batches", "limit_predict_batches", "inference_mode"),
    *("val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "sync_batchnorm"),
    *("log_every_n_steps", "enable_checkpointing", "enable_progress_bar", "detect_anomaly"),
    *("enable_model_summary", "use_distributed_sampler", "profiler", "barebones"),
    *("reload_dataloaders_every_n_epochs", "enable_autolog_hparams"),
}
INSTANTIATED = ("lightning.pytorch.", "mlpfit.training.")  # what callbacks and loggers may be
UNKNOWN_KEY = "unexpected_keyword_argument"  # pydantic's name for it
SHOULD = "Input should be "

Count = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Objects = dict[str, dict[str, Any] | None]  # name -> {_target_: ..., arguments}; null: not used


class Section:
    """What pydantic is told of every dataclass here: no other keys, no conversions."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


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
        """Widths of the hidden layers, from the first: "64-32" -> (64, 32), "none" -> ()."""
        if self.hidden == "none":
            return ()
        parts = str(self.hidden).split("-")
        if not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
            raise ConfigError(
                f"model.hidden={self.hidden}: allowed are widths such as 8 or 64-64-64, or none"
            )
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
    """The closed form, in place of steps."""

    name: Literal["least_squares"]


@dataclass(frozen=True)
class Trainer(Section):
    max_steps: Annotated[int, Field(ge=0, le=10**8)]  # the loss of every step is held
    accelerator: str
    precision: Literal["32-true", "64-true"]
    chunk_steps: Count  # optimiser steps in one training_step
    compile: bool | Literal["auto"]  # auto: when it pays (model/layout.py)
    arguments: dict[str, Any]  # further ones of lightning's Trainer; in YAML beside the others


@dataclass(frozen=True)
class Recording(Section):
    scalars: Annotated[int, Field(ge=2, le=10**6)]  # of each kind along one run at most
    snapshots: Annotated[int, Field(ge=2, le=10**4)]  # of the weights
    checkpoint_every: Count  # steps


@dataclass(frozen=True)
class Ensemble(Section):
    replicas: Count  # of `mlpfit ensembles`, unless it is given some
    shard: Count | None  # replicas of one Trainer and one folder; null: 256 or a little less
    processes: Annotated[int, Field(ge=1, le=1000)] | None  # null: one per core
    history_points: Count  # losses kept per replica, about
    only: tuple[Annotated[int, Field(ge=0)], ...] | None  # train these shards; null: all


def _target(plain: Any) -> Target:
    name = plain.get("name") if isinstance(plain, Mapping) else plain
    if not isinstance(name, str) or name not in TARGETS or not isinstance(plain, Mapping):
        raise ConfigError(f"target.name={name}: allowed are {', '.join(TARGETS)}")
    fields = {key: value for key, value in plain.items() if key != "name"}
    return checked(_adapter(TARGETS[name]), fields, "target.")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Config(Section):
    """A run, checked. Its fields are the keys of ``conf/config.yaml``, explained there."""

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
        return (self.target.dim, *self.model.widths(), 1)

    @property
    def rows(self) -> int:
        """Rows each replica trains on."""
        return self.target.points if self.target.observed is None else self.target.observed

    @property
    def replica_seeds(self) -> tuple[int, ...]:
        """The seed of every replica, in order."""
        return tuple(streams.named_seeds(self.seed, self.replicas, self.seeds))

    @property
    def shard_seeds(self) -> list[tuple[int, ...]]:
        """The seeds of every shard of an ensemble, in order."""
        seeds = self.replica_seeds
        size = layout.shard_size(len(seeds), self.ensemble.shard or layout.SHARD)
        return [seeds[i : i + size] for i in range(0, len(seeds), size)]

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of :func:`mlpfit.data.datamodule.draw`, all but the seed: what decides the rows
        of a replica and their order."""
        from mlpfit.model import mlp  # late: it imports torch, and a config is read without

        return {
            "target": self.target,
            "steps": self.trainer.max_steps,
            **vars(self.data),
            "streams": self.streams,
            "weight_draws": mlp.normals_drawn(self.units, self.model.init),
        }

    @property
    def worth_compiling(self) -> bool:
        """Whether its steps are to be compiled: as the config says, or (auto) when it pays."""
        if self.trainer.compile == "auto":
            return layout.compiling_pays(self.plain_seconds)
        return self.trainer.compile

    @property
    def plain_seconds(self) -> float:
        """Predicted for uncompiled steps: see :func:`mlpfit.model.layout.plain_seconds`."""
        rows, replicas = self.data.batch_size or self.rows, len(self.replica_seeds)
        return layout.plain_seconds(self.trainer.max_steps, replicas, rows, self.units[1:])

    @property
    def folder(self) -> Path:
        """Where the run goes by default: one replica under runs/, several under ensembles/."""
        kind = "runs" if len(self.replica_seeds) == 1 else "ensembles"
        return Path(self.output_dir) / kind / self.name

    def plain(self) -> dict[str, Any]:
        """The config as YAML would hold it."""
        plain = dataclasses.asdict(self)
        plain["target"] = {"name": self.target.name, **plain["target"]}
        plain["trainer"] |= plain["trainer"].pop("arguments")
        return json.loads(json.dumps(plain))

    def recipe(self) -> dict[str, Any]:
        """What decides the results: the config without words, places and requests."""
        requests = ("question", "output_dir", "force", "metric", "train")
        recipe = {key: value for key, value in self.plain().items() if key not in requests}
        for name in ("replicas", "processes", "only"):
            recipe["ensemble"].pop(name)
        for name in LIGHTNING - DECIDING:
            recipe["trainer"].pop(name, None)
        return recipe

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """As YAML would hold it: the process that unpickles it then finds the user's targets."""
        return parse, (self.plain(),)


def parse(plain: Mapping[str, Any]) -> Config:
    """Check every key, type, range and combination of a config.

    Raises ConfigError in one line that names the key and what is allowed.
    """
    load_targets()
    plain = dict(plain)
    if isinstance(trainer := plain.get("trainer"), Mapping):
        given = {key: value for key, value in trainer.items() if key in LIGHTNING}
        arguments = {key: value for key, value in given.items() if value is not None}
        own = {key: value for key, value in trainer.items() if key not in LIGHTNING}
        plain["trainer"] = own | {"arguments": arguments}
    config: Config = checked(_adapter(Config), plain)
    with users_code(f"target {config.target.name}"):
        for problem in _problems(config):
            raise ConfigError(problem)
    return config


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    with users_code(f"{kind.__name__}: a key's type can't be checked"):
        return TypeAdapter(kind)


def checked(adapter: TypeAdapter[Any], plain: Mapping[str, Any], prefix: str = "") -> Any:
    """Plain data as the adapter's type. Raises ConfigError in one line that names the key."""
    try:
        return adapter.validate_json(json.dumps(plain))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    first = next(
        (e for e in errors if e["type"] == UNKNOWN_KEY), errors[0]
    )  # explains a missing one
    if isinstance(cause := first.get("ctx", {}).get("error"), ConfigError):
        raise cause
    raise ConfigError(_sentence(first, errors, plain, prefix))


def _sentence(first: Any, errors: Sequence[Any], plain: Any, prefix: str) -> str:
    """pydantic's error as "key=value: must be ..."; of its location, only what are keys."""
    at, keys, above = plain, [], plain
    location = []  # with the names of types and tags that pydantic puts between
    for part in first["loc"]:
        within = isinstance(at, dict) and part in at
        if not within and not (isinstance(at, list) and part in range(len(at))):
            continue
        above, at = at, at[part]
        location = first["loc"][: first["loc"].index(part) + 1]
        keys.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    key = prefix + "".join(keys).lstrip(".")
    given = f"{key}={at if isinstance(at, str) else json.dumps(at)}"
    if first["type"] == UNKNOWN_KEY:
        known = [f"{key.rpartition('.')[0]}.{name}".lstrip(".") for name in above]
        return f"{key}: no such key; allowed are {', '.join(n for n in known if n != key)}"
    if first["type"] == "union_tag_invalid":
        tag = first["ctx"]
        name = tag["discriminator"].strip("'")
        return f"{key}.{name}={tag['tag']}: allowed are {tag['expected_tags']}"
    if first["type"] == "missing":
        return (
            f"{given}: too short" if isinstance(at, list) else f"{key}.{first['loc'][-1]}: missing"
        )
    same = [e["msg"] for e in errors if e["loc"][: len(location)] == location]
    return f"{given}: must be {' or '.join(dict.fromkeys(m.removeprefix(SHOULD) for m in same))}"


def _problems(config: Config) -> Iterator[str]:
    """Values that are each allowed but don't go together."""
    if not re.fullmatch(r"\w[\w.-]{0,99}/\w[\w.-]{0,99}", config.name):
        yield f"name={config.name!r}: must be tutorial/experiment, in letters, digits, dots, dashes"
    if config.name.endswith((".old", ".partial")):
        yield f"name={config.name}: must not end in .old or .partial, which mark unfinished runs"
    if problem := config.target.problem():
        yield problem
    yield from _seed_problems(config)
    yield from _data_problems(config)
    steps = config.trainer.max_steps
    widths = config.model.widths()
    closed_form = isinstance(config.optimizer, LeastSquares)
    if closed_form and (widths or steps):
        yield "optimizer=least_squares: needs model.hidden=none and trainer.max_steps=0"
    if not closed_form and steps < 1:
        yield f"trainer.max_steps={steps}: must be at least 1"
    if not config.train and config.ckpt_path is None:
        yield "train=false: evaluates a checkpoint; name it with ckpt_path=..."
    for group in ("callbacks", "logger"):
        yield from _foreign_objects(getattr(config, group), group)


def _seed_problems(config: Config) -> Iterator[str]:
    if config.seeds is not None and not config.seeds:
        yield "seeds=[]: must name at least one seed, or be null"
        return
    if len(set(config.replica_seeds)) < len(config.replica_seeds):
        yield f"seeds={list(config.replica_seeds)}: every seed once"
    if config.replica_seeds[-1] >= 2**32:
        yield f"seed={config.seed} with replicas={config.replicas}: seeds must stay below {2**32}"
    if config.ensemble.only is not None:
        yield from _part_problems(config, config.ensemble.only)
    if config.seeds is not None and config.replicas not in (1, len(config.seeds)):
        yield f"replicas={config.replicas}: leave it out, seeds names {len(config.seeds)} replicas"


def _part_problems(config: Config, only: tuple[int, ...]) -> Iterator[str]:
    count = len(config.shard_seeds)
    given = f"ensemble.only={json.dumps(only)}"
    if len(config.replica_seeds) == 1:
        yield f"{given}: goes with replicas > 1"
    elif not only or len(set(only)) < len(only) or max(only) >= count:
        yield f"{given}: must name shards, each once, of the {count} from 0 to {count - 1}"


def _data_problems(config: Config) -> Iterator[str]:
    data, batch, rows = config.data, config.data.batch_size, config.rows
    below, macro = data.start_below, data.macro_batch
    if (batch is None) != (data.order == "full"):
        yield (
            f"data.batch_size={batch} with data.order={data.order}: a batch size goes with an "
            "order "
            "other than full"
        )
    if batch is not None and batch > rows:
        yield f"data.batch_size={batch}: must be at most the {rows} rows there are"
    if (below is None) == (data.order in ("slices", "consecutive")):
        yield (
            f"data.start_below={below}: goes with data.order=slices or consecutive, and only "
            "with them"
        )
    if below is not None and batch is not None and not batch < below <= rows:
        yield f"data.start_below={below}: must be above the batch size and at most the {rows} rows"
    if (macro is None) == (data.order == "blocks"):
        yield f"data.macro_batch={macro}: goes with data.order=blocks, and only with it"
    if config.streams == "libraries" and data.order != "full":
        yield "streams=libraries: needs data.order=full (its seeded order is not defined)"


def _foreign_objects(tree: Any, key: str) -> Iterator[str]:
    """Callbacks and loggers are Lightning's, ours, or of a tutorial's package."""
    allowed = (*INSTANTIATED, *(f"{tutorial.package}." for tutorial in tutorials()))
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == "_target_" and not str(value).startswith(allowed):
            yield f"{key}._target_={value}: must begin with {' or '.join(allowed)}"
        yield from _foreign_objects(value, f"{key}.{name}")
