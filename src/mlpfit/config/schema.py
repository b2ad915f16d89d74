"""From plain data to a checked, frozen Config.

Every key, its type and its range is a field of one of the dataclasses below; defaults live in
``conf/`` only.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from mlpfit.config.catalogue import load_targets
from mlpfit.config.ranges import Above, AtLeast, Between
from mlpfit.config.typed import build, shown
from mlpfit.data import order, streams
from mlpfit.data.targets import TARGETS, Target
from mlpfit.errors import ConfigError, users_code
from mlpfit.model import layout

MOST = 10**9  # numbers of one kind held at once: 8 GB in double precision

Count = Annotated[int, AtLeast(1, MOST)]

Seed = Annotated[int, Between(0, 2**32)]


@dataclass(frozen=True)
class Data:
    batch_size: Count | None  # null: all rows
    order: order.Kind
    start_below: Count | None
    macro_batch: Count | None


@dataclass(frozen=True)
class Model:
    hidden: int | str  # "8", "64-64-64", or "none" for a linear unit
    activation: Literal["relu", "identity"]
    init: Literal["torch", "normal", "ones"]
    gradient: Literal["autograd", "by_hand"]

    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, from the first: "64-32" -> (64, 32), "none" -> ()."""
        if self.hidden == "none":
            return ()
        parts = str(self.hidden).split("-")
        if len(parts) > 100 or not all(
            re.fullmatch("0{0,9}[1-9][0-9]{0,8}", part) for part in parts
        ):
            raise ConfigError(
                f"model.hidden={shown(self.hidden)}: allowed are widths such as 8 or 64-64-64, or none; "
                "at most 100 layers, of less than 10^9 units"
            )
        return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class SGD:
    name: Literal["sgd"]
    lr: Annotated[float, Above(0)]
    momentum: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class Adam:
    name: Literal["adam"]
    lr: Annotated[float, Above(0)]
    beta1: Annotated[float, Between(0, 1)]
    beta2: Annotated[float, Between(0, 1)]
    eps: Annotated[float, Above(0)]


@dataclass(frozen=True)
class LeastSquares:
    """The closed form, in place of steps."""

    name: Literal["least_squares"]


OPTIMIZERS: dict[str, type] = {"sgd": SGD, "adam": Adam, "least_squares": LeastSquares}


@dataclass(frozen=True)
class Trainer:
    max_steps: Annotated[
        int, AtLeast(0, 10**8)
    ]  # a working day at the fastest; the loss of every step is held
    accelerator: Literal["cpu", "gpu", "auto"]
    precision: Literal["32-true", "64-true"]
    block_steps: Count  # optimiser steps in one training_step
    compile: bool | Literal["auto"]  # auto: when it pays (compiled.py)


@dataclass(frozen=True)
class Ensemble:
    block: Count | None  # replicas trained together; null: what fits the cache (compiled.py)
    processes: (
        Annotated[int, AtLeast(1, 1000)] | None
    )  # blocks trained in parallel; null: one per core
    history_points: Count  # losses kept per replica, about


@dataclass(frozen=True)
class Logger:
    tensorboard: bool
    points: Annotated[int, AtLeast(2, 10**6)]  # scalars per run at most
    snapshots: Annotated[
        int, AtLeast(2, 10**4)
    ]  # of the weights; every fourth with pictures and histograms


@dataclass(frozen=True)
class Checkpoint:
    every_n_steps: Count


@dataclass(frozen=True)
class Config:
    name: str
    question: str
    seed: Seed
    replicas: Annotated[
        int, AtLeast(1, 10**6)
    ]  # their seeds are listed wherever the run is described
    seeds: tuple[Seed, ...] | None
    streams: streams.Kind
    loss: Literal["mse", "sse", "half_mse"]
    target: Target
    data: Data
    model: Model
    optimizer: SGD | Adam | LeastSquares
    trainer: Trainer
    logger: Logger
    checkpoint: Checkpoint
    ensemble: Ensemble
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
        """Predicted for uncompiled steps: see :func:`mlpfit.layout.plain_seconds`."""
        rows = self.data.batch_size or self.rows
        return layout.plain_seconds(
            self.trainer.max_steps, len(self.replica_seeds), rows, self.units[1:]
        )

    @property
    def run_dir(self) -> Path:
        """Where the run goes: one replica under runs/, several under ensembles/."""
        return (
            Path(self.output_dir)
            / ("runs" if len(self.replica_seeds) == 1 else "ensembles")
            / self.name
        )

    def plain(self) -> dict[str, Any]:
        """The config as YAML would hold it."""
        plain = dataclasses.asdict(self)
        plain["target"] = {"name": self.target.name, **plain["target"]}
        return json.loads(json.dumps(plain))

    def recipe(self) -> dict[str, Any]:
        """What decides the results: the config without words, places and requests."""
        recipe = {
            k: v for k, v in self.plain().items() if k not in ("question", "output_dir", "force")
        }
        recipe["ensemble"].pop("processes")
        return recipe

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """As YAML would hold it: the process that unpickles it then finds the user's targets,
        too."""
        return parse, (self.plain(),)


