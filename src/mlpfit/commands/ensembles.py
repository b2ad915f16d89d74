"""Train experiments over many seeds. The shards of all ensembles are trained in the same processes,
the longest first."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from mlpfit.commands.arguments import Parser
from mlpfit.commands.reproduce import select_experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError
from mlpfit.judging.variants import variants
from mlpfit.processes import cores
from mlpfit.runs.folder import unfinished_folder
from mlpfit.runs.identity import departure
from mlpfit.runs.run import load_run
from mlpfit.training.duration import model_steps, predicted_seconds
from mlpfit.training.progress import console, counted, display
from mlpfit.training.shard import shards
from mlpfit.training.train import train_shards

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
SILENCE = 4.5  # seconds, at most, into a file


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
        train_ensembles(configs)
        for config in configs:
            if note := departure(config, config.folder, "ensembles"):
                console.print(note, markup=False)
    return 0


def variant_configs(experiments: list[str]) -> list[Config]:
    """Configs of the variants of these experiments, grouped by tutorial."""
    tutorials = dict.fromkeys(name.split("/")[0] for name in experiments)
    all_variants = [variant for tutorial in tutorials for variant in variants(tutorial)]
    return [v.config(Path("outputs")) for v in all_variants if v.experiment in experiments]


def ensemble_config(experiment: str, overrides: list[str]) -> Config:
    """Config of an experiment's ensemble, with ``ensemble.replicas`` replicas unless overridden."""
    config = compose([f"experiment={experiment}", *overrides])
    if any(override.startswith(("replicas=", "seeds=")) for override in overrides):
        return config
    return replace(config, replicas=config.ensemble.replicas)


@contextmanager
def heartbeat(total: int, report: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Where no bar is shown, a line every few seconds: how far the training is, and how long it
    will take at the speed so far. Yields a function to call with the number of steps done."""
    done, started, ended = 0, time.time(), threading.Event()

    def count(steps: int) -> None:
        nonlocal done
        done = steps
        report(steps)

    def tell() -> None:
        while not ended.wait(SILENCE):
            seconds = time.time() - started
            if done:
                left = seconds * (total - done) / done
                console.print(f"{done / total:.0%} after {seconds:.0f} s, about {left:.0f} s left")
            else:
                console.print(f"loading and compiling for {seconds:.0f} s")

    teller = threading.Thread(target=tell, daemon=True)
    if not console.is_terminal:
        teller.start()
    try:
        yield count
    finally:
        ended.set()
        if teller.is_alive():
            teller.join()


def train_ensembles(configs: Sequence[Config]) -> None:
    """Train these ensembles, unless they are up to date, and print their results."""
    started = time.time()
    with ExitStack() as stack:
        folders = [
            stack.enter_context(unfinished_folder(config, config.folder)) for config in configs
        ]
        pairs = zip(configs, folders, strict=True)
        todo = [shard for config, folder in pairs if folder for shard in shards(config, folder)]
        if not todo:
            console.print(f"everything is up to date: {counted(len(configs), 'ensemble')}")
            return
        processes = configs[0].ensemble.processes or cores()
        missing = [shard for shard in todo if not shard.finished]
        predicted = sum(map(predicted_seconds, missing)) / processes + 15
        trained = len({shard.whole.folder for shard in todo})
        counts = ", ".join(map(counted, (trained, len(missing)), ("ensemble", "shard")))
        console.print(f"{counts} on {counted(processes, 'core')}: about {predicted:.0f} s")
        steps = sum(map(model_steps, todo))
        with (
            display(runs=1) as shown,
            shown.counter("model-steps", steps) as report,
            heartbeat(steps, report) as counting,
        ):
            train_shards(todo, processes, counting)
    for config in configs:
        run = load_run(config.folder)
        replicas = f"{run.replicas:>5} replicas, {int(run.diverged.sum()):>3} diverged"
        seconds = run.provenance["seconds"]
        in_outputs = str(config.folder).removeprefix("outputs/")
        name = in_outputs.removeprefix("ensembles/")  # of a variant, its whole folder
        console.print(f"{name:<26} {replicas}, {seconds:6.1f} core-seconds", markup=False)
    console.print(f"predicted {predicted:.0f} s, took {time.time() - started:.0f} s")
