"""A multirun: every combination of the values given, each job trained into a folder named by its
overrides.

    mlpfit -m experiment=parabola/eight_neurons optimizer.lr=0.005,0.02 replicas=64
    mlpfit -m sweep=parabola/learning_rate        # a ready one, conf/sweep/
    mlpfit -m ... hydra/launcher=joblib           # or submitit_slurm, ray, basic

Jobs go to outputs/sweeps/<sweep>/<job>/. A complete job is not run again, a failing one stops no
other; summary.csv and figure.svg show them all. Without a launcher named, jobs run in a few
processes here, those of one graph in succession.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from mlpfit.config.catalogue import CONF, choices, ready_sweep
from mlpfit.config.compose import compose, composing, quoted, searchpath_override
from mlpfit.config.names import REQUESTS, folder_name, job_name, told_apart_by
from mlpfit.config.schema import Config, parse
from mlpfit.errors import ConfigError, RunError, Stopped, one_line
from mlpfit.figures.sweep import checked_spec, draw_sweep
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import is_current
from mlpfit.runs.run import load_run
from mlpfit.sweeps import summary
from mlpfit.sweeps.answers import answer
from mlpfit.training.ensemble import blocks, cores
from mlpfit.training.processes import work
from mlpfit.training.progress import console, display
from mlpfit.training.train import train

FAILURE = "failure.txt"
UNKNOWN = "no exit status recorded: killed, or never started"
STARTING = 4.0  # seconds for a process to import torch and Lightning
COMPILING = 0.5  # seconds for a kernel
MOST_JOBS = 10_000


@dataclass(frozen=True)
class Job:
    """One combination of values: its swept keys and its config."""

    swept: dict[str, str]
    config: Config

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.swept.items()) or self.config.name

    def failure(self) -> str:
        """Why the job is not done; empty if it is."""
        file = Path(self.config.output_dir) / FAILURE
        if file.is_file():
            return file.read_text()
        if not is_current(self.config):
            return UNKNOWN
        try:
            load_run(self.config.run_dir).check()
        except RunError as error:
            return str(error)
        return ""

    def task(self) -> Config:
        """What trains the job: from the beginning where there is a finished run, which is then
        damaged."""
        return replace(self.config, force=self.config.force or is_current(self.config))


def sweep(arguments: Sequence[str]) -> int:
    """Run the multirun of these command-line arguments. Returns 1 if a job failed.

    Raises ConfigError if the arguments are wrong, or those of any job.
    """
    started = time.time()
    ready, given = expand_ready([a for a in arguments if a not in ("-m", "--multirun")])
    given = without_globs(given)
    launchers = [a for a in given if a.startswith("hydra/launcher=")]
    settings = [a for a in given if a.startswith("hydra") and not a.startswith("hydra/launcher=")]
    if settings and not (launchers and all(a.startswith("hydra.launcher.") for a in settings)):
        raise ConfigError(
            f"{settings[0]}: of Hydra's own settings, hydra/launcher=basic, joblib, submitit_slurm or ray can be given "
            "and the launcher's own, hydra.launcher.*; results go under output_dir"
        )
    jobs, folder = plan([a for a in given if not a.startswith("hydra")], ready)
    left = [job.task() for job in jobs if job.config.force or job.failure()]
    for config in left:
        (Path(config.output_dir) / FAILURE).unlink(missing_ok=True)
    if left and launchers:
        console.print(
            f"{folder}: {len(jobs)} jobs, {len(left)} to train, {launchers[0]}", soft_wrap=True
        )
        launch(given, folder, jobs)
    elif left:
        run_here(left, folder, len(jobs))
    failures = [job.failure() for job in jobs]
    rows = summary.write(
        folder, [job.swept for job in jobs], [job.config for job in jobs], failures, ready
    )
    console.print(closing_table(rows, list(jobs[0].swept)))
    if sentence := answer(ready or "", rows):
        console.print(sentence)
    console.print(
        f"{folder}/summary.csv, {draw_sweep(folder)} ({time.time() - started:.0f} s)",
        soft_wrap=True,
    )
    failed = [(job, cause) for job, cause in zip(jobs, failures, strict=True) if cause]
    for job, cause in failed:
        print(f"mlpfit: {job}: {cause}", file=sys.stderr)
    if failed:
        print(
            f"mlpfit: {len(failed)} of {len(jobs)} jobs failed; the same command runs them again",
            file=sys.stderr,
        )
    return 1 if failed else 0


def expand_ready(overrides: list[str]) -> tuple[str | None, list[str]]:
    """A ready sweep's name and overrides in place of sweep=<name>. What else is given comes after
    and wins; it makes another sweep, without the name."""
    names = [o.removeprefix("sweep=") for o in overrides if o.startswith("sweep=")]
    others = [o for o in overrides if not o.startswith("sweep=")]
    if not names:
        return None, overrides
    if len(names) > 1:
        raise ConfigError(f"sweep={names[1]}: one sweep at a time")
    whole = all(o.startswith(REQUESTS) for o in others)
    return names[0] if whole else None, [*ready_sweep(names[0])["overrides"], *others]


def plan(overrides: list[str], ready: str | None) -> tuple[list[Job], Path]:
    """All jobs of a sweep and its folder. Raises ConfigError if the overrides can't be read or give
    no job, or if the config of any job is not allowed."""
    keys, combined = combinations(overrides)
    if not combined:
        raise ConfigError("the sweep has no jobs: every key needs at least one value")
    if requests := [key for key in keys if f"{key}=".startswith(REQUESTS)]:
        raise ConfigError(f"{requests[0]}: decides nothing in a job's results; give it one value")
    if ready:
        checked_spec(ready, keys)
    if not any(o.startswith("experiment=") for o in overrides):
        raise ConfigError("experiment=...: say which one is swept")
    values = {o.partition("=")[0]: o.partition("=")[2] for o in combined[0]}
    fixed = [f"{key}={value}" for key, value in values.items() if key not in keys]
    words = ["+".join(keys) or "one", *told_apart_by(fixed)]
    name = (
        ready
        or f"{values['experiment']}/{folder_name(words, hashlib.sha256(repr(words).encode()).hexdigest())}"
    )
    jobs = []
    for combination in combined:
        swept = {
            key: value for key, _, value in (o.partition("=") for o in combination) if key in keys
        }
        config = compose(combination)
        folder = Path(config.output_dir) / "sweeps" / name
        jobs.append(
            Job(swept, replace(config, output_dir=str(folder / job_name(combination, config))))
        )
    return jobs, folder


def combinations(overrides: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The swept keys and every combination of their values, each once, as Hydra's own sweeper makes
    them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with composing(CONF) as loader:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
        check_number(parsed)
        combined = BasicSweeper.split_arguments(parsed, None)[0]
    last = {o.get_key_element(): o for o in parsed}  # a key given twice
    return [key for key, o in last.items() if o.is_sweep_override()], list(
        dict.fromkeys(map(tuple, combined))
    )


class Choices:
    """What glob chooses from: Hydra itself would look into no folder, and experiments lie in
    folders."""

    def get_group_options(self, group: str, results_filter: Any = None) -> list[str]:
        return choices(group)


def without_globs(overrides: list[str]) -> list[str]:
    """The overrides with the choices of every glob written out. Raises ConfigError if one finds
    nothing."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    with composing(CONF):
        parsed = OverridesParser.create(config_loader=Choices()).parse_overrides(overrides)  # type: ignore[arg-type]
    written = []
    for override in parsed:
        found = override.input_line
        if isinstance(override.value(), Glob):
            group = override.key_or_group
            if not (chosen := list(override.sweep_string_iterator())):
                raise ConfigError(f"{found}: finds none of {', '.join(choices(group)) or 'none'}")
            found = f"{group}={','.join(chosen)}"
        written.append(str(found))
    return written


