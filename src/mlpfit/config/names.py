"""Names of folders made from overrides."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mlpfit.config.schema import Config
from mlpfit.config.typed import shown, value_of
from mlpfit.errors import ConfigError

REQUESTS = ("output_dir=", "force=", "ensemble.processes=", "hydra")  # of overrides: how, not what

LONGEST = 120  # characters of a folder's name


def check_place(output_dir: str) -> None:
    """Raises ConfigError unless there can be a folder of this name."""
    given, folder = f"output_dir={shown(output_dir)}", Path(value_of(str, output_dir, "output_dir"))
    if not output_dir.strip():
        raise ConfigError(f"{given}: must name a folder; . is this one")
    if output_dir.startswith("~"):
        raise ConfigError(
            f"{given}: ~ stays as it is here; write $HOME, or ./~ for a folder of this name"
        )
    if (
        max(len(os.fsencode(part)) for part in (*folder.parts, "")) > 255
        or len(os.fsencode(folder.absolute())) > 3000
    ):
        raise ConfigError(f"{given}: must be at most 255 bytes long in every part, 3000 in all")
    for above in (folder, *folder.absolute().parents):
        if os.path.isdir(above):
            return
        if os.path.lexists(above):
            raise ConfigError(f"{given}: {above} is no folder")


def job_name(overrides: Sequence[str], config: Config) -> str:
    """The experiment and the overrides; with a hash of the config where they don't make a folder's
    name."""
    return folder_name(
        [config.name.split("/")[-1], *told_apart_by(overrides)], config.fingerprint()
    )


def told_apart_by(overrides: Sequence[str]) -> list[str]:
    """The overrides that change results, sorted, without the experiment."""
    return sorted(o for o in overrides if not o.startswith(("experiment=", *REQUESTS)))


def folder_name(words: Sequence[str], fingerprint: str) -> str:
    """The words, readable; shortened and with the fingerprint's beginning where they are long or
    hold what a file name should not (a slash, or brackets, which a shell reads as wildcards)."""
    name = ",".join(words)
    safe = re.sub(r"[^\w.=,+-]", "_", name)[:LONGEST]
    return name if name == safe else f"{safe}-{fingerprint[:8]}"
