"""Checks of a config beyond single types and ranges: combinations of values, names, folders."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mlpfit.config.catalogue import CONF, tutorials
from mlpfit.config.checking import load_yaml
from mlpfit.errors import allowed

if TYPE_CHECKING:
    from mlpfit.config.schema import Config

# Arguments of the Trainer that request validation.
VALIDATING = ("val_check_interval", "check_val_every_n_epoch", "limit_val_batches")
PACKAGES = ("lightning.pytorch.", "mlpfit.training.")  # from which callbacks and loggers may come


def loss_name(loss: Any) -> str:
    """The name of a loss that may have arguments beside it."""
    return loss if isinstance(loss, str) else str(loss.get("name", loss.get("_target_")))


def problems(config: Config) -> Iterator[str]:
    """A line for each problem of a config whose values each have an allowed type and range."""
    if not re.fullmatch(r"\w[\w.-]{0,99}/\w[\w.-]{0,99}", config.name):
        yield f"name={config.name!r}: must be tutorial/experiment, in letters, digits, dots, dashes"
    given, folder = f"output_dir={config.output_dir}", Path(config.output_dir).absolute()
    if not config.output_dir.strip() or config.output_dir.startswith("~"):
        yield f"{given}: must name a folder, . for this one; ~ is not expanded here"
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.is_dir():
        yield f"{given}: {existing} is not a folder"
    if problem := config.target.problem() or config.data.split.problem(
        config.target.rows_observed, "data."
    ):
        yield problem
        return  # what follows counts rows
    yield from _precision_problems(config)
    yield from _seed_problems(config)
    yield from _data_problems(config)
    yield from _class_problems(config)
    if config.trainer.max_steps is None and config.trainer.max_epochs is None:
        yield "trainer.max_steps: missing; give it a number of steps, or trainer.max_epochs one"
        return
    yield from _model_problems(config)
    steps, widths = config.steps, config.model.widths()
    if config.optimizer.name == "least_squares":
        if widths or steps or config.data.order != "full":
            settings = "model.hidden=none, trainer.max_steps=0 and data.order=full"
            yield f"optimizer=least_squares: needs {settings}"
    elif steps < 1:
        key = "max_epochs" if config.trainer.max_epochs == 0 else "max_steps"
        yield f"trainer.{key}=0: no step to train; give at least 1"
    yield from _length_problems(config)
    if not config.train and config.ckpt_path is None:
        yield "train=false: evaluates a checkpoint; name it with ckpt_path=..."
    if config.ckpt_path is not None and not Path(config.ckpt_path).is_file():
        yield f"ckpt_path={config.ckpt_path}: no checkpoint there; name a file, last.ckpt of a run"
    replicas, others = len(config.replica_seeds), [n for n, node in config.logger.items() if node]
    if replicas > 1 and (others := [name for name in others if name != "tensorboard"]):
        kept = f"of {replicas} replicas mlpfit.load_run(folder).history has the losses"
        yield f"logger={others[0]}: logs the run of one seed; {kept}; leave it out"
    packages = (*PACKAGES, *(f"{tutorial.package}." for tutorial in tutorials()))
    for group, nodes in (("callbacks", config.callbacks), ("logger", config.logger)):
        for name, node in nodes.items():
            if node and not (given := str(node.get("_target_"))).startswith(packages):
                yield f"{group}.{name}._target_={given}: must begin with {' or '.join(packages)}"
            elif node and node.get("_partial_"):
                yield f"{group}.{name}._partial_: leave it out; it makes no object of the class"


def _length_problems(config: Config) -> Iterator[str]:
    """Arguments of the Trainer that leave no step to train, or that it can't read."""
    arguments = config.trainer.arguments
    limit, time = arguments.get("limit_train_batches"), arguments.get("max_time")
    if limit is not None and limit == 0:
        yield f"trainer.limit_train_batches={limit}: no step to train; give at least 1"
    if time is None:
        return
    given, fields = f"trainer.max_time={time}", ("days", "hours", "minutes", "seconds")
    if isinstance(time, str) and re.fullmatch(r"\d+:\d+:\d+:\d+", time):
        time = dict(zip(fields, map(int, time.split(":")), strict=True))
    numbers = [*time.values()] if isinstance(time, dict) and {*time} <= {*fields} else [None]
    if not all(isinstance(n, int | float) and n >= 0 for n in numbers):
        yield f"{given}: must be days:hours:minutes:seconds, as 00:00:10:00, or a dict of those"
    elif not any(numbers):
        yield f"{given}: no step to train; give it longer, or trainer.max_steps"


PRECISIONS = ("32-true", "64-true")  # need no look into Lightning, whose import takes seconds


def _precision_problems(config: Config) -> Iterator[str]:
    if (given := str(config.trainer.precision)) not in PRECISIONS:
        from lightning.fabric.connector import _PRECISION_INPUT_STR

        if given not in (names := get_args(_PRECISION_INPUT_STR)):
            yield f"trainer.precision={given}: {allowed(given, names)}"


BY_HAND = ("relu", "tanh", "sigmoid", "identity")  # whose derivatives model/mlp.py has