def check_number(parsed: Sequence[Any]) -> None:
    """Raises ConfigError beyond ``MOST_JOBS``, before they are written out."""
    jobs = 1
    for override in parsed:
        if override.is_sweep_override():
            jobs *= sum(1 for _ in islice(override.sweep_string_iterator(), MOST_JOBS + 1))
        if jobs > MOST_JOBS:
            raise ConfigError(
                f"{override.input_line}: that makes more than {MOST_JOBS} jobs; split the sweep"
            )


def run_here(configs: list[Config], folder: Path, jobs: int) -> None:
    """Train in processes of this machine, those of one graph in succession, the longest graphs
    first."""
    groups: dict[str, list[Config]] = {}
    for config in configs:
        groups.setdefault(_graph(config), []).append(config)
    spent = {
        key: sum(map(seconds, group)) + COMPILING * group[0].worth_compiling
        for key, group in groups.items()
    }
    ordered = [
        config for key in sorted(groups, key=lambda key: -spent[key]) for config in groups[key]
    ]
    processes = min(
        configs[0].ensemble.processes or cores(),
        max(1, round(sum(spent.values()) / STARTING)),
        len(configs),
    )
    predicted = STARTING + sum(spent.values()) / processes
    console.print(
        f"{folder}: {jobs} jobs, {jobs - len(configs)} need no training, {len(configs)} in {processes} processes: "
        f"about {predicted:.0f} s",
        soft_wrap=True,
    )
    tasks = [replace(config, ensemble=replace(config.ensemble, processes=1)) for config in ordered]
    with display(runs=1) as shown, shown.jobs(len(tasks)) as ended:

        def done(index: int, failure: str | None) -> None:
            if failure is not None:
                write_file(Path(tasks[index].output_dir) / FAILURE, failure.encode())
            ended()

        work(train_job, tasks, processes, done)


