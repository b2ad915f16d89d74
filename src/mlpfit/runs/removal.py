"""Which folders may be replaced or removed: those that mlpfit made, with nothing else in them.

A finished run has complete.json, which lists its files; an unfinished one has identity.json. Beside
the listed files a run's folder may hold what is added to it later: Hydra's files, the record of a
sweep's job, TensorBoard's pictures. Anything else is a user's, and the folder is left alone.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mlpfit.errors import ConfigError, RunError
from mlpfit.runs.run import IDENTITY, JOB, MARKER, SHARDS

INNER = ".mlpfit-unfinished"  # in the working directory; elsewhere the end of a name beside the run
HYDRA_FILES = {  # that Hydra writes for a run -> what is in them if it was mlpfit's
    "config.yaml": "\nckpt_path:",
    "hydra.yaml": "mlpfit.sweeps.callback.Experiments",
    "overrides.yaml": "",
}
HYDRA_BEGINS = {"config.yaml": b"target:\n  name: ", "hydra.yaml": b"hydra:\n  run:\n    dir: "}
MAX_BYTES = 64 * 2**20  # of a marker
SHOWN = 3  # entries that a message names

# Paths within its folder of what a run writes, with TensorBoard's or the CSV logger ...
_EVENTS = r"events\.out\.tfevents\.[^/]+"
_BROKEN_OFF = r"(.*/)?\.[^/]+\.\d+"  # by a process that was killed in files.write_file
_WRITTEN = re.compile(
    rf"({SHARDS}/[^/]+/)?(config\.yaml|(data|history|weights|validation)\.npz|metrics\.(json|csv)"
    rf"|provenance\.json|hparams\.yaml|complete\.json|identity\.json|checkpoints(/[^/]+\.ckpt)?"
    rf"|{_EVENTS})|{SHARDS}(/[^/]+)?|{_BROKEN_OFF}"
)
# ... and of what is added to a finished one.
_ADDED = re.compile(
    rf"complete\.json|identity\.json|{_BROKEN_OFF}|p5|median|p95"
    rf"|((p5|median|p95)/)?events\.out\.tfevents\.mlpfit-[0-9a-f]+"
)
IsOurs = Callable[[str], bool]


def remove(folder: Path) -> None:
    """Remove a folder that mlpfit made, if it exists: the only place that removes what is in a
    folder. Raises RunError if anything in it is not mlpfit's."""
    if not os.path.lexists(folder):
        return
    others = iter(()) if is_cache(folder) else foreign(folder)
    if problem := _unsuitable(folder) or _holding(others):
        raise RunError(f"{folder}: {problem}, so it is not removed: move that away and try again")
    shutil.rmtree(folder)


def check_replaceable(folder: Path, output_dir: Path) -> None:
    """Raises RunError unless a run may be written to this folder, which need not exist, and may
    replace what is there."""
    problem = _unsuitable(folder)
    if problem is None and folder.resolve() == output_dir.resolve():
        problem = "is the output_dir, which is for many runs"
    if problem is None and folder.is_dir():
        if not is_working_directory(folder):
            problem = "is a mount point" if os.path.ismount(folder) else None
        elif (folder / MARKER).is_file():
            problem = "is the working directory, so the finished run in it can't be replaced"
        others = (p for p in foreign(folder) if not _holds_locks_only(folder / p, output_dir))
        problem = problem or _holding(others)
    if problem is not None:
        raise RunError(
            f"{os.path.relpath(folder)}: {problem}: choose another folder for the run "
            "(hydra.run.dir, output_dir)"
        )


def check_sweep_folder(folder: Path, marker: str) -> None:
    """Raises RunError unless a sweep's files may be written to this folder: it is missing or empty,
    an earlier sweep has left its marker, or there are only its table and figure, as in a fresh
    checkout of a repository that keeps those."""
    problem = _unsuitable(folder)
    if problem is None and folder.is_dir() and not is_json(folder / marker, "keys", "started"):
        names = sorted(os.listdir(folder))
        table = _read_own(folder / "summary.csv")
        kept = (
            {"summary.csv", "figure.svg"}
            if b",job,failure," in table.partition(b"\n")[0]
            else set()
        )
        problem = _holding(name for name in names if name not in kept)
    if problem is not None:
        raise RunError(f"{folder}: {problem}: choose another folder for it (hydra.sweep.dir)")


def check_job_folder(folder: Path, sweep: Path) -> None:
    """Raises RunError unless the folder of a job is within that of its sweep."""
    if sweep.resolve() not in folder.resolve().parents:
        raise RunError(
            f"{os.path.relpath(folder)}: a job needs a folder within {os.path.relpath(sweep)}: "
            "choose another hydra.sweep.subdir"
        )


