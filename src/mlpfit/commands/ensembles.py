"""Train experiments over many seeds. The shards of all ensembles are trained in the same processes,
the longest first."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mlpfit.commands.arguments import Parser
from mlpfit.commands.reproduce import select_experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, RunError
from mlpfit.judging import published, variants
from mlpfit.processes import Workers, cores
from mlpfit.runs.identity import departure, replicas_to_lose
from mlpfit.runs.run import load_run
from mlpfit.training import duration
from mlpfit.training.progress import console, counted, display, doing, in_time
from mlpfit.training.shard import shards
from mlpfit.training.train import claimed, measure, must_train, train_shards

parser = Parser(
    "ensembles",
    "Train experiments over many seeds: as many replicas as each asks for (ensemble.replicas), or "
    "replicas=1000 seeds=[3,5] and any other key=value.",
)
parser.add_names("tutorial | experiment | key=value")
parser.add_argument(
    "--variants",
    action="store_true",
    help="train the other recipes that the ledger compares with (variants.yaml of a tutorial)",
)


parser.add_argument(
    "--partial",
    action="store_true",
    help="replace ensembles even if they have more replicas of the same recipe",
)


def main() -> int:
    options = parser.parse()
    overrides = [a for a in options.names if "=" in a]
    names = select_experiments([a for a in options.names if "=" not in a])
    if options.variants:
        if overrides:
            raise ConfigError(
                f"{overrides[0]}: variants take no overrides; they are those of variants.yaml"
            )
        train_ensembles(variant_configs(names))
    else:
        configs = [ensemble_config(name, overrides) for name in names]
        if not options.partial:
            check_richness(configs)
        train_ensembles(configs)
        for config in configs:
            if note := departure(load_run(config.folder)):
                console.print(note, markup=False)
    return 0


def check_richness(configs: Sequence[Config]) -> None:
    """Raises RunError if one of these ensembles would replace a larger one of the same recipe."""
    for config in configs:
        if (larger := replicas_to_lose(config, config.folder)) is not None:
            raise RunError(
                f"{config.folder}: holds {larger:,} replicas of this recipe, and "
                f"{len(config.replica_seeds):,} would replace them; --partial replaces them, "
                "another output_dir=... keeps both"
            )


def variant_configs(experiments: list[str]) -> list[Config]:
    """Configs of the variants of these experiments, grouped by tutorial; one of those that share a
    folder."""
    owners = dict.fromkeys(name.split("/")[0] for name in experiments)
    named = [pair for owner in owners for pair in variants.configs(owner, Path("outputs")).items()]
    wanted = [config for key, config in named if key.partition(":")[0] in experiments]
    return list({config.folder: config for config in wanted}.values())


def ensemble_config(experiment: str, overrides: list[str]) -> Config:
    """Config of an experiment's ensemble, with ``ensemble.replicas`` replicas unless overridden."""
    config = compose([f"experiment={experiment}", *overrides])
    if any(override.startswith(("replicas=", "seeds=")) for override in overrides):
        return config
    return replace(config, replicas=config.ensemble.replicas)


def train_ensembles(configs: Sequence[Config]) -> None:
    """Train these ensembles, unless they are up to date, and print their results. Raises
    ConfigError, before anything is trained, if one would not record what its page is judged by."""
    started = time.time()
    for config in configs:
        published.check_recorded(config)
    stale = [config for config in configs if must_train(config, config.folder)]
    with ExitStack() as stack:
        folders = [stack.enter_context(claimed(config, config.folder)) for config in stale]
        pairs = zip(stale, folders, strict=True)
        todo = [shard for config, folder in pairs if folder for shard in shards(config, folder)]
        if not todo:
            console.print(f"everything is up to date: {counted(len(configs), 'ensemble')}")
            return
        processes = configs[0].ensemble.processes or cores()
        missing = [shard for shard in todo if not shard.finished]
        trained = len({shard.whole.folder for shard in todo})
        counts = ", ".join(map(counted, (trained, len(missing)), ("ensemble", "shard")))
        console.print(f"{counts} on {counted(processes, 'core')}")
        workers: Workers = []
        factors = {}
        if chosen := duration.samples(missing):
            with doing("loading, compiling and measuring the speed"):
                factors = measure(chosen, processes, workers)
        seconds, began = duration.predicted(factors), time.time()
        prediction = sum(map(seconds, missing)) / processes
        if factors:
            console.print(f"about {in_time(prediction)}")
        with display(runs=1) as shown, shown.counter("all") as counting:
            train_shards(todo, processes, counting, seconds, workers)
        took = time.time() - began
    for config in configs:
        run = load_run(config.folder)
        replicas = f"{run.replicas:>5} replicas, {int(run.diverged.sum()):>3} diverged"
        seconds = run.provenance["seconds"]
        in_outputs = str(config.folder).removeprefix("outputs/")
        name = in_outputs.removeprefix("ensembles/")  # of a variant, its whole folder
        console.print(f"{name:<26} {replicas}, {seconds:6.1f} core-seconds", markup=False)
    predicted = f"; predicted {prediction:.0f} s, took {took:.0f} s" if factors else ""
    console.print(f"{counted(trained, 'ensemble')} in {time.time() - started:.0f} s{predicted}")
