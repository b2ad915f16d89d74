"""From YAML and overrides to a checked, frozen Config. Hydra stops here: everything behind takes plain values.

Every key, its type and its range is a field of one of the dataclasses below; defaults live in ``conf/`` only.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from mlpfit import layout, order, streams
from mlpfit.errors import ConfigError
from mlpfit.ranges import Above, AtLeast, Between
from mlpfit.targets import TARGETS, Target, load_user_targets
from mlpfit.typed import blamed, build, shown, value_of

CONF = Path(__file__).parents[2] / "conf"
SEARCH_PATH = "MLPFIT_PATH"  # environment variable: folders of the user's own YAML and targets.py
REQUESTS = ("output_dir=", "force=", "ensemble.processes=", "hydra")  # of overrides: how, not what
LONGEST = 120  # characters of a folder's name
GROUPS = ("experiment", "target", "optimizer")  # keys whose value is a choice, a file of conf/
OPTIONS = ("-m", "--multirun", "-h", "--help")
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
    activation: Literal["relu", "tanh", "identity"]
    init: Literal["torch", "normal", "ones"]
    gradient: Literal["autograd", "by_hand"]

    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, from the first: "64-32" -> (64, 32), "none" -> ()."""
        if self.hidden == "none":
            return ()
        parts = str(self.hidden).split("-")
        if len(parts) > 100 or not all(re.fullmatch("0{0,9}[1-9][0-9]{0,8}", part) for part in parts):
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
    max_steps: Annotated[int, AtLeast(0, 10**8)]  # a working day at the fastest; the loss of every step is held
    accelerator: Literal["cpu", "gpu", "auto"]
    precision: Literal["32-true", "64-true"]
    block_steps: Count  # optimiser steps in one training_step
    compile: bool | Literal["auto"]  # auto: when it pays (compiled.py)


@dataclass(frozen=True)
class Ensemble:
    block: Count | None  # replicas trained together; null: what fits the cache (compiled.py)
    processes: Annotated[int, AtLeast(1, 1000)] | None  # blocks trained in parallel; null: one per core
    history_points: Count  # losses kept per replica, about


@dataclass(frozen=True)
class Logger:
    tensorboard: bool
    points: Annotated[int, AtLeast(2, 10**6)]  # scalars per run at most
    snapshots: Annotated[int, AtLeast(2, 10**4)]  # of the weights; every fourth with pictures and histograms


@dataclass(frozen=True)
class Checkpoint:
    every_n_steps: Count


@dataclass(frozen=True)
class Config:
    name: str
    question: str
    seed: Seed
    replicas: Annotated[int, AtLeast(1, 10**6)]  # their seeds are listed wherever the run is described
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
    def worth_compiling(self) -> bool:
        """Whether its steps are to be compiled: as the config says, or (auto) when it pays."""
        if self.trainer.compile == "auto":
            return layout.compiling_pays(self.plain_seconds)
        return self.trainer.compile

    @property
    def plain_seconds(self) -> float:
        """Predicted for uncompiled steps: see :func:`mlpfit.layout.plain_seconds`."""
        rows = self.data.batch_size or self.rows
        return layout.plain_seconds(self.trainer.max_steps, len(self.replica_seeds), rows, self.units[1:])

    @property
    def run_dir(self) -> Path:
        """Where the run goes: one replica under runs/, several under ensembles/."""
        return Path(self.output_dir) / ("runs" if len(self.replica_seeds) == 1 else "ensembles") / self.name

    def plain(self) -> dict[str, Any]:
        """The config as YAML would hold it."""
        plain = dataclasses.asdict(self)
        plain["target"] = {"name": self.target.name, **plain["target"]}
        return json.loads(json.dumps(plain))

    def recipe(self) -> dict[str, Any]:
        """What decides the results: the config without words, places and requests."""
        recipe = {k: v for k, v in self.plain().items() if k not in ("question", "output_dir", "force")}
        recipe["ensemble"].pop("processes")
        return recipe

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """As YAML would hold it: the process that unpickles it then finds the user's targets, too."""
        return parse, (self.plain(),)


