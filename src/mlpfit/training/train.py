"""Train the run of a config, with one or many replicas.

An ensemble is split into shards, trained in parallel processes, each with its own seeds and folder.
So a killed ensemble resumes with the missing shards, and memory does not grow with the number of
replicas.
"""

import gc
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlpfit.config.schema import Config
from mlpfit.data.streams import streams
from mlpfit.errors import ConfigError, Diverged, RunError, as_config_error
from mlpfit.processes import Workers, cores, run_tasks, send_message
from mlpfit.runs.folder import (
    check_log_folders,
    discard_unfinished,
    join_unfinished,
    locked,
    note_failure,
    seal,
    unfinished_folder,
)
from mlpfit.runs.identity import identity, is_current
from mlpfit.runs.removal import check_replaceable
from mlpfit.runs.run import load_run
from mlpfit.training.duration import predicted_seconds
from mlpfit.training.progress import Bar, OnStep, display
from mlpfit.training.shard import Shard, shards


def must_train(config: Config, folder: Path) -> bool:
    """Whether the run of this config has to be trained: False if it is finished in the folder.

    Before anything is created, raises ConfigError or RunError for what only a trial shows: a folder
    that holds something else, a target that fails on the first replica, a checkpoint of another
    model, and a Trainer, callbacks or loggers that can't be made.
    """
    if not config.force and is_current(config, folder):
        return False
    check_replaceable(folder, Path(config.output_dir))
    if not config.train and folder.resolve() in Path(config.ckpt_path or "").resolve().parents:
        raise ConfigError(
            f"ckpt_path={config.ckpt_path}: its evaluation would replace the run in {folder}; "
            "give it another output_dir"
        )
    try_target(config)
    check_log_folders(config.logger)
    try_additions(config)
    if config.ckpt_path is not None:
        from mlpfit.training.trainer import checkpoint_of_config

        checkpoint_of_config(Shard(config, config.shard_seeds[0], Path()).config)
    return True


def try_additions(config: Config) -> None:
    """Raises ConfigError for callbacks, loggers or arguments of the Trainer with which none can be
    made."""
    standard = config.trainer.arguments == {"devices": 1} and config.trainer.accelerator == "cpu"
    if not standard or config.callbacks or config.logger.keys() - {"tensorboard"}:
        from mlpfit.training.trainer import try_trainer

        try_trainer(config)


def try_target(config: Config) -> None:
    """Draw the rows of the first replica. Raises ConfigError for a target that fails."""
    with as_config_error(f"target {config.target.name}"):
        config.target.rows(streams(config.replica_seeds[0], config.streams).data)


def train(
    config: Config, folder: Path | None = None, on_step: OnStep = lambda step, loss: None
) -> bool:
    """Train the run of this config into a folder (default: config.folder) unless the same run is
    finished there; with ``ensemble.only`` these shards of it. Returns whether anything was trained.

    An interrupted run of the same identity resumes from its last checkpoint, an ensemble with its
    missing shards. Raises what :func:`must_train` and :func:`finish` raise.
    """
    final = folder or config.folder
    return must_train(config, final) and finish(config, final, on_step)


def finish(config: Config, final: Path, on_step: OnStep = lambda step, loss: None) -> bool:
    """Begin or resume a run that :func:`must_train` has found missing in this folder. Returns
    whether anything was trained: another process may have finished it meanwhile.

    Raises RunError if there is an interrupted run of another identity, Diverged if the loss of a
    single run is not finite.
    """
    if config.ensemble.only is not None:
        finish_some(config, final)
        return True
    with claimed(config, final) as partial:
        if partial is None:
            return False
        try:
            _fill(config, partial, on_step)
        except BaseException as error:
            discard_unfinished(partial, always=isinstance(error, ConfigError | Diverged))
            if isinstance(error, RunError | OSError | MemoryError):  # it was not interrupted
                note_failure(partial)
            raise
    return True


def finish_some(config: Config, final: Path) -> None:
    """Train only the shards named by ``ensemble.only``, while other processes may train others. A
    later training of the whole ensemble finishes it."""
    whole = replace(config, ensemble=replace(config.ensemble, only=None))
    partial = join_unfinished(final, identity(whole), Path(config.output_dir))
    all_shards = shards(whole, partial)
    named = [all_shards[k] for k in config.ensemble.only or ()]
    train_shards(named, whole.ensemble.processes or 1, lambda share: None)


@contextmanager
def claimed(
    config: Config, final: Path, is_complete: Callable[[Path], bool] = Path.is_dir
) -> Iterator[Path | None]:
    """The folder in which to finish the run of this config, locked, or None if it is finished:
    :func:`mlpfit.runs.folder.unfinished_folder` with the config's identity."""
    place = identity(config), Path(config.output_dir)
    with unfinished_folder(final, *place, force=config.force, is_complete=is_complete) as partial:
        yield partial