def check_hydra_subdir(name: str | None) -> None:
    """Raises ConfigError unless Hydra's own files get a folder to themselves within the run's."""
    given = f"hydra.output_subdir={name}"
    if name is None:
        return
    if not re.fullmatch(r"\.?\w[\w.-]*", name):
        raise ConfigError(f"{given}: must be a name such as .hydra, or null")
    if _WRITTEN.fullmatch(name) or _ADDED.fullmatch(name) or name in (JOB, INNER):
        raise ConfigError(f"{given}: the run itself writes files of this name; choose another")


def is_working_directory(folder: Path) -> bool:
    return folder.resolve() == Path.cwd()


def foreign(folder: Path) -> Iterator[str]:
    """Paths within a folder of what is not mlpfit's, in order."""
    marker, inner = read_marker(folder), read_marker(folder / INNER)
    listed = _listed(folder, marker) | _listed(folder / INNER, inner)  # also if moved out of INNER
    pattern = _ADDED if marker else None
    if marker is None and (identity := read_identity(folder)) is not None:
        if writes_any_name(identity):
            yield from _walk(folder, "", lambda path: Path(path).name != ".git")
            return
        pattern = _WRITTEN
    elif marker is None and folder.name.endswith(INNER):  # killed, or its identity is damaged
        pattern = _WRITTEN
    log = _log_name(folder)

    def is_ours(path: str) -> bool:
        if path in listed:
            return True
        at = folder / path
        if at.is_symlink():
            return False
        if pattern is not None and pattern.fullmatch(path):
            return True
        return "/" not in path and (path == log or is_added(at) or is_unfinished(at))

    yield from _walk(folder, "", is_ours)


def _holds_locks_only(folder: Path, output_dir: Path) -> bool:
    """Whether the output_dir is this folder or within it, and has only locks and caches yet."""
    if folder.is_symlink():  # perhaps to itself
        return False
    own, output = folder.resolve(), output_dir.resolve()
    if own not in (output, *output.parents):
        return False
    hidden = (output / ".locks", output / ".cache")
    return all(
        path.is_dir() or any(part in path.parents for part in hidden) for path in own.rglob("*")
    )


def _walk(folder: Path, below: str, is_ours: IsOurs) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder / below))
    except FileNotFoundError:  # another process has moved it meanwhile
        return
    for name in names:
        path, at = f"{below}{name}", folder / below / name
        is_folder = at.is_dir() and not at.is_symlink()
        if not is_ours(path) or (is_folder and os.path.ismount(at)):
            if os.path.lexists(at):  # still: another process may have finished the same run
                yield path
        elif is_folder and not is_hydra_folder(at) and not is_unfinished(at):
            yield from _walk(folder, f"{path}/", is_ours)


def may_be_listed(path: str, identity: dict[str, Any]) -> bool:
    """Whether the marker of a run of this identity lists the file, by its path in the folder."""
    return writes_any_name(identity) or _WRITTEN.fullmatch(path) is not None


def writes_any_name(identity: dict[str, Any]) -> bool:
    """Whether loggers or callbacks of the run may write files of any name."""
    recipe = identity.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    return bool(recipe.get("callbacks")) or bool(
        {*(recipe.get("logger") or ())} - {"tensorboard", "csv"}
    )


def read_marker(folder: Path) -> dict[str, Any] | None:
    """Content of complete.json, or None. Its hash is not looked at: what it lists may be replaced,
    damaged or not."""
    content = read_json(folder / MARKER)
    plain = isinstance(content, dict) and isinstance(content.get("identity"), dict)
    return content if plain and isinstance(content.get("files"), dict) else None


def read_identity(folder: Path) -> dict[str, Any] | None:
    """Content of identity.json, which marks an unfinished run, or None."""
    content = read_json(folder / IDENTITY)
    return content if isinstance(content, dict) and "recipe" in content else None


def is_json(file: Path, *keys: str) -> bool:
    """Whether the file is a JSON object with these keys."""
    content = read_json(file)
    return isinstance(content, dict) and {*keys} <= content.keys()


def read_json(file: Path) -> Any:
    """Content of a JSON file; None if it is a link, no file, too large or damaged."""
    try:
        return json.loads(_read_own(file))
    except (ValueError, RecursionError):
        return None


def _read_own(file: Path) -> bytes:
    """Bytes of a regular file, none if it is a link, too large or can't be read."""
    try:
        if not file.is_symlink() and file.is_file() and file.stat().st_size <= MAX_BYTES:
            return file.read_bytes()
    except OSError:
        pass
    return b""


