"""The shards of ensembles as jobs of a multirun with any launcher.

A job trains its shards into the ensemble's unfinished folder, on a file system that all machines
share; then the command seals the ensemble as if it had been trained here. Finished shards are not
trained again; for a shard in training, the lock makes a job wait. It is used by the Hydra plugin
``hydra_plugins.mlpfit.sweepers.Shards``.
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
from mlpfit.files import naming_file
from mlpfit.runs.folder import (
    HYDRA,
    remove_empty,
    remove_hydra_files,
    unfinished_path,
)
from mlpfit.runs.identity import is_current
from mlpfit.sweeps.jobs import import_for_jobs
from mlpfit.training.duration import predicted_seconds
from mlpfit.training.progress import console
from mlpfit.training.shard import Shard, shards
from mlpfit.training.train import claimed, must_train

POLL_SECONDS = 5.0  # between two counts of the finished shards


@dataclass(frozen=True)
class Ensemble:
    """One ensemble: its overrides, what Hydra composed of them, its config and its folder."""

    overrides: tuple[str, ...]
    composed: DictConfig
    config: Config
    folder: Path

    def shards(self, partial: Path) -> list[Shard]:
        return shards(self.config, partial)

    def all_finished(self, partial: Path) -> bool:
        """Whether all shards in this folder are finished."""
        return all(shard.finished for shard in self.shards(partial))

    def jobs(self, partial: Path, per_job: int) -> list[tuple[float, list[str]]]:
        """Predicted seconds and overrides of each remaining job."""
        missing = [(k, s) for k, s in enumerate(self.shards(partial)) if not s.finished]
        groups = [missing[i : i + per_job] for i in range(0, len(missing), per_job)]
        jobs = []
        for group in groups:
            only = f"ensemble.only=[{','.join(str(k) for k, _ in group)}]"
            jobs.append((sum(predicted_seconds(s) for _, s in group), [*self.overrides, only]))
        return jobs


Unfinished = tuple[Ensemble, Path]  # an ensemble and its unfinished folder


def ensembles(loader: Any, master: DictConfig, arguments: Sequence[str]) -> list[Ensemble]:
    """The ensembles of a command, sorted by folder. The number of replicas is the experiment's
    ``ensemble.replicas``, unless overridden. Raises ConfigError."""
    overrides = OverridesParser.create(loader).parse_overrides(list(arguments))
    jobs = BasicSweeper.split_arguments(overrides, None)[0]
    if not any(o.key_or_group in ("replicas", "seeds") for o in overrides):
        jobs = [[*job, "replicas=${ensemble.replicas}"] for job in jobs]
    all_ensembles = []
    for job in jobs:
        composed = loader.load_sweep_config(master, list(job))
        folder = Path(str(composed.hydra.run.dir))
        all_ensembles.append(Ensemble(tuple(job), composed, checked_config(composed), folder))
    return sorted(all_ensembles, key=lambda ensemble: ensemble.folder)


def check_ensembles(
    loader: Any, master: DictConfig, arguments: Sequence[str], keys: Sequence[str]
) -> None:
    """Raises ConfigError for a command that can't be split into shards."""
    per_job = master.hydra.sweeper.shards_per_job
    if not isinstance(per_job, int) or per_job < 1:
        raise ConfigError(f"hydra.sweeper.shards_per_job={per_job}: must be a whole number above 0")
    if other := [key for key in keys if key != "experiment"]:
        raise ConfigError(
            f"{other[0]}: hydra/sweeper=shards sweeps experiment=... only, since each experiment "
            "has one ensemble; give it one value"
        )
    selected = ensembles(loader, master, arguments)
    if len({ensemble.folder for ensemble in selected}) < len(selected):
        raise ConfigError("hydra/sweeper=shards: two ensembles share a folder; name each once")
    for config in (ensemble.config for ensemble in selected):
        if len(config.replica_seeds) == 1:
            raise ConfigError(
                f"hydra/sweeper=shards: {config.name} has one replica; set replicas=..."
            )
        if config.ensemble.only is not None:
            raise ConfigError("hydra/sweeper=shards: sets ensemble.only itself; leave it out")


