"""Creation of run folders: locked by one process, filled, marked, then moved into place."""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlpfit.config.schema import Objects
from mlpfit.errors import FULL, RunError
from mlpfit.files import sha256, write_file
from mlpfit.runs import content, removal
from mlpfit.runs.identity import holds
from mlpfit.runs.removal import INNER, check_replaceable, is_working_directory, remove
from mlpfit.runs.run import IDENTITY, MARKER, SHARDS, differences, load_run

HYDRA = ".hydra"  # config, overrides and hydra.yaml as Hydra writes them; never read here
REPLACED = ".mlpfit-replaced"  # end of the name of a run that is just being replaced
FAILED = "failed"  # key in an unfinished run's identity.json
LONGEST_NAME = 255  # bytes of a file's name


def seal(folder: Path, identity: dict[str, Any]) -> None:
    """Write the marker, which makes the folder a finished run, or an ensemble of its shards.

    It has the SHA-256 of every file of the run, and the names of what else belongs to it: empty
    folders, links, Hydra's files. Files that no run writes are not listed.
    """
    names = [path.name for path in (folder / SHARDS).glob("*")]
    shards = sorted(names, key=lambda name: (len(name), name))
    added = {path.name for path in removal.added_entries(folder)}
    files, others = {}, sorted(added)
    for path in sorted(folder.rglob("*")):
        name, top = path.relative_to(folder).as_posix(), path.relative_to(folder).parts[0]
        if top in added or (top == SHARDS and shards) or name in (MARKER, IDENTITY):
            continue
        if not removal.may_be_listed(name, identity):
            continue
        if path.is_symlink() or (path.is_dir() and not any(path.iterdir())):
            others.append(name)
        elif path.is_file():
            files[name] = sha256(path)
    marker = {"identity": identity, "files": files, "others": others}
    marker |= {"shards": shards} if shards else {}
    write_file(folder / MARKER, content.marker_bytes(marker))


def unfinished_path(final: Path) -> Path:
    """Folder of the unfinished run that is to become this one: beside it, with a hidden name that
    nothing else has; within it, if it is the working directory, which can't be replaced."""
    name = f".{final.absolute().name}{INNER}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{INNER}"
    inner, is_free = final / INNER, not (final / MARKER).is_file()
    if is_free and (is_working_directory(final) or removal.is_unfinished(inner)):
        return inner
    return final.with_name(name)


def plain_path(folder: Path) -> Path:
    """The path of a folder with a last part that is its name, not dots; links stay as they are."""
    if folder.name == "..":
        return folder.resolve()
    return folder.parent.resolve() / folder.name if ".." in folder.parts else folder


@contextmanager
def unfinished_folder(
    final: Path,
    identity: dict[str, Any],
    output_dir: Path,
    *,
    force: bool = False,
    is_complete: Callable[[Path], bool] = Path.is_dir,
) -> Iterator[Path | None]:
    """Yield the locked folder in which to finish the run of this identity, or None if it is
    finished, as it may be by another process, unless force.

    After the body the folder gets its marker and becomes the finished run, if
    ``is_complete(folder)``; else it stays, to be continued later. Raises RunError, before the
    body, if the run would replace anything that is not mlpfit's.
    """
    final = plain_path(final)
    with locked(final, output_dir):
        restore_replaced(final)
        if not force and holds(final, identity):
            yield None
            return
        check_replaceable(final, output_dir)
        remember_missing(final)
        partial = unfinished_path(final)
        with locked(partial, output_dir):
            if force:
                remove(partial)
            begin_or_continue(partial, identity)
        if (partial / MARKER).is_file():  # stopped between sealing and moving
            yield None
        else:
            yield partial
            if not is_complete(partial):
                return
            check_replaceable(final, output_dir)
            take_along(removal.added_entries(final), partial)
            seal(partial, identity)
        move_into_place(partial, final)
        (final / IDENTITY).unlink(missing_ok=True)


