"""Many replicas of one experiment: split into blocks, trained in parallel processes.

Each block is a run of its own seeds in a folder of its own, so a killed ensemble goes on with the blocks that are
missing, and memory does not grow with the number of replicas.
"""

import gc
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlpfit import runs
from mlpfit.config import NARROW, Config, block_size
from mlpfit.errors import RunError


@dataclass(frozen=True)
class Block:
    """Replicas trained together, and where."""

    config: Config
    seeds: tuple[int, ...]
    folder: Path

    @property
    def model_steps(self) -> int:
        return len(self.seeds) * self.config.trainer.max_steps

    @property
    def seconds(self) -> float:
        """Predicted from the floating-point operations of a step (forward 2, backward 4 per weight and row) and the
        rates that ``make bench`` finds: some 20 billion a second and core where layers are broadcasts, thrice that
        where they are matrix products, half in double precision; and half a second for the Trainer and the files.
        """
        config = self.config
        pairs = list(pairwise(config.units))
        rows = config.data.batch_size or config.rows
        operations = 6 * rows * sum(a * b for a, b in pairs)
        rate = 20e9 * (3 if any(min(pair) > NARROW for pair in pairs) else 1)
        rate /= 2 if config.trainer.precision == "64-true" else 1
        return self.model_steps * (operations / rate + 2e-7) + 0.5


def blocks(config: Config, folder: Path) -> list[Block]:
    """All blocks of an ensemble, in the order of the seeds."""
    seeds = config.replica_seeds
    size = block_size(len(seeds), config.ensemble.block or 256)
    starts = range(0, len(seeds), size)
    return [Block(config, seeds[i : i + size], folder / runs.BLOCKS / f"{k:04d}") for k, i in enumerate(starts)]


def train_blocks(todo: Sequence[Block], processes: int, report: Callable[[int], None]) -> None:
    """Train the blocks that are not finished; report gets the number of model-steps done so far.

    Raises RunError if a process ends before its work is done.
    """
    missing = [block for block in todo if not (block.folder / runs.MARKER).is_file()]
    before = sum(block.model_steps for block in todo) - sum(block.model_steps for block in missing)
    if min(processes, len(missing)) <= 1:
        for block in missing:
            train_block(block)
            before += block.model_steps
            report(before)
        return
    context = multiprocessing.get_context("spawn")
    missing.sort(key=lambda block: -block.seconds)
    following = context.Value("i", 0)
    arguments = (missing, following, os.getpid())
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(processes)]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            report(before + sum(b.model_steps for b in missing if (b.folder / runs.MARKER).is_file()))
            if any(worker.exitcode for worker in workers):
                break
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    unfinished = [b for b in missing if not (b.folder / runs.MARKER).is_file()]
    if unfinished:
        codes = [w.exitcode for w in workers]
        raise RunError(f"{unfinished[0].folder}: a training process ended early (exit codes {codes}); run it again")


def _work(todo: list[Block], following: Any, parent: int) -> None:
    """What a process does: take the next block until none is left, or the parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        with following.get_lock():
            index, following.value = following.value, following.value + 1
        if index >= len(todo):
            return
        train_block(todo[index])


def train_block(block: Block) -> None:
    from mlpfit.training import train_into

    block.folder.mkdir(parents=True, exist_ok=True)
    train_into(block.folder, block.config, block.seeds, lambda step, loss: None)
    shutil.rmtree(block.folder / "checkpoints", ignore_errors=True)  # only for going on with an unfinished block
    runs.seal(block.folder, runs.identity(block.config))
    gc.collect()  # Trainer and module refer to each other; without this, memory grows for some blocks


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
