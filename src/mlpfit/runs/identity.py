"""Identity of a run: what decides its numbers, and so what makes it train again.

These are the recipe, which is every field of :mod:`mlpfit.config.schema` that does not declare that
it decides nothing; the code that computes; the target's code and rows; classes of a tutorial's that
the config names; a checkpoint to go on from; and the versions of three packages. A folder whose
finished run has another identity is trained again.
"""

import ast
import hashlib
import inspect
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_published
from mlpfit.config.schema import NAMING_SECTIONS, Config, import_paths, keys_deciding
from mlpfit.data.targets import Source
from mlpfit.errors import RunError
from mlpfit.runs.provenance import version_of
from mlpfit.runs.run import SEEDS, Run, differences, load_run

COMPUTING_PACKAGES = ("torch", "lightning", "numpy")
COMPUTING_FOLDERS = ("data", "model", "engine", "training")  # their code decides a run's numbers
NOT_COMPUTING = tuple(f"training/{name}.py" for name in ("duration", "progress", "train"))


def published_run(experiment: str, outputs: Path, kind: str = "runs") -> Run:
    """The finished run (kind "ensembles": the ensemble) of a published experiment. Raises RunError
    if it is missing, damaged or of another recipe, what is recorded and ensembles' seeds apart."""
    path = outputs / kind / experiment
    run = load_run(path)
    if differing := recipe_differences(run, as_published(experiment), seeds=kind == "runs"):
        command = f"mlpfit {'reproduce' if kind == 'runs' else 'ensembles'} {experiment}"
        raise RunError(
            f"{path}: not the run that experiment={experiment} describes ({'; '.join(differing)}): "
            f"{command} trains that again; train yours with another output_dir"
        )
    return run


def recipe_differences(run: Run, config: Config, seeds: bool = False) -> list[str]:
    """Differences of a run's recipe and target code from the config's, as "optimizer.lr: 0.01, now
    0.02", without those of what is recorded and, unless seeds, of the seeds."""
    differing = differences(run.identity["recipe"], config.recipe())
    if run.identity.get("target") != target_hash(config.target):
        files = " or ".join(map(str, target_files(config.target)))
        differing.append(f"{files} has changed")
    if run.identity.get("own") != own_code(config).get("own"):
        differing.append("the code of its own classes has changed")
    incidental = unimportant() + (() if seeds else SEEDS)
    return [difference for difference in differing if not difference.startswith(incidental)]


def departure(run: Run) -> str | None:
    """That the folder of a published run or ensemble now holds this one, of another recipe, and
    which command undoes it; None if it does not."""
    name, folder = run.config["name"], Path(os.path.relpath(run.path))
    kind, command = ("runs", "reproduce") if run.replicas == 1 else ("ensembles", "ensembles")
    if folder != Path("outputs") / kind / name or name not in experiments():
        return None
    if not (differing := recipe_differences(run, as_published(name), seeds=run.replicas == 1)):
        return None
    return (
        f"{folder} now holds another recipe than experiment={name} "
        f"({'; '.join(differing)}): mlpfit {command} {name} trains that again; "
        "output_dir=... keeps both"
    )


def replicas_to_lose(config: Config, folder: Path) -> int | None:
    """How many replicas of the same recipe the folder holds, if they are more than this config has;
    None otherwise."""
    if config.single:
        return None
    try:
        run = load_run(folder)
    except RunError:  # none, or damaged
        return None
    fewer = len(config.replica_seeds) < run.replicas
    return run.replicas if fewer and not recipe_differences(run, config) else None


def unimportant() -> tuple[str, ...]:
    """Beginnings of differences that are none of the numbers: of what is recorded, or of
    nothing."""
    return tuple(key + end for key in keys_deciding("recording", "nothing") for end in ".:")


def identity(config: Config) -> dict[str, Any]:
    """Recipe, hashes of the code and versions of the packages; equal for equal runs."""
    return {
        "recipe": config.recipe(),
        "code": computing_code(),
        "target": target_hash(config.target),
        "packages": {name: version_of(name) for name in COMPUTING_PACKAGES},
        **own_code(config),
        **checkpoint_hash(config),
    }


def computing_files() -> list[Path]:
    """The code that decides a run's numbers, kernels included."""
    folders = [Path(__file__).parents[1] / folder for folder in COMPUTING_FOLDERS]
    files = [f for suffix in ("*.py", "*.h") for folder in folders for f in folder.rglob(suffix)]
    return sorted(f for f in files if not str(f).endswith(NOT_COMPUTING))


@cache
def computing_code() -> str:
    """Hash of :func:`computing_files`, as they are when this process first asks for it."""
    return _hash(computing_files())


def fingerprint(config: Config, seeds: Sequence[int]) -> str:
    """Hash of the identity of a config's run and the seeds of some of its replicas, which
    identifies the checkpoints of their training."""
    content = json.dumps([identity(config), list(seeds)])
    return hashlib.sha256(content.encode()).hexdigest()


def own_code(config: Config) -> dict[str, str]:
    """Hash of the files of tutorials whose classes the config names, and of those beside them that
    they import; none of a config that names no class of a tutorial's."""
    plain = config.plain()
    paths = [path for key in NAMING_SECTIONS for path in import_paths(plain[key])]
    files: set[Path] = set()
    for tutorial in tutorials():
        for path in paths:
            if path.startswith(f"{tutorial.package}."):
                module = path.removeprefix(f"{tutorial.package}.").partition(".")[0]
                files |= _with_imported(tutorial.folder / f"{module}.py")
    return {"own": _hash(sorted(files))} if files else {}


def _with_imported(file: Path, found: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """The file, and those of its folder that it imports, directly or not."""
    if file in found or not file.is_file():
        return found
    found |= {file}
    for node in ast.walk(ast.parse(file.read_bytes())):
        names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        names.append(getattr(node, "module", None) or "")
        for name in {part for dotted in names for part in dotted.split(".")}:
            found = _with_imported(file.parent / f"{name}.py", found)
    return found


def checkpoint_hash(config: Config) -> dict[str, str]:
    """The content of the checkpoint from which a run goes on, since its file may be replaced."""
    if config.ckpt_path is None:
        return {}
    return {"checkpoint": _hash([Path(config.ckpt_path)])}


def target_files(target: Source) -> list[Path]:
    """The target's Python file, and the files of its rows."""
    return [Path(inspect.getfile(type(target))), *target.files()]


def target_hash(target: Source) -> str:
    """Hash of the contents of :func:`target_files`."""
    return _hash(target_files(target))


def _hash(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_current(config: Config, folder: Path) -> bool:
    """Whether the folder holds the run of this config, finished and with all its files."""
    return holds(folder, identity(config))


def holds(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds the run of this identity, finished and with all its files."""
    try:
        run = load_run(folder)
    except RunError:
        return False
    return run.identity == identity and run.is_whole()