def train_runs(configs: Sequence[Config], workers: Workers | None = None) -> list[Config]:
    """Train those of these runs that are not finished, in parallel processes, one per core, and
    display their progress. workers: idle processes to use first, and afterwards those that are
    left. Returns those runs.

    Raises ConfigError before anything is created, RunError if some fail, after all others are done.
    """
    missing = [config for config in configs if must_train(config, config.folder)]
    order = sorted(missing, key=lambda config: -config.operations * config.steps)
    failures: list[str] = []
    if not order:
        return []
    with display(len(order)) as shown:
        if len(order) == 1 and not workers:
            bar = shown.add_run(order[0].name, order[0].steps)
            finish(order[0], order[0].folder, bar)
            bar.end(load_run(order[0].folder).provenance["seconds"])
            return order
        bars: dict[int, Bar] = {}

        def on_message(index: int, step: int, loss: float) -> None:
            if index not in bars:
                bars[index] = shown.add_run(order[index].name, order[index].steps)
            bars[index](step, loss)

        def on_end(index: int, failure: str | None) -> None:
            if failure is None:
                bars[index].end(load_run(order[index].folder).provenance["seconds"])
            else:
                failures.append(f"{order[index].name}: {failure}")

        run_tasks(_run_task, order, cores(), on_end, workers, on_message)
    if failures:
        raise RunError("; ".join(failures))
    return order


def _run_task(config: Config) -> None:
    send_message(0, math.nan)
    finish(config, config.folder, send_message)


def _fill(config: Config, partial: Path, on_step: OnStep) -> None:
    """Train all replicas of the run into its unfinished folder."""
    if config.single:
        from mlpfit.training.run import train_replicas

        return train_replicas(Shard(config, config.replica_seeds, partial), on_step)
    todo = shards(config, partial)
    seconds = sum(map(predicted_seconds, todo))  # starting a process takes five
    processes = config.ensemble.processes or (cores() if seconds > 20 else 1)
    if multiprocessing.parent_process() is not None:  # it runs beside others
        processes = 1
    steps = config.steps
    return train_shards(todo, processes, lambda share: on_step(round(share * steps), math.nan))


def train_shards(
    todo: Sequence[Shard],
    processes: int,
    on_progress: Callable[[float], None],
    seconds: Callable[[Shard], float] = predicted_seconds,
    workers: Workers | None = None,
) -> None:
    """Train the shards that are not finished; on_progress is called with the share done, in which
    a shard counts as much as its seconds. workers: idle processes of :func:`measure`. Raises
    RunError if a shard fails, after all others are done."""
    missing = sorted((s for s in todo if not s.finished), key=seconds, reverse=processes > 1)
    whole = sum(map(seconds, todo)) or 1.0
    done = {shard.folder: seconds(shard) for shard in todo if shard.finished}
    failures: list[str] = []

    def on_message(index: int, step: int, loss: float) -> None:
        shard = missing[index]
        done[shard.folder] = seconds(shard) * min(step / max(shard.whole.steps, 1), 0.99)
        on_progress(sum(done.values()) / whole)

    def on_end(index: int, failure: str | None) -> None:
        shard = missing[index]
        if failure is not None:
            failures.append(f"{shard.folder}: {failure}; run it again")
            return
        done[shard.folder] = seconds(shard)
        on_progress(sum(done.values()) / whole)

    if min(processes, len(missing)) <= 1 and not workers:
        for index, shard in enumerate(missing):
            try:
                _train_shard(shard, partial(on_message, index))
                on_end(index, None)
            except RunError as error:
                on_end(index, str(error))
    else:
        tasks = [(shard, False) for shard in missing]
        run_tasks(_shard_task, tasks, processes, on_end, workers, on_message)
        for process, pipe in workers or ():
            pipe.close()
            process.join()
    if failures:
        raise RunError(failures[0])


def measure(chosen: Sequence[Shard], processes: int, workers: Workers) -> dict[str, float]:
    """How many times longer than predicted_seconds these shards take in that many processes, which
    are then left in ``workers``: experiment -> factor; empty if one of them is unknown."""
    factors: dict[str, float] = {}

    def on_message(index: int, factor: float) -> None:
        factors[chosen[index].whole.name] = factor

    tasks = [(shard, True) for shard in chosen]
    run_tasks(_shard_task, tasks, processes, lambda index, failure: None, workers, on_message)
    is_known = len(factors) == len(chosen) and all(map(math.isfinite, factors.values()))
    return factors if is_known else {}


def _shard_task(task: tuple[Shard, bool]) -> None:
    shard, is_measured = task
    if is_measured:
        from mlpfit.training.duration import slowness

        return send_message(slowness(shard))
    return _train_shard(shard, send_message)


def _train_shard(shard: Shard, on_step: OnStep) -> None:
    """Train a shard, unless another process has meanwhile finished it or the ensemble."""
    from mlpfit.training.run import train_replicas

    with locked(shard.folder, Path(shard.whole.output_dir)):
        if shard.finished or not shard.folder.parents[1].is_dir():
            return
        shard.folder.mkdir(parents=True, exist_ok=True)
        train_replicas(shard, on_step)
        for file in (shard.folder / "checkpoints").glob("*.ckpt"):  # needed only to resume
            file.unlink()
        with suppress(OSError):  # not there, or a callback has written others
            (shard.folder / "checkpoints").rmdir()
        seal(shard.folder, identity(shard.whole))
    # Trainer and module are a reference cycle, so memory would grow. Both are young: collecting
    # all generations takes a fifth of a second.
    gc.collect(1)