def parse(plain: Mapping[str, Any]) -> Config:
    """Check every key, type, range and combination. Raises ConfigError with the key and what is allowed."""
    for folder in search_path():
        with blamed(str(folder / "targets.py")):
            load_user_targets(folder / "targets.py")
    plain = dict(plain)
    if isinstance(plain.get("target"), Mapping):
        plain["target"] = _variant("target", TARGETS, plain["target"], drop_name=True)
    if isinstance(plain.get("optimizer"), Mapping):
        plain["optimizer"] = _variant("optimizer", OPTIMIZERS, plain["optimizer"])
    config: Config = build(Config, plain, "")
    with blamed(f"target {config.target.name}"):
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
    if data.start_below is not None and batch is not None and not batch < data.start_below <= config.rows:
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
    """How many numbers are held at once, and the keys that decide it. Only one block of an ensemble is."""
    replicas, steps = len(config.replica_seeds), config.trainer.max_steps
    block = layout.block_size(replicas, config.ensemble.block or layout.BLOCK)
    parameters = sum((fan_in + 1) * width for fan_in, width in pairwise(config.units))
    batch = config.data.batch_size or 0
    more = " replicas ensemble.block" if replicas > 1 else ""
    yield "model.hidden" + more, 4 * block * parameters  # with the gradient and Adam's two moments
    drawn = 4 * (config.target.dim + 1)  # rows seen and generated, and what they are made from
    yield "target.points model.hidden" + more, block * config.target.points * (drawn + sum(config.model.widths()))
    yield "trainer.max_steps" + more, block * steps  # losses
    if replicas == 1:
        yield "logger.snapshots model.hidden", min(config.logger.snapshots, steps) * parameters
    if config.data.order == "shuffle":
        yield "trainer.max_steps data.batch_size" + more, block * steps * batch  # the order of every epoch
    batches = block * min(config.trainer.block_steps, steps) * batch * (config.target.dim + 2)
    yield "trainer.block_steps data.batch_size" + more, batches
    for key in ("checkpoint.every_n_steps", "trainer.block_steps"):  # a step's number in a list takes some ten numbers
        yield f"trainer.max_steps {key}", 10 * steps // _at(config, key)