def join_unfinished(final: Path, identity: dict[str, Any], output_dir: Path) -> Path:
    """The folder in which to finish the run of this identity, shared by processes that each train
    some of its shards. Raises RunError if the folder holds another run."""
    final = plain_path(final)
    check_replaceable(final, output_dir)
    partial = unfinished_path(final)
    with locked(partial, output_dir):
        begin_or_continue(partial, identity)
    return partial


def check_log_folders(loggers: Objects) -> None:
    """Raises RunError for a logger that would write over what is in a folder of the user's."""
    for name, node in loggers.items():
        if node and {"save_dir", "version"} <= node.keys():
            parts = (node["save_dir"], node.get("name", "lightning_logs"), node["version"])
            folder = Path(*(str(part) for part in parts if part is not None))
            if folder.is_dir() and any(folder.iterdir()):
                raise RunError(
                    f"logger.{name}: {folder} is not empty, and the logger might replace what is "
                    "there: leave out version, which then counts up, or choose another save_dir"
                )


def begin_or_continue(partial: Path, identity: dict[str, Any]) -> None:
    """Create the folder of an unfinished run, or check that an existing one is of the same run.
    Raises RunError if it is not."""
    marker, earlier = removal.read_marker(partial), removal.read_identity(partial)
    has_failed = bool(earlier and earlier.pop(FAILED, False))
    has_failed = has_failed and not any(partial.glob(f"{SHARDS}/*/{MARKER}"))
    if marker is not None and earlier is None:  # a run that has been replaced
        remove(partial)
        marker = None
    elif earlier not in (None, identity) and (has_failed or not has_progress(partial)):
        remove(partial)
        earlier = None
    elif earlier is None and os.path.lexists(partial):
        if (partial / IDENTITY).exists():
            raise RunError(f"{partial / IDENTITY}: damaged; remove {partial}")
        remove(partial)  # killed before its first file was written
    if earlier is None:
        write_file(partial / IDENTITY, json.dumps(identity).encode())
    elif differing := differences(earlier, identity):
        raise RunError(
            f"{partial} holds an interrupted run with other settings ({'; '.join(differing)}): "
            "finish it with those, or start anew with force=true"
        )


def has_progress(partial: Path) -> bool:
    """Whether there is anything in an unfinished folder from which its run could go on."""
    kept = (partial / MARKER, partial / SHARDS, *(partial / "checkpoints").glob("*.ckpt"))
    return any(path.exists() for path in kept)


def discard_unfinished(partial: Path, always: bool) -> None:
    """After a failure, remove an unfinished folder from which nothing could go on. always: also one
    with checkpoints, since its run would fail again."""
    if always or not has_progress(partial):
        with suppress(RunError, OSError):  # the failure itself is reported
            remove(partial)
            remove_empty(partial.parent)


def note_failure(partial: Path) -> None:
    """After a failure, note in an unfinished folder that other settings need not wait for this
    run, unless shards of it are finished: only the same command goes on with it."""
    with suppress(OSError):
        if (identity := removal.read_identity(partial)) is not None:
            write_file(partial / IDENTITY, json.dumps(identity | {FAILED: True}).encode())


def take_along(added: list[Path], partial: Path) -> None:
    """Move what Hydra and a launcher have written for a run to its other files."""
    for path in added:
        if path.is_dir():  # file by file, see _set_aside
            (partial / path.name).mkdir(exist_ok=True)
            for file in path.iterdir():
                os.replace(file, partial / path.name / file.name)
            path.rmdir()
        else:
            os.replace(path, partial / path.name)


def move_into_place(partial: Path, final: Path) -> None:
    """Give a finished folder its final name, and only then remove an older run of that name."""
    if partial.parent == final:
        fill(final, partial)
    elif not final.exists() or not any(final.iterdir()):
        os.rename(partial, final)
        return
    elif exchange(partial, final):
        pass
    else:
        replaced = final.with_name(final.name + REPLACED)
        _set_aside(final, replaced)
        os.rename(partial, final)
        partial = replaced
    with suppress(OSError):  # it is removed the next time
        remove(partial)


