"""Files from others run no code: run folders, checkpoints, YAML and names."""

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import read_all, training
from injection import WORK, call, killed_at_step
from table import Promise

from mlpfit.config.catalogue import CONF
from mlpfit.model.regression import Regression
from mlpfit.process import run_command
from mlpfit.runs import content
from mlpfit.runs.run import MARKER

IN_YAML = "!!python/object/apply:os.mkdir ['{}']\n"
ARRAYS = ("history.npz", "weights.npz", "data.npz")
ELSEWHERE = ("../../x", "a/../../x", "/x/y", "..")


class Payload:
    """Leaves a folder wherever it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.mark,)


def payloads(mark: Path) -> list[bytes]:
    """As a bare pickle, as numpy's arrays and as torch's checkpoint."""
    arrays, checkpoint = io.BytesIO(), io.BytesIO()
    array = np.array([Payload(mark)], dtype=object)
    np.savez(arrays, step=array, loss=array)
    torch.save({"state_dict": Payload(mark), "global_step": 3}, checkpoint)
    return [pickle.dumps(Payload(mark)), arrays.getvalue(), checkpoint.getvalue()]


@cache
def sound_runs() -> Path:
    """A finished run, and an interrupted one of the same settings beside it."""
    place = WORK / "sound runs"
    call(training("mini"), place / "finished").fine()
    killed_at_step(training("mini"), place / "interrupted", 200)
    return place


@dataclass(frozen=True)
class Trial:
    """A copy of the sound runs, what is put into it and how the commands are called."""

    number: int
    folder: Path
    content: bytes
    env: dict[str, str]

    @property
    def mark(self) -> Path:
        return self.folder / "payload was run"

    @property
    def finished(self) -> Path:
        return self.folder / "place/finished/outputs/runs/restoration/narrow"

    @property
    def interrupted(self) -> Path:
        return self.folder / "place/interrupted"

    def read_finished(self) -> Any:
        return call(lambda: run_command(lambda: read_all(self.finished)), self.folder, **self.env)

    def load_checkpoint(self) -> Any:
        path = str(self.finished / "checkpoints/last.ckpt")
        return call(lambda: Regression.load_from_checkpoint(path), self.folder, **self.env)


def reseal(run: Path) -> None:
    """Whoever gives a run away can write its marker, too."""
    marker = content.marker_of((run / MARKER).read_bytes())
    for name in marker["files"]:
        marker["files"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / MARKER).write_bytes(content.marker_bytes(marker))


def foreign_arrays(t: Trial) -> None:
    (t.finished / ARRAYS[t.number % 3]).write_bytes(t.content)
    reseal(t.finished)
    t.read_finished().refused(1, ".npz")


def foreign_config(t: Trial) -> None:
    (t.finished / "config.yaml").write_text("model: " + IN_YAML.format(t.mark))
    reseal(t.finished)
    t.read_finished().refused(1, "config.yaml")


def foreign_checkpoint(t: Trial) -> None:
    """That a run would go on from."""
    (checkpoint,) = t.interrupted.rglob("last.ckpt")
    checkpoint.write_bytes(t.content)
    call(training("mini"), t.interrupted, **t.env).refused(1, "last.ckpt", "force=true")


def foreign_checkpoint_by_hand(t: Trial) -> None:
    content = payloads(t.mark)[2] if t.number % 2 else t.content
    (t.finished / "checkpoints/last.ckpt").write_bytes(content)
    assert t.load_checkpoint().code != 0


def foreign_experiment(t: Trial) -> None:
    conf = t.folder / "own/conf/experiment/own"
    conf.mkdir(parents=True)
    target = f"{{_target_: os.mkdir, path: '{t.mark}'}}"
    lines = [
        f"seed: {IN_YAML.format(t.mark)}",
        f"target: {target}\n",
        f"callbacks: {{x: {target}}}\n",
        f"logger: {{x: {target}}}\n",
    ]
    line = lines[t.number % len(lines)]
    good = (CONF / "experiment/plane/scratch.yaml").read_text()
    (conf / "foreign.yaml").write_text(good.replace("plane/scratch", "own/foreign") + line)
    users = str(t.folder / "own")
    for many in ([], ["-m", "seed=1,2"]):
        command = ["mlpfit", *many, "experiment=own/foreign"]
        call(command, t.folder / "here", **t.env, MLPFIT_PATH=users).refused(2)


def names_elsewhere(t: Trial) -> None:
    name, here = ELSEWHERE[t.number % 4], t.folder / "here"
    call(["mlpfit", "experiment=tower/small", f"name={name}"], here).refused(2, "name=")
    for command in (["-m", f"sweep={name}"], ["reproduce", name], ["figures", f"sweep={name}"]):
        call(["mlpfit", *command], here).refused(2, name)


def genuine(t: Trial) -> None:
    """Files of our own still load."""
    t.read_finished().fine()
    t.load_checkpoint().fine()
    call(training("mini"), t.interrupted, **t.env).fine()


KINDS: list[Callable[[Trial], None]] = [
    *(foreign_arrays, foreign_config, foreign_checkpoint, foreign_checkpoint_by_hand),
    *(foreign_experiment, names_elsewhere, genuine),
]


def trial(number: int, folder: Path, quick: bool) -> None:
    """Every kind of file in turn, by content and by environment."""
    turn, kind = divmod(number, len(KINDS))
    env = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if turn % 2 else {}
    shutil.copytree(sound_runs(), folder / "place")
    mark = folder / "payload was run"
    t = Trial(turn, folder, payloads(mark)[turn // 2 % 3], env)
    KINDS[kind](t)
    assert not mark.exists(), "the payload ran"


PROMISE = Promise(
    number=8,
    title="Files from others run no code",
    fault="pickles, YAML tags, `_target_`, `../`, with and without "
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    full=84,
    quick=14,
    trial=trial,
)
