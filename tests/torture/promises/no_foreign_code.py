"""Files from others run no code: run folders, checkpoints, YAML and names."""

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
from comparison import training
from injection import WORK, Ended, call, killed_at_step
from promise import promise

from mlpfit import load_run
from mlpfit.config.catalogue import CONF
from mlpfit.model.regression import Regression
from mlpfit.process import run_command
from mlpfit.runs.folder import seal

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
    mark: Path
    env: dict[str, str]

    @property
    def run(self) -> Path:
        return self.folder / "place/finished/outputs/runs/restoration/narrow"

    def call(self, command: Any, **env: str) -> Ended:
        return call(command, self.folder / "here", **self.env, **env)

    def read(self) -> Ended:
        """Read the finished run, whose marker whoever gave it away has written, too."""
        seal(self.run, load_run(self.run).identity)

        def read() -> int:
            load_run(self.run).check_files()
            return 0

        return self.call(lambda: run_command(read))

    def load(self) -> Ended:
        path = str(self.run / "checkpoints/last.ckpt")
        return self.call(lambda: Regression.load_from_checkpoint(path))

    def resume(self) -> Ended:
        return call(training("mini"), self.folder / "place/interrupted", **self.env)


def arrays(t: Trial) -> None:
    (t.run / ARRAYS[t.number % 3]).write_bytes(t.content)
    t.read().refused(1, ".npz")


def config(t: Trial) -> None:
    (t.run / "config.yaml").write_text("model: " + IN_YAML.format(t.mark))
    t.read().refused(1, "config.yaml")


def checkpoint(t: Trial) -> None:
    """That a run would go on from."""
    (file,) = (t.folder / "place/interrupted").rglob("last.ckpt")
    file.write_bytes(t.content)
    t.resume().refused(1, "last.ckpt", "force=true")


def checkpoint_by_hand(t: Trial) -> None:
    content = payloads(t.mark)[2] if t.number % 2 else t.content
    (t.run / "checkpoints/last.ckpt").write_bytes(content)
    assert t.load().code != 0


def experiment(t: Trial) -> None:
    conf, target = t.folder / "own/conf/experiment/own", f"{{_target_: os.mkdir, path: '{t.mark}'}}"
    conf.mkdir(parents=True)
    lines = [f"seed: {IN_YAML.format(t.mark)}", f"target: {target}\n"]
    lines += [f"{group}: {{x: {target}}}\n" for group in ("callbacks", "logger")]
    good = (CONF / "experiment/plane/scratch.yaml").read_text()
    text = good.replace("plane/scratch", "own/foreign") + lines[t.number % len(lines)]
    (conf / "foreign.yaml").write_text(text)
    for many in ([], ["-m", "seed=1,2"]):
        command = ["mlpfit", *many, "experiment=own/foreign"]
        t.call(command, MLPFIT_PATH=str(t.folder / "own")).refused(2)


def names_elsewhere(t: Trial) -> None:
    name = ELSEWHERE[t.number % 4]
    t.call(["mlpfit", "experiment=tower/small", f"name={name}"]).refused(2, "name=")
    for command in (["-m", f"sweep={name}"], ["reproduce", name], ["figures", f"sweep={name}"]):
        t.call(["mlpfit", *command]).refused(2, name)


def genuine(t: Trial) -> None:
    """Files of our own still load."""
    for ended in (t.read(), t.load(), t.resume()):
        ended.fine()


KINDS: list[Callable[[Trial], None]] = [
    *(arrays, config, checkpoint, checkpoint_by_hand, experiment, names_elsewhere, genuine),
]


@promise(
    8,
    "Files from others run no code",
    "pickles, YAML tags, `_target_`, `../`, with and without TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    full=84,
    quick=14,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    """Every kind of file in turn, by content and by environment."""
    turn, kind = divmod(number, len(KINDS))
    env = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if turn % 2 else {}
    shutil.copytree(sound_runs(), folder / "place")
    mark = folder / "payload was run"
    KINDS[kind](Trial(turn, folder, payloads(mark)[turn // 2 % 3], mark, env))
    assert not mark.exists(), "the payload ran"