def _model_problems(config: Config) -> Iterator[str]:
    """What of model, loss and scheduler does not fit the target, the data, or each other."""
    model, loss = config.model, loss_name(config.loss)
    if loss == "binary_cross_entropy" and model.net is None and model.output == "identity":
        linear = "takes probabilities, but outputs are linear"
        yield f"loss=binary_cross_entropy: {linear}: model.output=sigmoid, or loss=bce"
    if loss in ("bce", "cross_entropy") and model.output != "identity":
        once = f"loss={loss} has it itself and takes linear outputs"
        yield f"model.output={model.output}: {once}; leave it out"
    if model.gradient == "by_hand":
        for given, wrong in (
            (f"model.dropout={model.dropout}", model.dropout > 0),
            ("model.net", model.net is not None),
            (f"model.activation={model.activation}", model.activation not in list(BY_HAND)),
            (f"model.output={model.output}", model.output != "identity"),
        ):
            if wrong:
                yield f"{given}: by_hand is not written for it; give it model.gradient=autograd"
    if model.dropout and not model.widths():
        yield f"model.dropout={model.dropout}: needs hidden units; model.hidden=none has none"
    if config.optimizer.name == "least_squares":
        if model.output != "identity":
            yield f"model.output={model.output}: optimizer=least_squares solves for a linear unit"
        if model.net is not None:
            yield "model.net: optimizer=least_squares solves for one linear unit; leave it out"
    elif len(config.replica_seeds) > 1 and config.optimizer.name not in ("sgd", "adam"):
        from mlpfit.model.optimizers import optimizer_of  # here, since it imports torch

        optimizer_of(config.plain()["optimizer"], len(config.replica_seeds))
    if model.net is not None:
        yield from _net_problems(config)
    if config.scheduler is not None and config.ckpt_path is not None and config.train:
        yield "scheduler: begins with the training; with ckpt_path leave it out, it can't go on"
    if (total := (config.scheduler or {}).get("total_steps")) is not None:
        steps = config.steps if config.scheduler["interval"] == "step" else _epochs(config)
        if total < steps // config.scheduler.get("frequency", 1):
            yield f"scheduler.total_steps={total}: must be at least the {steps} that are taken"


def _epochs(config: Config) -> int:
    return config.steps // config.steps_per_epoch


def _net_problems(config: Config) -> Iterator[str]:
    """Keys of layers that are set although model.net has its own, and a net that does not work."""
    defaults = load_yaml(CONF / "config.yaml")["model"]
    for key in ("hidden", "activation", "output", "init", "dropout"):
        if (given := getattr(config.model, key)) != defaults[key]:
            yield f"model.{key}={given}: model.net has layers of its own; leave one of them out"
    if config.streams != "spawned":
        yield f"streams={config.streams}: model.net draws by torch.manual_seed; needs spawned"
    from mlpfit.model.nets import Nets  # here, since it imports torch

    Nets(config.model.net, config.replica_seeds[:1], config.units)


def _seed_problems(config: Config) -> Iterator[str]:
    seeds, only = config.seeds, config.ensemble.only
    if seeds == ():
        yield "seeds=[]: must name at least one seed, or be null"
        return
    if len(set(config.replica_seeds)) < len(config.replica_seeds):
        yield f"seeds={list(config.replica_seeds)}: must name every seed once"
    if config.replica_seeds[-1] >= 2**32:
        yield f"seed={config.seed} with replicas={config.replicas}: seeds must stay below {2**32}"
    if only is not None:
        count, given = len(config.shard_seeds), f"ensemble.only={json.dumps(only)}"
        if len(config.replica_seeds) == 1:
            yield f"{given}: needs replicas > 1"
        elif not only or len(set(only)) < len(only) or max(only) >= count:
            yield f"{given}: must name shards, each once, of the {count} from 0 to {count - 1}"
    if seeds is not None and config.replicas not in (1, len(seeds)):
        yield f"replicas={config.replicas}: leave it out, seeds names {len(seeds)} replicas"


def _class_problems(config: Config) -> Iterator[str]:
    """Losses of classes with a target of none, and the other way round."""
    name, target = loss_name(config.loss), config.target
    if name == "cross_entropy" and target.classes is None:
        yield f"loss={name}: needs a target of classes, and {target.name} has numbers"
    if name == "bce" and target.classes != 2:
        has = "numbers" if target.classes is None else f"{target.classes} classes"
        yield f"loss={name}: needs a target of two classes, and {target.name} has {has}"
    if name != "cross_entropy" and (target.classes or 2) > 2:
        yield (
            f"loss={name}: would fit the numbers of {target.classes} classes as if they had an "
            "order; give loss=cross_entropy"
        )
    if not config.has_validation:
        asked = ["metric=val_mse"] * (config.metric == "val_mse")
        asked += [f"trainer.{key}" for key in VALIDATING if key in config.trainer.arguments]
        for given in asked:
            yield f"{given}: needs data.validation, since {target.name} has no fresh rows"
    if config.optimizer.name == "least_squares" and config.units[-1] > 1:
        yield "optimizer=least_squares: fits one output"


def _data_problems(config: Config) -> Iterator[str]:
    data, batch, rows = config.data, config.data.batch_size, config.rows
    below, macro = data.start_below, data.macro_batch
    if batch is None and data.order != "full":
        yield f"data.order={data.order}: needs data.batch_size, the rows of a step"
    elif batch is not None and data.order == "full":
        yield f"data.batch_size={batch}: needs another data.order than full, such as shuffle"
    if batch is not None and batch > rows:
        yield f"data.batch_size={batch}: must be at most the {rows} rows there are"
    uses_start = data.order in ("slices", "consecutive")
    if uses_start and below is None:
        yield f"data.order={data.order}: needs data.start_below, a number of at most {rows} rows"
    elif below is not None and not uses_start:
        yield f"data.start_below={below}: applies only with data.order=slices or consecutive"
    if below is not None and batch is not None and not batch < below <= rows:
        yield f"data.start_below={below}: must be above the batch size and at most the {rows} rows"
    if data.order == "blocks" and macro is None:
        yield "data.order=blocks: needs data.macro_batch, the rows of a macro batch"
    elif macro is not None and data.order != "blocks":
        yield f"data.macro_batch={macro}: applies only with data.order=blocks"
    if config.streams == "libraries" and data.order != "full":
        yield "streams=libraries: needs data.order=full (its seeded order is not defined)"
