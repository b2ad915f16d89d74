"""Creation of run folders: locked by one process, filled, sealed, then moved into place."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.files import sha256, write_file
from mlpfit.runs.identity import identity as identity_of
from mlpfit.runs.identity import is_current
from mlpfit.runs.run import MARKER, SHARDS, differences, load_run

HYDRA = ".hydra"  # config, overrides and hydra.yaml as Hydra writes them; never read here
IDENTITY = "identity.json"  # of an unfinished run


def seal(folder: Path, identity: dict[str, Any]) -> None:
    """Write the marker, which makes the folder a finished run, or an ensemble of its shards."""
    names = [path.name for path in (folder / SHARDS).glob("*")]
    shards = sorted(names, key=lambda name: (len(name), name))
    paths = (p for p in folder.rglob("*") if not {SHARDS, HYDRA} & {*p.relative_to(folder).parts})
    files = sorted(p for p in paths if p.is_file() and p.name not in (MARKER, IDENTITY))
    digests = {str(p.relative_to(folder)): sha256(p) for p in files}
    content = {"identity": identity, "files": digests} | ({"shards": shards} if shards else {})
    write_file(folder / MARKER, json.dumps(content, indent=1).encode())


def move_into_place(partial: Path, final: Path) -> None:
    """Rename a sealed folder to its final name, and only then remove an older run of that name."""
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if (final / HYDRA).is_dir():  # written by Hydra for this run
        shutil.copytree(final / HYDRA, partial / HYDRA, dirs_exist_ok=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def unfinished_folder(
    config: Config, final: Path, is_complete: Callable[[Path], bool] = Path.is_dir
) -> Iterator[Path | None]:
    """Yield the locked folder in which to finish this config's run, or None if the run is up to
    date.

    After the body the folder is sealed and becomes the finished run, if ``is_complete(folder)``;
    else it stays, to be continued later.
    """
    partial = final.with_name(final.name + ".partial")
    with locked(config, final):
        if config.force:
            shutil.rmtree(partial, ignore_errors=True)
        elif is_current(config, final):
            yield None
            return
        identity = identity_of(config)
        with locked(config, partial):
            begin_or_continue(partial, identity)
        if (partial / MARKER).is_file():  # stopped between sealing and moving
            yield None
        else:
            yield partial
            if not is_complete(partial):
                return
            seal(partial, identity)
        (partial / IDENTITY).unlink(missing_ok=True)
        move_into_place(partial, final)


def join_unfinished(config: Config, final: Path) -> Path | None:
    """The folder in which to finish this config's run, shared by processes that each train some of
    its shards; None if the run is up to date. Raises RunError if the folder holds another run."""
    if is_current(config, final) and not config.force:
        return None
    partial = final.with_name(final.name + ".partial")
    with locked(config, partial):
        begin_or_continue(partial, identity_of(config))
    return partial


def begin_or_continue(partial: Path, identity: dict[str, Any]) -> None:
    """Create the folder of an unfinished run, or check that an existing one is of the same run.
    Raises RunError if it is not."""
    file = partial / IDENTITY
    if (partial / MARKER).is_file():
        earlier = load_run(partial).identity
    elif file.is_file():
        try:
            earlier = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            raise RunError(f"{file}: damaged; start anew with force=true") from None
    else:  # no folder, or killed before its first file was written
        shutil.rmtree(partial, ignore_errors=True)
        write_file(file, json.dumps(identity).encode())
        return
    if differing := differences(earlier, identity):
        raise RunError(
            f"{partial} holds an interrupted run with other settings ({'; '.join(differing)}): "
            "finish it with those, or start anew with force=true"
        )


def remove_hydra_files(final: Path) -> None:
    """Remove the files that Hydra wrote for a run that was not finished, and folders left empty."""
    if not (final / MARKER).is_file():
        shutil.rmtree(final / HYDRA, ignore_errors=True)
        remove_empty(final)


def remove_empty(folder: Path) -> None:
    """Remove the folder and its parents as far as they are empty, but not the current folder."""
    with suppress(OSError):
        os.removedirs(os.path.relpath(folder))


@contextmanager
def locked(config: Config, folder: Path) -> Iterator[None]:
    """Lock this folder against other processes; the system releases the lock of a killed process.
    Raises RunError if the lock file can't be written."""
    name = os.path.relpath(folder, config.output_dir)  # hashed: file names have 255 bytes at most
    file = Path(config.output_dir) / ".locks" / hashlib.sha256(name.encode()).hexdigest()
    lock = FileLock(file)
    try:
        lock.acquire()  # also creates .locks
    except OSError as error:
        raise RunError(
            f"{error.filename or file}: {error.strerror}; free it, or choose another output_dir"
        ) from None
    with lock:
        yield
