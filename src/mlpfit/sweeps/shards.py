"""The shards of ensembles as jobs of a multirun, whatever its launcher.

A job trains its shards into the ensemble's own unfinished folder, which all machines see; the
command then seals the ensemble as if it had been trained here. A shard that is finished is not
trained again, and one that is being trained is waited for, whoever trains it. The Hydra plugin
that uses this is ``hydra_plugins.mlpfit.sweepers.Shards``.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mlpfit.config.compose import checked_config, without_hydra
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, RunError, one_line
from mlpfit.runs.folder import HYDRA, remove_empty, remove_hydra_files, unfinished_folder
from mlpfit.runs.identity import is_current
from mlpfit.training.progress import console
from mlpfit.training.shard import Shard, shards
from mlpfit.training.train import check_by_trial

SECONDS = 5.0  # between two looks at what is finished


@dataclass(frozen=True)
class Ensemble:
    """One ensemble: its overrides, what Hydra composed of them, and its folder."""

    overrides: tuple[str, ...]
    composed: DictConfig
    config: Config
    folder: Path

    def shards(self, partial: Path) -> list[Shard]:
        return shards(self.config, partial)

    def ready(self, partial: Path) -> bool:
        """Whether all shards are finished in this folder."""
        return all(shard.finished for shard in self.shards(partial))

    def jobs(self, partial: Path, per_job: int) -> list[tuple[float, list[str]]]:
        """Predicted seconds and overrides of each job that is left."""
        missing = [(k, s) for k, s in enumerate(self.shards(partial)) if not s.finished]
        groups = [missing[i : i + per_job] for i in range(0, len(missing), per_job)]
        jobs = []
        for group in groups:
            only = f"ensemble.only=[{','.join(str(k) for k, _ in group)}]"
            jobs.append((sum(s.seconds for _, s in group), [*self.overrides, only]))
        return jobs


Unfinished = tuple[Ensemble, Path]  # and the folder in which it is to be finished


def ensembles(loader: Any, master: DictConfig, arguments: Sequence[str]) -> list[Ensemble]:
    """Those that a command names, in the order of their folders; each of as many replicas as its
    experiment asks for, where the command says nothing else. Raises ConfigError."""
    overrides = OverridesParser.create(loader).parse_overrides(list(arguments))
    counted = any(o.key_or_group in ("replicas", "seeds") for o in overrides)
    jobs = BasicSweeper.split_arguments(overrides, None)[0]
    if not counted:
        jobs = [[*job, "replicas=${ensemble.replicas}"] for job in jobs]
    named = []
    for job in jobs:
        composed = loader.load_sweep_config(master, list(job))
        folder = Path(str(composed.hydra.run.dir))
        named.append(Ensemble(tuple(job), composed, checked_config(composed), folder))
    return sorted(named, key=lambda ensemble: ensemble.folder)


def check(loader: Any, master: DictConfig, arguments: Sequence[str], keys: Sequence[str]) -> None:
    """Raises ConfigError for what can't be split into shards."""
    per_job = master.hydra.sweeper.shards_per_job
    if not isinstance(per_job, int) or per_job < 1:
        raise ConfigError(f"hydra.sweeper.shards_per_job={per_job}: must be a whole number above 0")
    if other := [key for key in keys if key != "experiment"]:
        raise ConfigError(
            f"{other[0]}: hydra/sweeper=shards sweeps experiment=... alone, since each experiment "
            "has one ensemble; give it one value"
        )
    named = ensembles(loader, master, arguments)
    if len({ensemble.folder for ensemble in named}) < len(named):
        raise ConfigError("hydra/sweeper=shards: two ensembles share a folder; name each once")
    for config in (ensemble.config for ensemble in named):
        if len(config.replica_seeds) == 1:
            raise ConfigError(
                f"hydra/sweeper=shards: {config.name} has one replica; say replicas=..."
            )
        if config.ensemble.only is not None:
            raise ConfigError("hydra/sweeper=shards: sets ensemble.only itself; leave it out")


