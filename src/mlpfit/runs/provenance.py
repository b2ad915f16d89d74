"""Provenance of a result: commit, lock files, versions, machine."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-torch.lock"]
SOURCES = ("src", "conf", "pyproject.toml", *(lock.name for lock in LOCKS))
version_of = cache(version)
PACKAGES = ("torch", "lightning", "hydra-core", "tensorboard", "matplotlib", "numpy", "scipy")


@cache
def provenance() -> dict[str, Any]:
    """Commit, whether the sources differ from it (both None without git or a checkout), hash of the
    lock files, versions, platform. All as they are when this process, or the one it was forked
    from, first asks: its code is of then."""
    here = str(
        Path(__file__).relative_to(ROOT)
    )  # untracked if ROOT is a copy in another repository
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", here) else None
    status = _git("status", "--porcelain", "--", *SOURCES) if commit else None
    locks = b"".join(lock.read_bytes() for lock in LOCKS if lock.is_file())
    versions = {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES}
    return {
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "lock": hashlib.sha256(locks).hexdigest() if locks else None,
        "versions": versions,
        "platform": platform.platform(),
        **_processor(),
    }


def _git(*arguments: str) -> str | None:
    try:
        # Without the index lock: left by a killed training, it would block the user's commits.
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> dict[str, str | None]:
    """Name and kind (model and instruction sets) of the processor; one kind rounds equally."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"processor": platform.processor(), "processor_kind": None}
    first: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        first.setdefault(key.strip(), value.strip())
    flags = " ".join(sorted(first.get("flags", "").split()))
    digest = hashlib.sha256(flags.encode()).hexdigest()[:8]
    model = "/".join(first.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return {
        "processor": first.get("model name", platform.machine()),
        "processor_kind": f"family/model/stepping {model}, instructions {digest}",
    }