def is_cache(folder: Path) -> bool:
    """Whether this is the folder of locks or caches in an output_dir."""
    inside = {".locks": "[0-9a-f]{64}", ".cache": "configs|kernels|matplotlib|narrow|portable"}
    names = inside.get(folder.name)
    if names is None or folder.is_symlink() or not folder.is_dir():
        return False
    known = all(re.fullmatch(names, name) for name in os.listdir(folder))
    return known and not any(_walk(folder, "", lambda path: Path(path).name != ".git"))


def is_unfinished(folder: Path) -> bool:
    """Whether this is the folder of an unfinished run."""
    if not folder.name.endswith(INNER) or folder.is_symlink() or not folder.is_dir():
        return False
    begun = read_identity(folder) is not None or read_marker(folder) is not None
    return begun or all(re.fullmatch(_BROKEN_OFF, name) for name in os.listdir(folder))


def is_added(path: Path) -> bool:
    """Whether this is Hydra's folder of settings, or the record of a sweep's job."""
    if path.name == JOB:
        return is_json(path, "number", "overrides", "started")
    return is_hydra_folder(path)


def is_hydra_folder(folder: Path) -> bool:
    """Whether Hydra made this folder for mlpfit, perhaps killed before its last file."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    texts = {path.name: _read_own(path) for path in folder.iterdir()}
    if not texts:
        return folder.name == ".hydra"
    whole = HYDRA_FILES["hydra.yaml"].encode() in texts.get("hydra.yaml", b"")
    marked = {
        name: not text or (HYDRA_FILES.get(name) or "\0").encode() in text
        for name, text in texts.items()
    }
    if texts.get("hydra.yaml") == b"":  # just written again, by another process
        marked["overrides.yaml"] = True
    last = ([name for name in HYDRA_FILES if name in texts] or [""])[-1]
    if folder.name == ".hydra" and texts.get(last, b"").startswith(HYDRA_BEGINS.get(last, b"\0")):
        marked[last] = True  # a full disk has cut it short
    return {*texts} <= {*HYDRA_FILES} and (whole or all(marked.values()))


def added_entries(folder: Path) -> list[Path]:
    """What Hydra and a sweep's launcher have put into the folder of a run that is to be
    trained."""
    if not folder.is_dir():
        return []
    log = _log_name(folder)
    return [path for path in sorted(folder.iterdir()) if path.name == log or is_added(path)]


def _log_name(folder: Path) -> str | None:
    """Name of the log that Hydra was asked to write, as its settings in this folder say."""
    for path in folder.iterdir() if folder.is_dir() else ():
        settings = _read_own(path / "hydra.yaml").decode(errors="replace")
        if "filename:" in settings and is_hydra_folder(path):
            name = re.search(r"^  job:\n(?:    .*\n)*?    name: (\S+)$", settings, re.MULTILINE)
            return f"{name[1]}.log" if name else None
    return None


def _listed(folder: Path, marker: dict[str, Any] | None) -> set[str]:
    """Paths that a marker lists, and the folders they are in."""
    if marker is None:
        return set()
    names = [*map(str, marker["files"]), *map(str, marker.get("others") or ())]
    for shard in map(str, marker.get("shards") or ()):
        below = f"{SHARDS}/{PurePosixPath(shard).name}"
        listed = _listed(folder / below, read_marker(folder / below))
        names += [below, f"{below}/{MARKER}", *(f"{below}/{name}" for name in listed)]
    return {str(p) for n in names for p in (PurePosixPath(n), *PurePosixPath(n).parents)} - {"."}


def _unsuitable(folder: Path) -> str | None:
    """Why no folder at this path may be replaced or removed, whatever is in it; else None."""
    if os.path.islink(folder):
        return f"is a link to {os.readlink(folder)}"
    absolute = folder.absolute()
    try:
        resolved, home = folder.resolve(), Path(os.path.expanduser("~")).resolve()
        existing = next(p for p in (absolute, *absolute.parents) if os.path.lexists(p))
        if not existing.is_dir():
            return "is not a folder" if existing == absolute else f"{existing} is not a folder"
    except RuntimeError:
        return "leads through a loop of links"
    if resolved == home or resolved in home.parents:
        return "is the home folder or above it"
    return "is above the working directory" if resolved in Path.cwd().parents else None


def _holding(others: Iterator[str]) -> str | None:
    names = [name for name, _ in zip(others, range(SHOWN + 1), strict=False)]
    if not names:
        return None
    shown = ", ".join(map(repr, names[:SHOWN])) + " and more" * (len(names) > SHOWN)
    return f"holds {shown}, which mlpfit did not write"
