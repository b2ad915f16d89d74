"""Run folders as they are made: claimed by one process, sealed, moved into place."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlpfit.config.schema import Config
from mlpfit.data.streams import streams
from mlpfit.errors import ConfigError, RunError, users_code
from mlpfit.runs.files import write_file
from mlpfit.runs.identity import identity as identity_of
from mlpfit.runs.identity import is_current
from mlpfit.runs.run import BLOCKS, MARKER, differences, load_run


def seal(folder: Path, identity: dict[str, Any]) -> None:
    """Write the marker: from now on the folder is a finished run, or an ensemble of the finished
    blocks in it."""
    blocks = (
        sorted(p.name for p in (folder / BLOCKS).iterdir()) if (folder / BLOCKS).is_dir() else []
    )
    inside = (p for p in folder.rglob("*") if BLOCKS not in p.relative_to(folder).parts)
    files = sorted(p for p in inside if p.is_file() and p.name != MARKER)
    digests = {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    content = {"identity": identity, "files": digests} | ({"blocks": blocks} if blocks else {})
    write_file(folder / MARKER, json.dumps(content, indent=1).encode())


def move_into_place(partial: Path, final: Path) -> None:
    """Put a sealed folder where the finished run belongs; the older run there goes only then."""
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def check(config: Config) -> None:
    """Raises ConfigError for what shows only when it is tried: the device, and the target on the
    first replica."""
    if config.trainer.accelerator == "gpu":
        import torch

        if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
            raise ConfigError(
                "trainer.accelerator=gpu: there is no GPU here; allowed are cpu and auto"
            )
    with users_code(f"target {config.target.name}"):
        config.target.rows(streams(config.replica_seeds[0], config.streams).data)


@contextmanager
def claimed(config: Config) -> Iterator[Path | None]:
    """The folder in which this config's run is to be finished, for this process alone; None if it
    is up to date. Raises ConfigError before anything is created.

    After the body, what is in the folder is sealed and put in the place of the finished run.
    """
    if config.force or not is_current(config):
        check(config)
    final = config.run_dir
    partial = final.with_name(final.name + ".partial")
    with locked(Path(config.output_dir) / ".locks" / "-".join(final.parts[-3:])):
        if config.force:
            shutil.rmtree(partial, ignore_errors=True)
        elif is_current(config):
            yield None
            return
        identity = identity_of(config)
        begin(partial, identity)
        if (partial / MARKER).is_file():  # stopped between sealing and moving
            yield None
        else:
            yield partial
            (partial / "identity.json").unlink()
            seal(partial, identity)
        move_into_place(partial, final)


def begin(partial: Path, identity: dict) -> None:
    """Make the folder of an unfinished run, or check that the one there is of the same run."""
    file = partial / "identity.json"
    if (partial / MARKER).is_file():
        identified = load_run(partial).identity
    elif file.is_file():
        identified = _read(file)
    else:  # nothing there, or killed before the first file was whole
        shutil.rmtree(partial, ignore_errors=True)
        write_file(file, json.dumps(identity).encode())
        return
    if differing := differences(identified, identity):
        raise RunError(
            f"{partial} holds an interrupted run with other settings ({'; '.join(differing)}): "
            "finish it with those, or start anew with force=true"
        )


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise RunError(f"{file}: damaged; start anew with force=true") from None


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however that ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise RunError(
            f"{error.filename}: {error.strerror}; free it, or choose another output_dir"
        ) from None
    with open(file, "a") as handle:  # written never: it may be a link to something
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
