"""Train one experiment into its run folder.

    python -m mlpfit.train experiment=tower/small [key=value ...]

With -m, values separated by commas make a sweep (sweep.py). Keys and defaults are in conf/config.yaml; --help lists the
experiments. ``force=true`` trains again although the same run is complete.
"""

import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit import blocks, runs
from mlpfit.command import run_command
from mlpfit.config import OPTIONS, Config, available, compose
from mlpfit.errors import ConfigError, Diverged, RunError
from mlpfit.progress import console, display
from mlpfit.streams import streams
from mlpfit.typed import blamed

Report = Callable[[int, float], None]


def train(config: Config, report: Report = lambda step, loss: None) -> bool:
    """Train the run of this config unless the same run is complete. Returns whether anything was trained.

    An interrupted run of the same identity goes on from its last checkpoint, an ensemble with its missing blocks.
    Raises ConfigError before anything is created, RunError if an interrupted run of another identity is in the way, or
    if the loss of a single run diverges.
    """
    with claimed(config) as partial:
        if partial is None:
            return False
        try:
            _train(config, partial, report)
        except (ConfigError, Diverged):
            shutil.rmtree(partial)  # going on from there would only end the same way
            raise
    return True


def check(config: Config) -> None:
    """Raises ConfigError for what shows only when it is tried: the device, and the target on the first replica."""
    if config.trainer.accelerator == "gpu":
        import torch

        if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
            raise ConfigError("trainer.accelerator=gpu: there is no GPU here; allowed are cpu and auto")
    with blamed(f"target {config.target.name}"):
        config.target.rows(streams(config.replica_seeds[0], config.streams).data)


def _train(config: Config, partial: Path, report: Report) -> None:
    if len(config.replica_seeds) == 1:
        from mlpfit.training import train_into

        return train_into(partial, config, config.replica_seeds, report)
    todo = blocks.blocks(config, partial)
    worth = sum(block.seconds for block in todo) > 20  # starting a process takes five seconds
    processes = config.ensemble.processes or (blocks.cores() if worth else 1)
    return blocks.train_blocks(todo, processes, lambda done: report(done // len(config.replica_seeds), float("nan")))


@contextmanager
def claimed(config: Config) -> Iterator[Path | None]:
    """The folder in which this config's run is to be finished, for this process alone; None if it is up to date.
    Raises ConfigError before anything is created.

    After the body, what is in the folder is sealed and put in the place of the finished run.
    """
    if config.force or not runs.is_current(config):
        check(config)
    final = config.run_dir
    partial = final.with_name(final.name + ".partial")
    with locked(Path(config.output_dir) / ".locks" / "-".join(final.parts[-3:])):
        if config.force:
            shutil.rmtree(partial, ignore_errors=True)
        elif runs.is_current(config):
            yield None
            return
        identity = runs.identity(config)
        begin(partial, identity)
        if (partial / runs.MARKER).is_file():  # stopped between sealing and moving
            yield None
        else:
            yield partial
            (partial / "identity.json").unlink()
            runs.seal(partial, identity)
        runs.move_into_place(partial, final)


def begin(partial: Path, identity: dict) -> None:
    """Make the folder of an unfinished run, or check that the one there is of the same run."""
    file = partial / "identity.json"
    if (partial / runs.MARKER).is_file():
        identified = runs.load_run(partial).identity
    elif file.is_file():
        identified = _read(file)
    else:  # nothing there, or killed before the first file was whole
        shutil.rmtree(partial, ignore_errors=True)
        runs.write_file(file, json.dumps(identity).encode())
        return
    if differing := runs.differences(identified, identity):
        raise RunError(
            f"{partial} holds an interrupted run with other settings ({'; '.join(differing)}): "
            "finish it with those, or start anew with force=true"
        )


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise RunError(f"{file}: damaged; start anew with force=true") from None


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however that ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}; free it, or choose another output_dir") from None
    with open(file, "a") as handle:  # written never: it may be a link to something
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    overrides = sys.argv[1:]
    if {"-h", "--help"} & set(overrides):
        print(f"{__doc__}\nexperiments: {', '.join(available())}")
        return 0
    if unknown := [o for o in overrides if o.startswith("-") and o not in OPTIONS]:
        raise ConfigError(f"{unknown[0]}: no such option; there are {', '.join(OPTIONS)} and key=value")
    if {"-m", "--multirun"} & set(overrides):
        from mlpfit.sweep import sweep

        return sweep(overrides)
    if named := [o for o in overrides if o.startswith("sweep=")]:
        raise ConfigError(f"{named[0]}: a sweep needs -m")
    if not any(o.startswith("experiment=") for o in overrides):
        raise ConfigError(f"experiment=...: say which one; there are {', '.join(available())}")
    config = compose(overrides)
    with display(runs=1) as shown:
        if runs.is_current(config) and not config.force:
            console.print(f"{config.run_dir} is up to date (force=true trains it again)", soft_wrap=True)
            return 0
        with shown.run(config.name, config.trainer.max_steps) as report:
            train(config, report)
    console.print(f"{config.run_dir}: {summary(runs.load_run(config.run_dir))}", soft_wrap=True)
    return 0


def summary(run: runs.Run) -> str:
    """The final numbers in a line; medians where there are several replicas, a diverged one counting as infinite."""
    names = {"mse": "mse", "sse": "sum of squares", "truth_mse": "distance to the truth"}
    lost = f"; {run.diverged.sum()} of {run.replicas} replicas diverged" if run.diverged.any() else ""
    return ", ".join(f"{words} {float(np.median(run.final(name))):.6g}" for name, words in names.items()) + lost


if __name__ == "__main__":
    run_command(main)