def seconds(config: Config) -> float:
    """Predicted for one job and its files."""
    if config.worth_compiling:
        return sum(block.seconds for block in blocks(config, Path()))
    return 0.5 + config.plain_seconds


def _graph(config: Config) -> str:
    """Jobs that share it share a compiled graph: shapes and formulas, not the learning rate."""
    momentum = getattr(config.optimizer, "momentum", 0) > 0
    rows = config.data.batch_size or config.rows
    shapes = config.units, rows, len(config.replica_seeds), config.trainer.precision
    return repr((shapes, config.model.gradient, config.loss, config.optimizer.name, momentum))


def train_job(config: Config) -> None:
    """Train one job, in whatever process; what goes wrong is left in its folder for the sweep to
    report."""
    try:
        train(config)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # a job must not take the others with it
        write_file(Path(config.output_dir) / FAILURE, one_line(error).encode())


def launch(overrides: list[str], folder: Path, jobs: list[Job]) -> None:
    """Run the jobs through Hydra's launcher. Joblib gives up when one of its processes is killed:
    the jobs it leaves are then run in processes of this machine, as it would have done."""
    refuse_foreign_objects(overrides)
    own = [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=.", *searchpath_override()]
    argv, sys.argv = sys.argv, [sys.argv[0], "-m", *overrides, *own]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes a launcher starts
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(
        hydra_job
    )
    try:
        application()
    except SystemExit as stopped:  # Hydra has said why
        if stopped.code not in (0, 1, None):
            raise
    finally:
        sys.argv = argv
    left = [job.config for job in jobs if job.failure() == UNKNOWN]
    if left and "hydra/launcher=joblib" in overrides:
        run_here(left, folder, len(jobs))


def refuse_foreign_objects(overrides: list[str]) -> None:
    """Hydra makes whatever object its own settings name, callbacks for example; an experiment file
    may set them. Raises ConfigError unless all are Hydra's and its plugins'."""
    from hydra import compose as hydra_compose

    single = list(combinations([o for o in overrides if not o.startswith("hydra")])[1][0])
    with composing(CONF):
        given = [*single, *(o for o in overrides if o.startswith("hydra")), *searchpath_override()]
        composed = hydra_compose("config", overrides=given, return_hydra_config=True)
        settings = OmegaConf.to_container(composed.hydra, resolve=False)
    for key, name in _objects(settings, "hydra"):
        if not str(name).startswith(("hydra._internal.", "hydra_plugins.")):
            raise ConfigError(
                f"{key}={name}: allowed are Hydra's own objects and those of its plugins"
            )


def _objects(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == "_target_":
            yield f"{key}._target_", value
        else:
            yield from _objects(value, f"{key}.{name}")


def hydra_job(composed: DictConfig) -> None:
    """One job of a launcher: its config is the one the sweep has planned."""
    settings = HydraConfig.get()
    config = parse({str(k): v for k, v in OmegaConf.to_container(composed, resolve=True).items()})  # type: ignore[union-attr]
    folder = Path(settings.sweep.dir) / job_name(list(settings.overrides.task), config)
    train_job(replace(config, output_dir=str(folder)))


def closing_table(rows: list[dict[str, str]], keys: list[str]) -> Table:
    table = Table(
        *keys,
        "replicas",
        "diverged",
        "mse, median (5 to 95 %)",
        "seconds",
        box=None,
        pad_edge=False,
    )
    for row in rows:
        if row["failure"]:
            cells = ["", "", "failed", ""]
        else:
            low, middle, high = (f"{float(row[f'mse_{q}']):.4g}" for q in ("p5", "median", "p95"))
            lost = f"{float(row['diverged']):.0%}"
            cells = [
                row["replicas"],
                lost,
                f"{middle} ({low} to {high})",
                f"{float(row['seconds']):.1f}",
            ]
        table.add_row(*(row[key] for key in keys), *cells)
    return table
