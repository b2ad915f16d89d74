"""The jobs of a sweep: what each was told, how it ended, and what it returned.

``sweep.json`` in the sweep's folder holds its swept keys and when it was started; ``job.json`` in
each job's folder, which is its run folder, the overrides and, where it failed, why.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config
from mlpfit.errors import Diverged, RunError, Stopped, one_line
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import identity, is_current
from mlpfit.runs.run import Run, load_run
from mlpfit.training.train import train

SWEEP, JOB = "sweep.json", "job.json"
UNKNOWN = "no exit status recorded: killed, or never started"


@dataclass(frozen=True)
class Job:
    """One job. identity: a hash of its run's; None if its config was refused."""

    number: int
    overrides: tuple[str, ...]
    started: str  # of the sweep
    identity: str | None
    failure: str | None = None

    def write(self, folder: Path) -> None:
        write_file(folder / JOB, json.dumps(asdict(self), indent=1).encode())

    def value_of(self, key: str) -> str:
        """What the job was given for a key; the last one counts."""
        values = [o.partition("=")[2] for o in self.overrides if o.partition("=")[0] == key]
        return values[-1] if values else ""

    def outcome(self, folder: Path) -> str:
        """Why the job is not done; empty if it is."""
        if self.failure is not None:
            return self.failure
        try:
            run = load_run(folder)
            run.check()
        except RunError as error:
            return str(error) if (folder / "complete.json").exists() else UNKNOWN
        return "" if _hash(run.identity) == self.identity else UNKNOWN


def write_sweep(
    folder: Path, keys: Sequence[str], started: str, searched: str | None = None
) -> None:
    """Note what is swept, when the command starts; searched: the number whose least is searched."""
    content = {"keys": list(keys), "started": started, "search": searched}
    write_file(folder / SWEEP, json.dumps(content, indent=1).encode())


def read_sweep(folder: Path) -> tuple[list[str], dict[Path, Job]]:
    """The swept keys, and the jobs of the sweep's last command in order, by folder."""
    try:
        content = json.loads((folder / SWEEP).read_bytes())
        jobs = {file.parent: _read(file) for file in folder.glob(f"*/{JOB}")}
        mine = {path: job for path, job in jobs.items() if job.started == content["started"]}
        return list(content["keys"]), dict(sorted(mine.items(), key=lambda item: item[1].number))
    except OSError:
        raise RunError(f"{folder}: no sweep here (no {SWEEP}); run it first") from None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{folder}: {SWEEP} or a {JOB} is damaged; run the sweep again") from None


def _read(file: Path) -> Job:
    content = json.loads(file.read_bytes())
    return Job(**content | {"overrides": tuple(content["overrides"])})


def planned(config: Config | None, settings: Any, started: str) -> Job:
    """The job that Hydra's settings (``hydra``) describe."""
    overrides = tuple(str(o) for o in settings.overrides.task)
    known = None if config is None else _hash(identity(config))
    return Job(int(settings.job.num), overrides, started, known)


def run_job(composed: Any, settings: Any) -> float:
    """Train a job of a sweep in its folder; what goes wrong is left there for the summary.

    Returns its number for a sweeper to minimise, infinite where it failed.
    """
    folder = Path(settings.runtime.output_dir)
    started = started_of(Path(settings.sweep.dir))
    job = planned(None, settings, started)
    try:
        config = checked_config(composed)
        job = planned(config, settings, started)
        job.write(folder)
        train(again_if_damaged(config, folder), folder)
        job.write(folder)  # the run has taken the folder's place
        return objective(load_run(folder), config.metric)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # a job must not take the others with it
        replace(job, failure=one_line(error)).write(folder)
        return float("inf")


def again_if_damaged(config: Config, folder: Path) -> Config:
    """The config, told to train again where there is a finished run with a damaged file."""
    if not is_current(config, folder):
        return config
    try:
        load_run(folder).check()
    except RunError:
        return replace(config, force=True)
    return config


def objective(run: Run, metric: str) -> float:
    """Median of a final number over the replicas, a diverged one counting as infinite."""
    return float(quantiles(run.final(metric), (0.5,))[0])


def diverged(failure: str) -> bool:
    """Whether a job failed because its loss became infinite."""
    return failure.startswith(Diverged.__name__)


def started_of(sweep: Path) -> str:
    return str(_noted(sweep, "started") or "")


def searched_in(sweep: Path) -> str | None:
    """The number whose least is searched; None in a sweep that is no search."""
    return _noted(sweep, "search")


def _noted(sweep: Path, key: str) -> Any:
    try:
        return json.loads((sweep / SWEEP).read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