def parse(plain: Mapping[str, Any]) -> Config:
    """Check every key, type, range and combination. Raises ConfigError with the key and what is
    allowed."""
    load_targets()
    plain = dict(plain)
    if isinstance(plain.get("target"), Mapping):
        plain["target"] = _variant("target", TARGETS, plain["target"], drop_name=True)
    if isinstance(plain.get("optimizer"), Mapping):
        plain["optimizer"] = _variant("optimizer", OPTIMIZERS, plain["optimizer"])
    config: Config = build(Config, plain, "")
    with users_code(f"target {config.target.name}"):
        for problem in _problems(config):
            raise ConfigError(problem)
    return config


def _problems(config: Config) -> Iterator[str]:
    """Values that are each allowed but don't go together."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", config.name):
        name = shown(config.name)
        yield f"name={name}: must be tutorial/experiment, in letters, digits, dots, dashes and underscores"
    if len(os.fsencode(config.name)) > 200:
        yield f"name={shown(config.name)}: must be at most 200 bytes long"
    if config.name.endswith((".old", ".partial")):
        yield f"name={config.name}: must not end in .old or .partial, which mark the folders of unfinished runs"
    yield from _too_large(config)
    if problem := config.target.problem():
        yield problem
    if len(set(config.replica_seeds)) < len(config.replica_seeds):
        yield f"seeds={list(config.replica_seeds)}: every seed once"
    if config.replica_seeds[-1] >= 2**32:
        yield f"seed={config.seed} with replicas={config.replicas}: seeds must stay below {2**32}"
    if config.seeds is not None and config.replicas not in (1, len(config.seeds)):
        yield f"replicas={config.replicas}: leave it out when seeds names the {len(config.seeds)} replicas"
    widths = config.model.widths()
    data, batch = config.data, config.data.batch_size
    closed_form = isinstance(config.optimizer, LeastSquares)
    if closed_form and (widths or config.trainer.max_steps):
        yield "optimizer=least_squares: needs model.hidden=none and trainer.max_steps=0"
    if not closed_form and config.trainer.max_steps < 1:
        yield f"trainer.max_steps={config.trainer.max_steps}: must be at least 1"
    if (batch is None) != (data.order == "full"):
        yield f"data.batch_size={batch} with data.order={data.order}: a batch size goes with an order other than full"
    if batch is not None and batch > config.rows:
        yield f"data.batch_size={batch}: must be at most the {config.rows} rows there are"
    if (data.start_below is None) == (data.order == "slices"):
        yield f"data.start_below={data.start_below}: goes with data.order=slices, and only with it"
    if (
        data.start_below is not None
        and batch is not None
        and not batch < data.start_below <= config.rows
    ):
        yield f"data.start_below={data.start_below}: must be above the batch size and at most the {config.rows} rows"
    if (data.macro_batch is None) == (data.order == "blocks"):
        yield f"data.macro_batch={data.macro_batch}: goes with data.order=blocks, and only with it"
    if config.streams == "libraries" and data.order != "full":
        yield "streams=libraries: needs data.order=full (its seeded order is not defined)"


def _too_large(config: Config) -> Iterator[str]:
    """What would not fit into memory, although every single key is allowed."""
    for keys, numbers in _held(config):
        if numbers > MOST:
            given = ", ".join(f"{key}={_at(config, key)}" for key in keys.split())
            yield f"{given}: {numbers:.1e} numbers at once; at most 10^9 fit (8 GB): make one smaller"


def _held(config: Config) -> Iterator[tuple[str, int]]:
    """How many numbers are held at once, and the keys that decide it. Only one block of an ensemble
    is."""
    replicas, steps = len(config.replica_seeds), config.trainer.max_steps
    block = layout.block_size(replicas, config.ensemble.block or layout.BLOCK)
    parameters = sum((fan_in + 1) * width for fan_in, width in pairwise(config.units))
    batch = config.data.batch_size or 0
    more = " replicas ensemble.block" if replicas > 1 else ""
    yield "model.hidden" + more, 4 * block * parameters  # with the gradient and Adam's two moments
    drawn = 4 * (config.target.dim + 1)  # rows seen and generated, and what they are made from
    yield (
        "target.points model.hidden" + more,
        block * config.target.points * (drawn + sum(config.model.widths())),
    )
    yield "trainer.max_steps" + more, block * steps  # losses
    if replicas == 1:
        yield "logger.snapshots model.hidden", min(config.logger.snapshots, steps) * parameters
    if config.data.order == "shuffle":
        yield (
            "trainer.max_steps data.batch_size" + more,
            block * steps * batch,
        )  # the order of every epoch
    batches = block * min(config.trainer.block_steps, steps) * batch * (config.target.dim + 2)
    yield "trainer.block_steps data.batch_size" + more, batches
    for key in (
        "checkpoint.every_n_steps",
        "trainer.block_steps",
    ):  # a step's number in a list takes some ten numbers
        yield f"trainer.max_steps {key}", 10 * steps // _at(config, key)


def _at(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def _variant(
    key: str, kinds: Mapping[str, type], value: Mapping[str, Any], drop_name: bool = False
) -> Any:
    name = value.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{key}.name={shown(name)}: allowed are {', '.join(kinds)}")
    with users_code(f"{key}.name={name}"):  # a user's class
        given = {k: v for k, v in value.items() if not (drop_name and k == "name")}
        return build(
            kinds[name], given, f"{key}.", f" ({key}={name} chooses {name} with its own keys)"
        )