def _at(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def _variant(key: str, kinds: Mapping[str, type], value: Mapping[str, Any], drop_name: bool = False) -> Any:
    name = value.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{key}.name={shown(name)}: allowed are {', '.join(kinds)}")
    with blamed(f"{key}.name={name}"):  # a user's class
        given = {k: v for k, v in value.items() if not (drop_name and k == "name")}
        return build(kinds[name], given, f"{key}.", f" ({key}={name} chooses {name} with its own keys)")


def compose(overrides: Sequence[str], conf: Path = CONF) -> Config:
    """The checked config of these Hydra overrides, e.g. ["experiment=tower/small", "optimizer.lr=0.01"].

    Raises ConfigError in one line for whatever Hydra, OmegaConf or the check finds wrong.
    """
    try:
        return _compose(overrides, conf)
    except ConfigError as error:
        experiment = [o for o in overrides if o.startswith("experiment=")][-1:]
        file = _own_file(experiment)
        if file is None or any(str(folder) in str(error) for folder in search_path()):  # says where already
            raise
        if list(overrides) != experiment and _composes(experiment, conf):  # not the file's fault
            raise
        raise ConfigError(f"{file}: {error}") from error


def as_published(experiment: str) -> Config:
    """The config of an experiment as its YAML has it; composed once, and again when a file of conf/ has changed."""
    return _as_published(experiment, tuple((str(file), file.stat().st_mtime_ns) for file in CONF.rglob("*.yaml")))


@cache
def _as_published(experiment: str, files: tuple[tuple[str, int], ...]) -> Config:
    return compose([f"experiment={experiment}"])


def _compose(overrides: Sequence[str], conf: Path) -> Config:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    with composing(conf) as loader:
        _check_overrides(overrides, loader)
        composed = hydra_compose("config", overrides=[*overrides, *searchpath_override()])
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    config = parse(plain)  # type: ignore[arg-type]
    check_place(config.output_dir)
    return config


def _own_file(experiment: Sequence[str]) -> Path | None:
    """The file of this experiment in the user's folders."""
    names = [o.removeprefix("experiment=") for o in experiment]
    files = (folder / "experiment" / f"{name}.yaml" for name in names for folder in search_path())
    return next((file for file in files if os.path.isfile(file)), None)  # no error for a name too long


def _composes(overrides: Sequence[str], conf: Path) -> bool:
    try:
        _compose(overrides, conf)
    except ConfigError:
        return False
    return True


def _check_overrides(overrides: Sequence[str], loader: Any) -> None:
    """Raises ConfigError, naming the override, for one that can't be read or is no setting of a run."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=loader)
    for override in overrides:
        given = shown(override)
        try:
            parsed = parser.parse_overrides([override])[0]
            key, value = parsed.key_or_group, parsed.value()
        except Exception as error:  # of whatever kind: Python's numbers have their limits, too
            hint = "write key=value, with quotes in the quotes around a text: 'question=\"a, b\"'"
            raise ConfigError(f"{given}: can't be read ({shown(_one_line(error))}); {hint}") from error
        if re.split("[./]", key)[0] == "hydra":
            raise ConfigError(f"{given}: has no effect on a single run; sweeps take it (-m hydra/launcher=...)")
        if parsed.is_sweep_override():
            raise ConfigError(f"{given}: several values make a sweep, which needs -m; a list is written [1,2]")
        if key in GROUPS and not parsed.is_delete() and not _names_file(value):
            raise ConfigError(f"{given}: no such choice; there are {', '.join(choices(key))}")


def _names_file(value: Any) -> bool:
    return isinstance(value, str) and not {"", ".", ".."} & set(value.split("/"))


def check_place(output_dir: str) -> None:
    """Raises ConfigError unless there can be a folder of this name."""
    given, folder = f"output_dir={shown(output_dir)}", Path(value_of(str, output_dir, "output_dir"))
    if not output_dir.strip():
        raise ConfigError(f"{given}: must name a folder; . is this one")
    if output_dir.startswith("~"):
        raise ConfigError(f"{given}: ~ stays as it is here; write $HOME, or ./~ for a folder of this name")
    if max(len(os.fsencode(part)) for part in (*folder.parts, "")) > 255 or len(os.fsencode(folder.absolute())) > 3000:
        raise ConfigError(f"{given}: must be at most 255 bytes long in every part, 3000 in all")
    for above in (folder, *folder.absolute().parents):
        if os.path.isdir(above):
            return
        if os.path.lexists(above):
            raise ConfigError(f"{given}: {above} is no folder")


def job_name(overrides: Sequence[str], config: Config) -> str:
    """The experiment and the overrides; with a hash of the config where they don't make a folder's name."""
    return folder_name([config.name.split("/")[-1], *told_apart_by(overrides)], config.fingerprint())


def told_apart_by(overrides: Sequence[str]) -> list[str]:
    """The overrides that change results, sorted, without the experiment."""
    return sorted(o for o in overrides if not o.startswith(("experiment=", *REQUESTS)))


def folder_name(words: Sequence[str], fingerprint: str) -> str:
    """The words, readable; shortened and with the fingerprint's beginning where they are long or hold what a file name
    should not (a slash, or brackets, which a shell reads as wildcards)."""
    name = ",".join(words)
    safe = re.sub(r"[^\w.=,+-]", "_", name)[:LONGEST]
    return name if name == safe else f"{safe}-{fingerprint[:8]}"


@contextmanager
def composing(conf: Path) -> Iterator[Any]:
    """Hydra made ready to read this folder; yields its loader. What it finds wrong is raised as a ConfigError."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    except ConfigError:
        raise
    except Exception as error:  # besides its own and YAML's: endless recursion, bytes that are no text
        raise ConfigError(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    """What Hydra says in paragraphs, in one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, RecursionError):
        return "nested too deeply, or in itself"
    if override := getattr(error, "override", None):  # Hydra's parser says what is wrong, not where
        words = f"{override}: {words}" if override not in words else words
    words = words.split(" Config search path:")[0].split(" See https://")[0].split(" full_key:")[0]
    if chosen := re.match(r"You must specify '([^']*)'", words):
        return f"{chosen[1]}: none is chosen (defaults: - override /{chosen[1]}: ...); there are " + ", ".join(
            choices(chosen[1])
        )
    if (unknown := re.match(r"Could not override '([^']*)'", words)) and "No match" not in words:
        return f"{unknown[1]}: no such key (every key is in conf/config.yaml and the target's and optimizer's files)"
    if missing := re.match(r"In '[^']*': Could not find '([^']*)'", words):
        allowed = words.partition("Available options in ")[2].partition(": ")[2]
        return f"{missing[1]}: no such choice; there are " + (
            ", ".join(allowed.split()) if allowed else ", ".join(available())
        )
    key = str(getattr(error, "full_key", None) or "")
    if "nterpolation" in words + type(error).__name__:  # OmegaConf says what is wrong, not where
        return f"{key}: {words}; allowed are a value, or ${{key}} of another key"
    return words if key in words else f"{key}: {words}"


def search_path() -> list[Path]:
    """The user's own folders, laid out as conf/ is and with a targets.py. Raises ConfigError if one is not there."""
    folders = [Path(name).resolve() for name in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if name]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{SEARCH_PATH}={os.environ[SEARCH_PATH]}: {folder} is no folder")
    return folders


def searchpath_override() -> list[str]:
    """What tells Hydra of the user's folders."""
    folders = ",".join(quoted(f"file://{folder}") for folder in search_path())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


def quoted(text: str) -> str:
    """As a value in an override, whatever it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def available() -> list[str]:
    """Names of all experiments, the user's own last."""
    return [name for conf in (CONF, *search_path()) for name in experiments(conf)]


def choices(group: str) -> list[str]:
    """Names of the files of a group of conf/, the user's own last."""
    if group == "experiment":
        return available()
    folders = [conf / group for conf in (CONF, *search_path())]
    return [str(f.relative_to(folder).with_suffix("")) for folder in folders for f in sorted(folder.rglob("*.yaml"))]


def ready_sweeps() -> list[str]:
    """Names of the ready sweeps, the user's own last."""
    return choices("sweep")


def ready_sweep(name: str) -> dict[str, Any]:
    """A ready sweep's question, overrides and how to draw it (conf/sweep). Raises ConfigError if there is none."""
    if name not in ready_sweeps():
        raise ConfigError(f"sweep={name}: no such sweep; there are {', '.join(ready_sweeps())}")
    file = next(f for conf in (CONF, *search_path()) if (f := conf / "sweep" / f"{name}.yaml").is_file())
    with blamed(str(file)):
        found = yaml.safe_load(file.read_text())
    allowed = {"question", "overrides", "figure", "sharpness"}
    if not isinstance(found, dict) or not {"question", "overrides"} <= found.keys() <= allowed:
        raise ConfigError(f"{file}: needs question and overrides, may have figure and sharpness, and nothing else")
    if not isinstance(found["overrides"], list) or not all(isinstance(o, str) for o in found["overrides"]):
        raise ConfigError(f"{file}: overrides must be a list of key=value")
    return found


def experiments(conf: Path = CONF) -> list[str]:
    """Names of all experiments, in the order of ``conf/tutorials.yaml``; those not named there come last."""
    folder = conf / "experiment"
    found = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    listed = [f"{tutorial}/{name}" for tutorial, names in _tutorials(conf).items() for name in names]
    return sorted(found, key=lambda name: listed.index(name) if name in listed else len(listed))


def tutorials(conf: Path = CONF) -> list[str]:
    """Names of the tutorials, in the same order."""
    return list(dict.fromkeys(name.split("/")[0] for name in experiments(conf)))


def _tutorials(conf: Path) -> dict[str, list[str]]:
    file = conf / "tutorials.yaml"
    if not file.is_file():
        return {}
    with blamed(str(file)):
        return {str(tutorial): list(names) for tutorial, names in yaml.safe_load(file.read_text()).items()}
