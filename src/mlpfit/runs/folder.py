"""Run folders as they are made: claimed by one process, sealed, moved into place."""

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
    """Write the marker: from now on the folder is a finished run, or an ensemble of its shards."""
    names = [path.name for path in (folder / SHARDS).glob("*")]
    shards = sorted(names, key=lambda name: (len(name), name))
    own = (p for p in folder.rglob("*") if not {SHARDS, HYDRA} & {*p.relative_to(folder).parts})
    files = sorted(p for p in own if p.is_file() and p.name not in (MARKER, IDENTITY))
    digests = {str(p.relative_to(folder)): sha256(p) for p in files}
    content = {"identity": identity, "files": digests} | ({"shards": shards} if shards else {})
    write_file(folder / MARKER, json.dumps(content, indent=1).encode())


def move_into_place(partial: Path, final: Path) -> None:
    """Put a sealed folder where the finished run belongs; the older run there goes only then."""
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if (final / HYDRA).is_dir():  # what Hydra has written for this run
        shutil.copytree(final / HYDRA, partial / HYDRA, dirs_exist_ok=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def unfinished_folder(
    config: Config, final: Path, ready: Callable[[Path], bool] = Path.is_dir
) -> Iterator[Path | None]:
    """The folder in which this config's run is to be finished, for this process alone; None if it
    is up to date. Raises ConfigError before anything is created.

    After the body, what is in the folder is sealed and put in the place of the finished run, if
    ``ready(folder)``; else it waits there to be gone on with.
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
            if not ready(partial):
                return
            seal(partial, identity)
        (partial / IDENTITY).unlink(missing_ok=True)
        move_into_place(partial, final)


def join_unfinished(config: Config, final: Path) -> Path | None:
    """The folder in which this config's run is to be finished, for a part of it, other parts being
    trained by other processes; None if it is up to date. Raises RunError if another run is begun
    there."""
    if is_current(config, final) and not config.force:
        return None
    partial = final.with_name(final.name + ".partial")
    with locked(config, partial):
        begin_or_continue(partial, identity_of(config))
    return partial


def begin_or_continue(partial: Path, identity: dict[str, Any]) -> None:
    """Make the folder of an unfinished run, or check that the one there is of the same run."""
    file = partial / IDENTITY
    if (partial / MARKER).is_file():
        earlier = load_run(partial).identity
    elif file.is_file():
        try:
            earlier = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            raise RunError(f"{file}: damaged; start anew with force=true") from None
    else:  # nothing there, or killed before the first file was whole
        shutil.rmtree(partial, ignore_errors=True)
        write_file(file, json.dumps(identity).encode())
        return
    if differing := differences(earlier, identity):
        raise RunError(
            f"{partial} holds an interrupted run with other settings ({'; '.join(differing)}): "
            "finish it with those, or start anew with force=true"
        )


def discard_unfinished(final: Path) -> None:
    """Remove what Hydra has written for a run that has come to nothing, if it is all there is."""
    if not (final / MARKER).is_file():
        shutil.rmtree(final / HYDRA, ignore_errors=True)
        remove_empty(final)


def remove_empty(folder: Path) -> None:
    """Remove the folder and those above it as far as they are empty, but not the present one."""
    with suppress(OSError):
        os.removedirs(os.path.relpath(folder))


@contextmanager
def locked(config: Config, folder: Path) -> Iterator[None]:
    """One process at a time for this folder; the lock goes with the process, however that ends."""
    name = os.path.relpath(folder, config.output_dir)  # hashed: a file's name may have 255 bytes
    file = Path(config.output_dir) / ".locks" / hashlib.sha256(name.encode()).hexdigest()
    lock = FileLock(file)
    try:
        lock.acquire()  # makes the folder
    except OSError as error:
        raise RunError(
            f"{error.filename or file}: {error.strerror}; free it, or choose another output_dir"
        ) from None
    with lock:
        yield