def _set_aside(final: Path, replaced: Path) -> None:
    """Rename a run that is to be replaced; where it is in the image of a container, which does not
    rename folders, copy it and remove it. Raises RunError if the other name is taken by what is not
    mlpfit's."""
    try:
        os.rename(final, replaced)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove(replaced)
        replaced.mkdir()
        shutil.copy2(final / MARKER, replaced)  # first, so that half a copy is known as ours
        shutil.copytree(final, replaced, symlinks=True, dirs_exist_ok=True)
        remove(final)


def fill(folder: Path, partial: Path) -> None:
    """Move everything out of the unfinished folder, the marker last."""
    names = sorted({*os.listdir(partial)} - {MARKER, IDENTITY})
    for name in (*names, MARKER):
        os.rename(partial / name, folder / name)


def exchange(a: Path, b: Path) -> bool:
    """Exchange two folders' names at once, so that there is one of each name all the time. Returns
    whether the system can; Linux can on most file systems."""
    if sys.platform != "linux":
        return False
    current_folder, exchange_flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    paths = current_folder, os.fsencode(a), current_folder, os.fsencode(b)
    return rename(*paths, exchange_flag) == 0


def restore_replaced(final: Path) -> None:
    """Give a run its name back that a killed process was about to replace."""
    replaced = final.absolute().with_name(final.absolute().name + REPLACED)
    if removal.read_marker(replaced) is None:
        return
    is_whole = _is_whole(final)
    if final.exists() and not (final / MARKER).is_file():
        remove_hydra_files(final)
    elif final.exists() and not is_whole:  # it was just being removed
        remove(final)
    if not final.exists():
        os.rename(replaced, final)
    elif is_whole:
        with suppress(OSError):
            remove(replaced)


def _is_whole(folder: Path) -> bool:
    """Whether there is a finished run with all its files."""
    try:
        return load_run(folder).is_whole()
    except RunError:
        return False


def remove_hydra_files(final: Path) -> None:
    """Remove the files that Hydra wrote for a run that was not finished, unless there are others,
    and the folders that were created for them."""
    added = removal.added_entries(final)
    alone = final.is_dir() and len(added) == len(os.listdir(final)) == 1
    if alone and removal.is_hydra_folder(added[0]):
        for file in added[0].iterdir():
            file.unlink()
        added[0].rmdir()
    remove_empty(final)


_entries_before: dict[Path, set[str]] = {}  # of folders in which others were then created


def remember_missing(folder: Path) -> None:
    """Call this before a folder is created: then :func:`remove_empty` can tell which of its parents
    were created with it."""
    absolute = plain_path(folder).absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.is_dir())
    _entries_before[existing] = {*os.listdir(existing)}


def remove_empty(folder: Path) -> None:
    """Remove the folder and its parents as far as they are empty and were created since
    :func:`remember_missing`."""
    absolute = plain_path(folder).absolute()
    chain = (absolute, *absolute.parents)
    known = [i for i, path in enumerate(chain[1:]) if path in _entries_before]
    new = next((i for i in known if chain[i].name not in _entries_before[chain[i + 1]]), -1)
    with suppress(OSError):
        for path in chain[: new + 1]:
            if path.exists():
                path.rmdir()


@contextmanager
def locked(folder: Path, output_dir: Path) -> Iterator[None]:
    """Lock this folder against other processes; the system releases the lock of a killed process.
    Raises RunError if the lock file can't be written."""
    name = os.path.relpath(folder, output_dir)  # hashed: file names have 255 bytes at most
    file = output_dir / ".locks" / hashlib.sha256(os.fsencode(name)).hexdigest()
    lock = FileLock(file)
    try:
        lock.acquire()  # also creates .locks
    except OSError as error:
        raise RunError(
            f"{error.filename or file}: {error.strerror}; free it, or choose another output_dir"
        ) from None
    try:
        yield
    except OSError as error:
        if error.errno in FULL:  # TensorBoard's writer names no file
            error.filename = error.filename or str(folder)
        raise
    finally:  # not when a notebook forgets the traceback of an interrupt
        lock.release()
