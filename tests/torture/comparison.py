"""What is compared: the numbers and figures that a command leaves, with those of an undisturbed run
of the same command."""

import hashlib
import shutil
import subprocess
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import torch
from injection import ROOT, WORK, call

from mlpfit import load_run
from mlpfit.runs.run import MARKER, SHARDS

NUMBERS = ("history.npz", "weights.npz", "data.npz", "metrics.json")
TABLES = ("results.csv", "summary.csv", "ledger.json")
UNFINISHED = (".mlpfit-", ".after", ".hydra")

SMALL = ["trainer.max_steps=400", "trainer.chunk_steps=10", "recording.checkpoint_every=10"]
MANY = ["replicas=6", "ensemble.shard=2"]
FULL = ["experiment=tower/small", "model.hidden=4", *SMALL]
MINI = ["experiment=restoration/narrow", *SMALL]
KINDS = {"full": FULL, "mini": MINI, "ensemble": FULL + MANY, "mini ensemble": MINI + MANY}


def training(kind: str, *more: str) -> list[str]:
    """The command of a quarter of a second or so: full or mini batches, single or ensemble."""
    return ["mlpfit", *KINDS[kind], *more]


def state(folder: Path) -> dict[str, str]:
    """Hashes of all numbers and figures under a folder, and of the optimisers' states."""
    hashes = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if any(part in name for part in UNFINISHED) or not file.is_file():
            continue
        if file.name in NUMBERS + TABLES or file.suffix == ".svg":
            hashes[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.name == "last.ckpt":
            hashes[name] = checkpoint_hash(file)
    assert hashes, f"nothing under {folder}"
    return hashes


def checkpoint_hash(file: Path) -> str:
    """Of weights, optimiser, losses and step."""
    checkpoint = torch.load(file, weights_only=True)
    digest = hashlib.sha256()
    parts = [checkpoint[part] for part in ("state_dict", "optimizer_states", "global_step")]
    for leaf in torch.utils._pytree.tree_leaves([*parts, checkpoint["callbacks"]["History"]]):
        content = leaf.numpy().tobytes() if torch.is_tensor(leaf) else repr(leaf).encode()
        digest.update(content)
    return digest.hexdigest()


@cache
def undisturbed(command: tuple[str, ...]) -> tuple[dict[str, str], float]:
    """What the command leaves, and its seconds."""
    folder = WORK / f"undisturbed-{abs(hash(command))}"
    ended = call(list(command), folder)
    ended.fine()
    return state(folder), ended.seconds


def seconds_of(command: list[str]) -> float:
    return undisturbed(tuple(command))[1]


def heals(command: list[str], folder: Path) -> None:
    """Nothing partial was left, and the same command again gives what the undisturbed one gives."""
    nothing_partial(folder)
    call(command, folder).fine()
    expected, healed = undisturbed(tuple(command))[0], state(folder)
    differing = [k for k in {**healed, **expected} if healed.get(k) != expected.get(k)]
    assert healed == expected, f"differs: {differing}"


def nothing_partial(folder: Path) -> None:
    """Whatever lies at a final place is whole."""
    for marker in folder.rglob(MARKER):
        if ".mlpfit-" not in str(marker) and SHARDS not in marker.parts:
            load_run(marker.parent).check_files()
    for file in folder.rglob("[!.]*.svg"):
        ET.parse(file)
    for file in folder.rglob("[!.]*.ckpt"):
        torch.load(file, weights_only=True)


def clone(folder: Path) -> Path:
    """The committed tree, with this tree's sources."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    for name in ("src", "conf"):
        shutil.rmtree(folder / name)
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(folder / "outputs/figures")
    return folder