def sweep(launcher: Launcher, loader: Any, master: DictConfig, arguments: Sequence[str]) -> None:
    """Train the ensembles. Raises RunError if shards are missing at the end."""
    selected = ensembles(loader, master, arguments)
    with read_write(master), open_dict(master):  # keep the jobs' own folders empty
        master.hydra.overrides.hydra.append("hydra.output_subdir=null")
    reason = ""
    try:
        with ExitStack() as stack:
            unfinished = []
            for ensemble in selected:
                config, folder = ensemble.config, ensemble.folder
                if must_train(config, folder):
                    claim = claimed(config, folder, ensemble.all_finished)
                    if partial := stack.enter_context(claim):
                        unfinished.append((ensemble, partial))
            if unfinished:
                import_for_jobs()
            with printing_progress(unfinished):
                reason = launch(launcher, unfinished, master.hydra.sweeper.shards_per_job)
            for ensemble, partial in unfinished:
                if ensemble.all_finished(partial):
                    save_hydra_files(ensemble)
    finally:
        for ensemble in selected:
            remove_hydra_files(ensemble.folder)
        for folder in Path(str(master.hydra.sweep.dir)).glob("*"):
            remove_empty(folder)
    outcomes = [report_outcome(ensemble, reason) for ensemble in selected]
    if problems := [outcome for outcome in outcomes if outcome]:
        raise RunError("; ".join(problems))


def launch(launcher: Launcher, unfinished: Sequence[Unfinished], per_job: int) -> str:
    """Run the remaining jobs, the longest first. Returns why one failed, or "".

    A launcher may lose all jobs with one (joblib, if a worker is killed). It then gets the
    remaining jobs again, as long as each time some have been finished.
    """
    first, reason, before = 0, "", -1
    while jobs := [job for e, partial in unfinished for job in e.jobs(partial, per_job)]:
        if len(jobs) == before:
            break
        jobs.sort(key=lambda job: -job[0])
        try:
            returns = launcher.launch([overrides for _, overrides in jobs], first)
        except Exception as error:  # launchers raise any kind
            first, reason, before = first + len(jobs), one_line(error), len(jobs)
            continue
        failed = [r for r in returns if r.status == JobStatus.FAILED]
        return one_line(failed[0]._return_value) if failed else ""
    return reason


@contextmanager
def printing_progress(unfinished: Sequence[Unfinished]) -> Iterator[None]:
    """While the jobs run, on any machine, print each tenth of the shards that is finished."""
    all_shards = [shard for ensemble, partial in unfinished for shard in ensemble.shards(partial)]
    if not all_shards:
        yield
        return
    before, ended = sum(shard.finished for shard in all_shards), Event()
    console.print(f"{len(all_shards)} shards, {len(all_shards) - before} to be trained")

    def watch(printed: int) -> None:
        while not ended.wait(POLL_SECONDS):
            finished, count = sum(shard.finished for shard in all_shards), len(all_shards)
            if finished * 10 // count > printed * 10 // count:
                printed = finished
                console.print(f"{finished} of {count} shards finished")

    thread = Thread(target=watch, args=(before,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def report_outcome(ensemble: Ensemble, reason: str) -> str:
    """Print that an ensemble is complete and return ""; else return why it is not."""
    count = len(ensemble.config.shard_seeds)
    if is_current(ensemble.config, ensemble.folder):
        console.print(f"{ensemble.folder}: complete, {count} shards", soft_wrap=True)
        return ""
    partial = unfinished_path(ensemble.folder)
    missing = sum(not shard.finished for shard in ensemble.shards(partial))
    problem = f"{missing} of {count} shards are missing" + (f" ({reason})" if reason else "")
    return f"{ensemble.folder}: {problem}; the same command trains those"


def save_hydra_files(ensemble: Ensemble) -> None:
    """Write the files that Hydra writes for a run: its config, overrides and settings."""
    folder = ensemble.folder / HYDRA
    folder.mkdir(parents=True, exist_ok=True)
    composed = ensemble.composed
    with naming_file(folder):
        OmegaConf.save(without_hydra(composed), folder / "config.yaml")
        OmegaConf.save(OmegaConf.masked_copy(composed, ["hydra"]), folder / "hydra.yaml")
        OmegaConf.save(composed.hydra.overrides.task, folder / "overrides.yaml")