def sweep(launcher: Launcher, loader: Any, master: DictConfig, arguments: Sequence[str]) -> None:
    """Train the ensembles. Raises RunError if shards are missing in the end."""
    named = ensembles(loader, master, arguments)
    with read_write(master), open_dict(master):  # a job's folder holds nothing
        master.hydra.overrides.hydra.append("hydra.output_subdir=null")
    reason = ""
    try:
        with ExitStack() as stack:
            unfinished = []
            for ensemble in named:
                if ensemble.config.force or not is_current(ensemble.config, ensemble.folder):
                    check_by_trial(ensemble.config)
                claim = unfinished_folder(ensemble.config, ensemble.folder, ensemble.ready)
                if partial := stack.enter_context(claim):
                    unfinished.append((ensemble, partial))
            with printing_progress(unfinished):
                reason = launch(launcher, unfinished, master.hydra.sweeper.shards_per_job)
            for ensemble, _ in unfinished:
                save_hydra_files(ensemble)
    finally:
        for ensemble in named:
            remove_hydra_files(ensemble.folder)
        for folder in Path(str(master.hydra.sweep.dir)).glob("*"):
            remove_empty(folder)
    if problems := [problem for ensemble in named if (problem := outcome(ensemble, reason))]:
        raise RunError("; ".join(problems))


def launch(launcher: Launcher, unfinished: Sequence[Unfinished], per_job: int) -> str:
    """Run the jobs that are left, those that take longest first. Returns why one failed, if any
    did.

    A launcher that loses all jobs with one (a worker of joblib's that is killed) is told of those
    that are left again, as long as every time some are finished.
    """
    first, reason, before = 0, "", -1
    while jobs := [job for e, partial in unfinished for job in e.jobs(partial, per_job)]:
        if len(jobs) == before:
            break
        jobs.sort(key=lambda job: -job[0])
        try:
            returns = launcher.launch([overrides for _, overrides in jobs], first)
        except Exception as error:  # of whatever kind launchers raise
            first, reason, before = first + len(jobs), one_line(error), len(jobs)
            continue
        failed = [r for r in returns if r.status == JobStatus.FAILED]
        return one_line(failed[0]._return_value) if failed else ""
    return reason


@contextmanager
def printing_progress(unfinished: Sequence[Unfinished]) -> Iterator[None]:
    """While the jobs run, wherever that is, say at every tenth how many shards are finished."""
    every = [shard for ensemble, partial in unfinished for shard in ensemble.shards(partial)]
    if not every:
        yield
        return
    before, ended = sum(shard.finished for shard in every), Event()
    console.print(f"{len(every)} shards, {len(every) - before} to be trained")

    def watch(printed: int) -> None:
        while not ended.wait(SECONDS):
            finished = sum(shard.finished for shard in every)
            if finished * 10 // len(every) > printed * 10 // len(every):
                printed = finished
                console.print(f"{finished} of {len(every)} shards finished")

    thread = Thread(target=watch, args=(before,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def outcome(ensemble: Ensemble, reason: str) -> str:
    """Say that an ensemble is complete; else why it is not."""
    count = len(ensemble.config.shard_seeds)
    if is_current(ensemble.config, ensemble.folder):
        console.print(f"{ensemble.folder}: complete, {count} shards", soft_wrap=True)
        return ""
    partial = ensemble.folder.with_name(ensemble.folder.name + ".partial")
    missing = sum(not shard.finished for shard in ensemble.shards(partial))
    problem = f"{missing} of {count} shards are missing" + (f" ({reason})" if reason else "")
    return f"{ensemble.folder}: {problem}; the same command trains those"


def save_hydra_files(ensemble: Ensemble) -> None:
    """What Hydra writes for a run: its config, overrides and settings."""
    folder = ensemble.folder / HYDRA
    folder.mkdir(parents=True, exist_ok=True)
    composed = ensemble.composed
    OmegaConf.save(without_hydra(composed), folder / "config.yaml")
    OmegaConf.save(OmegaConf.masked_copy(composed, ["hydra"]), folder / "hydra.yaml")
    OmegaConf.save(composed.hydra.overrides.task, folder / "overrides.yaml")
