"""Inject the faults the README promises to survive, count, and compare with undisturbed runs made
here.

    python tests/torture.py [--quick] [promise number ...]      # make torture: all, in full

Full counts go to outputs/torture.md. Every trial gets a folder of its own and is reproducible from
its number. Trained processes are forked from this one, which has imported torch but never used it:
a trial then costs no start-up.
"""

import gc
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import mlpfit.ensembles
import mlpfit.ledger
import mlpfit.reproduce
import mlpfit.sweep
import mlpfit.train
import mlpfit.verify
import numpy as np
import torch

import mlpfit.figures.draw
import mlpfit.sweeps.figure
import mlpfit.report
import mlpfit.training
from mlpfit import load_run
from mlpfit.config.catalogue import CONF, experiments
from mlpfit.config.compose import compose
from mlpfit.errors import run_command
from mlpfit.runs.provenance import provenance
from mlpfit.runs.run import BLOCKS, MARKER

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
WORK = Path(tempfile.mkdtemp(prefix="torture-"))
NUMBERS = ("history.npz", "weights.npz", "data.npz", "metrics.json")
IS_ROOT = os.geteuid() == 0


# Processes
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended: its code (negative: the signal), what it said on stderr, seconds."""

    code: int
    stderr: str
    seconds: float

    def refused(self, code: int, *words: str) -> None:
        """Assert one line on stderr that holds these words, and this exit code."""
        assert self.code == code, f"exit code {self.code}, not {code}: {self.stderr}"
        assert self.stderr.startswith("mlpfit: ") and self.stderr.count("\n") == 1, (
            f"not one line: {self.stderr}"
        )
        for word in words:
            assert word in self.stderr, f"{word!r} not in {self.stderr}"

    def fine(self) -> None:
        assert self.code == 0, f"exit code {self.code}: {self.stderr[-600:]}"


class Child:
    """A forked process that runs an mlpfit command, or a function, in a folder and a process group
    of its own."""

    def __init__(
        self, command: list[str] | Callable[[], Any], folder: Path, prepare: Any = None, **env: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = WORK / f"log-{time.monotonic_ns()}"
        self.started = time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(command, folder, prepare, env)

    def _run(self, command: Any, folder: Path, prepare: Any, env: dict[str, str]) -> None:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(env)
            for number, file in ((1, os.devnull), (2, str(self.log))):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            if prepare:
                prepare()
            if callable(command):
                command()
                code = 0
            else:
                sys.argv = command
                run_command(importlib.import_module(command[0]).main)
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def kill(self, number: int, after: float = 0.0, group: bool = False) -> None:
        """Send the signal after that many seconds, unless the process has ended by then."""
        while time.monotonic() < self.started + after:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.001)
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> Ended:
        _, status = os.waitpid(self.pid, 0)
        said = self.log.read_text() if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), said, time.monotonic() - self.started)


def call(command: Any, folder: Path, prepare: Any = None, **env: str) -> Ended:
    return Child(command, folder, prepare, **env).wait()


def python(*arguments: str, cwd: Path, wrap: tuple[str, ...] = (), **env: str) -> Ended:
    """A process of its own, from the interpreter on."""
    started = time.monotonic()
    done = subprocess.run(
        [*wrap, sys.executable, "-m", *arguments],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
    )
    return Ended(done.returncode, done.stderr, time.monotonic() - started)


# What is compared
# -----------------------------------------------------------------------------------------------------

SMALL = ["trainer.max_steps=400", "trainer.block_steps=10", "checkpoint.every_n_steps=10"]
KINDS = {
    "full": ["experiment=tower/small", "model.hidden=4", *SMALL],
    "mini": ["experiment=restoration/narrow", *SMALL],
    "ensemble": [
        "experiment=tower/small",
        "model.hidden=4",
        "replicas=6",
        "ensemble.block=2",
        *SMALL,
    ],
    "mini ensemble": ["experiment=restoration/narrow", "replicas=6", "ensemble.block=2", *SMALL],
}


def train(kind: str, *more: str) -> list[str]:
    return ["mlpfit", *KINDS[kind], *more]


def state(folder: Path) -> dict[str, str]:
    """Hashes of all numbers and figures under a folder, of the optimiser's state, too."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if ".partial" in name or ".old" in name or ".board" in name or not file.is_file():
            continue
        if (
            file.name in NUMBERS
            or file.suffix == ".svg"
            or file.name in ("results.csv", "summary.csv", "ledger.json")
        ):
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.name == "last.ckpt":
            kept = torch.load(file, weights_only=True)
            digest = hashlib.sha256()
            for part in (
                kept["state_dict"],
                kept["optimizer_states"],
                kept["losses"],
                kept["global_step"],
            ):
                for leaf in torch.utils._pytree.tree_leaves(part):
                    digest.update(
                        leaf.numpy().tobytes() if torch.is_tensor(leaf) else repr(leaf).encode()
                    )
            found[name] = digest.hexdigest()
    assert found, f"nothing under {folder}"
    return found


@cache
def undisturbed(command: tuple[str, ...]) -> tuple[dict[str, str], float]:
    """What the command leaves, and its seconds."""
    folder = WORK / f"undisturbed-{abs(hash(command))}"
    done = call(list(command), folder)
    done.fine()
    return state(folder), done.seconds


def heals(command: list[str], folder: Path) -> None:
    """The same command again gives what the undisturbed one gives."""
    call(command, folder).fine()
    expected = undisturbed(tuple(command))[0]
    found = state(folder)
    assert found == expected, (
        f"differs: {[k for k in {**found, **expected} if found.get(k) != expected.get(k)]}"
    )


def nothing_partial(folder: Path) -> None:
    """Whatever lies at a final place is whole."""
    for marker in folder.rglob(MARKER):
        if ".partial" not in str(marker) and BLOCKS not in marker.parts:
            run = load_run(marker.parent)
            assert run.history and run.metrics and run.data and len(run.snapshots) and run.config
    for file in folder.rglob("*.svg"):
        if not file.name.startswith("."):
            ET.parse(file)


# 1 Same command, same results
# -----------------------------------------------------------------------------------------

SURROUNDINGS = [
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"},
    {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONHASHSEED": "77", "CLOCK": "1e8"},
    {"LC_ALL": "POSIX", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "UMASK": "077"},
    {"PYTHONHASHSEED": "random", "MPLBACKEND": "svg", "CLOCK": "-1e9", "TWICE": "1"},
    {"COLUMNS": "40", "TERM": "dumb", "LANG": "de_DE.UTF-8", "UMASK": "002"},
]


def clone(folder: Path) -> Path:
    """The committed tree, with this tree's sources."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    for name in ("src", "conf"):
        shutil.rmtree(folder / name)
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(folder / "outputs/figures")
    return folder


@cache
def cloned_reference(names: tuple[str, ...]) -> dict[str, str]:
    tree = clone(WORK / "first clone")
    python("mlpfit", "reproduce", *names, cwd=tree, PYTHONPATH=str(tree / "src")).fine()
    return state(tree / "outputs")


def same_results(trial: int, folder: Path, quick: bool) -> None:
    names = ("plane",) if quick else ()
    expected = cloned_reference(names)
    around = dict(SURROUNDINGS[trial % len(SURROUNDINGS)])
    tree = clone(folder / f"a clone {trial} elsewhere")
    (folder / "home").mkdir()
    around |= {"HOME": str(folder / "home"), "PYTHONPATH": f"{tree / 'src'}:{folder / 'site'}"}
    (folder / "site").mkdir()  # the clock is moved where Python reads it
    (folder / "site/usercustomize.py").write_text(
        f"import os, time\nreal = time.time\ntime.time = lambda: real() + {around.pop('CLOCK', '0')}\n"
        f"os.umask(0o{around.pop('UMASK', '022')})\n"
    )
    around["PYTHONPATH"] += f":{folder / 'site'}"
    command = [sys.executable, "-c", f"import usercustomize, runpy, sys; sys.argv = ['x', *{list(names)}]; "
               "runpy.run_module('mlpfit.reproduce', run_name='__main__')"]  # fmt: skip
    twice = around.pop("TWICE", None)
    started = [
        subprocess.Popen(command, cwd=tree, env=os.environ | around, stdout=subprocess.DEVNULL)
        for _ in range(2 if twice else 1)
    ]
    assert [process.wait() for process in started] == [0] * len(started)
    assert state(tree / "outputs") == expected


# 2 A killed training continues exactly
# --------------------------------------------------------------------------------

EVERY_STEP = ["trainer.max_steps=50", "trainer.block_steps=1", "checkpoint.every_n_steps=1"]


def killed_training(trial: int, folder: Path, quick: bool) -> None:
    rng = random.Random(trial)
    if trial < 50 and not quick:  # after every step of one small run
        command = train(("full", "mini")[trial % 2], *EVERY_STEP)

        def dies() -> None:
            def report(step: int, loss: float) -> None:
                if step > trial:
                    os.kill(os.getpid(), signal.SIGKILL)

            mlpfit.train.train(compose(command[1:]), report)

        ended = call(dies, folder)
        assert ended.code == -signal.SIGKILL
    else:
        command = train(list(KINDS)[trial % 4])
        kill_at_random(command, folder, signal.SIGKILL, rng)
    nothing_partial(folder)
    heals(command, folder)


def kill_at_random(
    command: list[str], folder: Path, number: int, rng: random.Random, group: bool = False
) -> Ended:
    """Send the signal at a random moment of the command, again if that came too late."""
    seconds = undisturbed(tuple(command))[1]
    for attempt in range(20):
        child = Child(command, folder)
        child.kill(number, rng.uniform(0.02, seconds * 0.95**attempt), group)
        ended = child.wait()
        if ended.code != 0:
            return ended
        shutil.rmtree(folder)
    raise AssertionError("never in time")


# 3 A killed make reproduce heals
# --------------------------------------------------------------------------------------


def killed_reproduce(trial: int, folder: Path, quick: bool) -> None:
    command = ["mlpfit", "reproduce", *(["plane"] if quick else [])]
    kill_at_random(command, folder, signal.SIGKILL, random.Random(trial), group=True)
    nothing_partial(folder)
    heals(command, folder)


# 4 The last good checkpoint survives
# ----------------------------------------------------------------------------------


def checkpoint_survives(trial: int, folder: Path, quick: bool) -> None:
    kind = trial % 3 if quick else (0 if trial < 40 else 1 if trial < 60 else 2)
    (killed_in_the_save, full_disk, read_only)[kind](trial, folder)


def sound_checkpoints(folder: Path) -> int:
    found = [f for f in folder.rglob("*.ckpt") if not f.name.startswith(".")]
    for file in found:
        torch.load(file, weights_only=True)
    return len(found)


def killed_in_the_save(trial: int, folder: Path) -> None:
    """Before a write is synced, before it is moved into place, or right after: at the n-th of
    them."""
    rng = random.Random(trial)
    where, at = rng.choice(["fsync", "replace", "after"]), rng.randint(1, 60)
    command = train(("full", "mini")[trial % 2])

    def prepare() -> None:
        count, name = [0], "fsync" if where == "fsync" else "replace"
        real = getattr(os, name)

        def counted(*arguments: Any) -> Any:
            count[0] += 1
            if where == "after":
                real(*arguments)
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return None if where == "after" else real(*arguments)

        setattr(os, name, counted)

    (folder / "tmp").mkdir()
    elsewhere = (
        tempfile.mkdtemp(dir="/dev/shm") if os.path.isdir("/dev/shm") else str(folder / "tmp")
    )
    ended = call(command, folder / "run", prepare, TMPDIR=elsewhere)
    shutil.rmtree(elsewhere, ignore_errors=True)
    assert ended.code == -signal.SIGKILL, ended
    sound_checkpoints(folder / "run")
    nothing_partial(folder / "run")
    heals(command, folder / "run")


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(trial: int, folder: Path) -> None:
    command, size = train(("full", "mini")[trial % 2]), random.Random(trial).randint(8, 90)
    if not IS_ROOT:
        return limited_files(command, folder, size)
    with mounted(folder / "disk", size):
        call(command, folder / "disk").refused(1, "No space left")
        sound_checkpoints(folder / "disk")
        nothing_partial(folder / "disk")
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder / "disk")], check=True)
        heals(command, folder / "disk")
    return None


def limited_files(command: list[str], folder: Path, size: int) -> None:
    """Without the right to mount: files can't grow beyond the limit."""
    import resource

    call(
        command,
        folder / "disk",
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size * 100, size * 100)),
    ).refused(1, "File too large")
    sound_checkpoints(folder / "disk")
    heals(command, folder / "disk")


def read_only(trial: int, folder: Path) -> None:
    command, stop = train(("full", "mini")[trial % 2]), random.Random(trial).randint(20, 380)

    def dies() -> None:
        def report(step: int, loss: float) -> None:
            if step >= stop:
                os.kill(os.getpid(), signal.SIGKILL)

        mlpfit.train.train(compose(command[1:]), report)

    if not IS_ROOT:
        (folder / "outputs").mkdir()
        (folder / "outputs").chmod(0o555)
        call(command, folder).refused(1, "Permission denied")
        (folder / "outputs").chmod(0o755)
        return heals(command, folder)
    with mounted(folder / "disk", 100_000):
        assert call(dies, folder / "disk").code == -signal.SIGKILL
        before = {f: f.read_bytes() for f in (folder / "disk").rglob("*.ckpt")}
        subprocess.run(["mount", "-o", "remount,ro", str(folder / "disk")], check=True)
        call(command, folder / "disk").refused(1, "Read-only file system")
        assert before == {f: f.read_bytes() for f in (folder / "disk").rglob("*.ckpt")} and before
        subprocess.run(["mount", "-o", "remount,rw", str(folder / "disk")], check=True)
        heals(command, folder / "disk")
    return None


# 5 A stopped run never looks finished
# ---------------------------------------------------------------------------------


def stopped(trial: int, folder: Path, quick: bool) -> None:
    number = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[trial % 3]
    command = train(list(KINDS)[trial // 3 % 4])
    expected = undisturbed(tuple(command))[0]
    for attempt in range(20):
        child = Child(command, folder)
        # not in the first milliseconds, before the command has set its handlers
        child.kill(
            number,
            random.Random((trial, attempt).__hash__()).uniform(
                0.05, undisturbed(tuple(command))[1]
            ),
        )
        ended = child.wait()
        if ended.code != 0:
            break
        shutil.rmtree(folder)
    assert ended.code == 128 + number, ended
    assert not [f for f in folder.rglob(MARKER) if ".partial" not in str(f)]
    assert ended.stderr.count("\n") <= 1 and "Traceback" not in ended.stderr, ended.stderr
    heals(command, folder)
    assert state(folder) == expected


# 6 No figure, ledger or report from damaged data
# ----------------------------------------------------------------------


@cache
def sound_tree(quick: bool) -> tuple[Path, dict[str, list[Path]]]:
    """Runs of the plane, ensembles of four replicas, ledger; and which files figure, ledger and
    report read."""
    tree = WORK / "sound"
    call(["mlpfit", "reproduce", *(["plane"] if quick else [])], tree).fine()
    commands = [["mlpfit.figures.torture", "plane"]]
    if not quick:
        small = ["replicas=4", "ensemble.block=2", "trainer.compile=false", "ensemble.processes=1"]
        call(["mlpfit", "ensembles", *small], tree).fine()
        call(["mlpfit", "ledger"], tree).fine()
        call(partial(mlpfit.figures.draw.draw_all, [], Path("outputs")), tree).fine()
        commands += [["mlpfit", "ledger"], ["mlpfit", "report"]]
    read = {}
    log = WORK / "read.json"
    for command in commands:
        call(partial(_recorded, command, log), tree).fine()
        read[command[0]] = sorted({Path(name) for name in json.loads(log.read_text())})
    return tree, read


def _recorded(command: list[str], log: Path) -> None:
    """Run a command and leave the names of the run files it read."""
    names: list[str] = []
    real = mlpfit.runs.Run._read

    def reading(self: Any, name: str) -> bytes:
        names.append(str(self.path / name))
        return real(self, name)

    mlpfit.runs.Run._read = reading  # type: ignore[method-assign]
    if "figures" in command[0]:
        for svg in Path("outputs/figures/plane").glob("*.svg"):
            svg.unlink()
    _program(command)()
    log.write_text(json.dumps(names))


def _program(command: list[str]) -> Callable[[], Any]:
    if command[0] == "mlpfit.figures.torture":
        return lambda: mlpfit.figures.draw.draw_all(command[1:], Path("outputs"))
    sys.argv = command
    return importlib.import_module(command[0]).main


def damaged(trial: int, folder: Path, quick: bool) -> None:
    tree, read = sound_tree(quick)
    rng = random.Random(trial)
    name = list(read)[trial % len(read)]
    shutil.copytree(tree, folder / "tree")
    candidates = [f for f in read[name] if "figures" not in name or "plane/scratch" in str(f)]
    victim = folder / "tree" / rng.choice(candidates)
    run = Path(*victim.parts[: victim.parts.index("outputs") + 4])
    # what has to be drawn again, and is drawn from the victim
    stem = "scratch" if "runs" in victim.parts else "distribution"
    figure = folder / f"tree/outputs/figures/plane/{stem}.svg"
    if "figures" in name:
        figure.write_text("old")
    kept = {
        f: f.read_bytes() for f in (figure, *(folder / "tree/outputs").glob("[lr]e*.[jh]*"))
    }  # ledger, report
    kinds = [
        "truncate",
        "flip",
        "remove",
        "foreign",
        "another run",
        *(["block"] if BLOCKS in victim.parts else []),
    ]
    kind = kinds[trial // 3 % len(kinds)]
    content = victim.read_bytes()
    if kind == "truncate":
        victim.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "flip":
        at = rng.randrange(len(content))
        victim.write_bytes(
            content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        )
    elif kind == "remove":
        victim.unlink()
    elif kind == "foreign":
        others = [f for f in (folder / "tree").rglob(victim.name) if f.read_bytes() != content]
        victim.write_bytes(rng.choice(others).read_bytes())
    elif kind == "another run":  # whole and finished, but of other settings
        other = rng.choice(
            [m.parent for m in run.parents[1].glob(f"*/*/{MARKER}") if m.parent != run]
        )
        shutil.rmtree(run)
        shutil.copytree(other, run)
    else:  # a replica's block is gone, or there twice
        block = victim.parent
        shutil.rmtree(block)
        if rng.random() < 0.5:
            shutil.copytree(next(b for b in block.parent.iterdir() if b != block), block)
    named = {"block": victim.parents[2], "another run": run}
    command = ["mlpfit.figures.torture", "plane"] if "figures" in name else [name]
    ended = call(lambda: run_command(lambda: _program(command)() and 0), folder / "tree")
    ended.refused(1, str(named.get(kind, victim).relative_to(folder / "tree")))
    assert kept == {f: f.read_bytes() for f in kept}, "an older file was touched"


# 7 Bad config: one clear line
# -----------------------------------------------------------------------------------------


def mutations(rng: random.Random) -> tuple[list[str], str]:
    """A wrong command line and the word its refusal must hold."""
    name = rng.choice([n for n in experiments() if n != "plane/least_squares"])
    plain = compose([f"experiment={name}"]).plain()
    numbers = [
        f"{g}.{k}" for g in ("optimizer", "trainer", "logger", "checkpoint", "ensemble", "target")
        for k, v in plain[g].items() if isinstance(v, int | float) and not isinstance(v, bool)
    ]  # fmt: skip
    positive = [
        k
        for k in numbers
        if k.split(".")[1] in ("lr", "max_steps", "points", "every_n_steps", "block_steps")
    ]
    choices = ["loss", "streams", "model.activation", "model.init", "model.gradient", "trainer.precision",
               "trainer.accelerator", "data.order", "target.inputs", "target.name", "optimizer.name"]  # fmt: skip
    word = "".join(rng.choices("abcdefghijklmnop", k=7))
    key = rng.choice(numbers)
    made = rng.choice(
        [
            lambda: ([f"{word}={rng.randint(0, 9)}"], word),
            lambda: ([f"+{word}={rng.randint(0, 9)}"], word),
            lambda: ([f"+{key.split('.')[0]}.{word}=1"], f"{key.split('.')[0]}.{word}"),
            lambda: ([f"{key.split('.')[0]}.{word}=1"], word),
            lambda: ([f"{key}={word}"], key),
            lambda: ([f"{key}=[1,2]"], key),
            lambda: ([f"{key}=true"], key),
            lambda: ([f"{key}=null"], key),
            lambda: ([f"{key}=nan"], key),
            lambda: ([f"{(k := rng.choice(positive))}={rng.choice(['-1', '0', '-0.5'])}"], k),
            lambda: ([f"{(k := rng.choice(choices))}={word}"], k),
            lambda: ([f"{rng.choice(['target', 'optimizer'])}={word}"], word),
            lambda: ([f"{key}=${{{word}}}"], word),
            lambda: ([f"{key}=${{{word}"], key),
            lambda: ([f"~{key}"], key),
            lambda: (
                [f"model.hidden={rng.choice(['0', '-3', '8-', '8x8', '1.5', word])}"],
                "model.hidden",
            ),
            lambda: ([f"seed={rng.choice(['-1', '4294967296', '1.5', word])}"], "seed"),
            lambda: ([f"seeds={rng.choice(['[1,1]', '[]', '3', '[a]', '[-1]'])}"], "seeds"),
            lambda: ([f"replicas={rng.choice(['0', '-2', '1.5', word])}"], "replicas"),
            lambda: (
                [f"name={rng.choice(['../x', 'a/../b', '/etc/x', 'x', 'a/b/c', 'a b/c'])}"],
                "name",
            ),
            lambda: (
                [f"data.batch_size={rng.choice(['0', '-1', '9999999'])}", "data.order=shuffle"],
                "data.",
            ),
            lambda: (["-m", f"{key}=range(0,0)"], "no jobs"),
            lambda: (["-m", f"{key}={word},{word}x"], key),
            lambda: (["-m", f"{key}=choice()"], key),
            lambda: (["-m", f"sweep={word}"], word),
            lambda: ([f"experiment={word}/{word}"], word),
            lambda: ([f"{key}={word}={word}("], key),
            lambda: ([f"{key}:{word}"], word),
        ]
    )()
    arguments, expected = made
    return [
        f"experiment={name}" if not arguments[0].startswith("experiment=") else "seed=1",
        *arguments,
    ], expected


def bad_config(trial: int, folder: Path, quick: bool) -> None:
    rng = random.Random(trial)
    place = folder / "here"
    if trial % 10 == 9:  # a broken file instead of a broken override
        mine = folder / "mine/experiment/own"
        mine.mkdir(parents=True)
        good = (
            (CONF / "experiment/plane/scratch.yaml")
            .read_text()
            .replace("plane/scratch", "own/broken")
        )
        broken = [
            good + "  : [", good.replace("max_steps: 200", "max_steps: many"), good + "\n\tx: 1\n",
            good + "surplus: 1\n",
            good.replace("  max_steps: 200", "  max_step: 200"), good.replace("name: own/broken\n", ""),
            good.replace("/target: plane", "/target: nowhere"), "- a\n- list\n",
            good + "seed: !!python/name:os.system\n",
            good.replace("lr: 0.01", "lr: ${no.such.key}"),
        ]  # fmt: skip
        (mine / "broken.yaml").write_text(broken[trial // 10 % len(broken)])
        ended = call(["mlpfit", "experiment=own/broken"], place, MLPFIT_PATH=str(folder / "mine"))
        ended.refused(2)
    else:
        arguments, expected = mutations(rng)
        ended = call(["mlpfit", *arguments], place)
        ended.refused(2, expected)
    assert list(place.iterdir()) == [], f"created {list(place.iterdir())}"


# 8 Files from others run no code
# --------------------------------------------------------------------------------------


class Payload:
    """Leaves a file wherever it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def reseal(run: Path) -> None:
    """Whoever gives a run away can write its marker, too."""
    marker = json.loads((run / MARKER).read_text())
    for name in marker["files"]:
        marker["files"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / MARKER).write_text(json.dumps(marker))


def pickled(marker: Path) -> dict[str, bytes]:
    import pickle

    raw = pickle.dumps(Payload(marker))
    arrays, tensors = io.BytesIO(), io.BytesIO()
    np.savez(
        arrays,
        step=np.array([Payload(marker)], dtype=object),
        loss=np.array([Payload(marker)], dtype=object),
    )
    torch.save({"state_dict": Payload(marker), "global_step": 3}, tensors)
    return {"pickle": raw, "npz": arrays.getvalue(), "torch": tensors.getvalue()}


YAML_PAYLOAD = "!!python/object/apply:os.mkdir ['{}']\n"


@cache
def sound_run() -> Path:
    """A finished run, and an interrupted one of the same settings beside it."""
    place = WORK / "sound run"
    call(train("mini"), place / "finished").fine()

    def dies() -> None:
        mlpfit.train.train(
            compose(train("mini")[1:]), lambda step, loss: os._exit(0) if step >= 200 else None
        )

    call(dies, place / "interrupted")
    return place


def loaded(path: str) -> Callable[[], None]:
    def load() -> None:
        from mlpfit.model.regression import Regression

        Regression.load_from_checkpoint(path)

    return load


def no_code(trial: int, folder: Path, quick: bool) -> None:
    """Eight kinds of foreign file, by content and by environment."""
    marker = folder / "payload was run"
    payloads = pickled(marker)
    content = payloads[("pickle", "npz", "torch")[trial // 16 % 3]]
    env = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if trial // 8 % 2 else {}
    shutil.copytree(sound_run(), folder / "place")
    finished = folder / "place/finished/outputs/runs/restoration/narrow"
    read = ["mlpfit.figures.torture", "restoration/narrow"]

    def drawn() -> None:
        run_command(lambda: _program(read)() and 0)

    kind = trial % 8
    if kind in (0, 1):  # arrays of a run
        (finished / ("history.npz", "weights.npz", "data.npz")[trial // 8 % 3]).write_bytes(content)
        reseal(finished)
        ended = call(
            lambda: run_command(lambda: _all_of(finished)), folder / "place/finished", **env
        )
        ended.refused(1, ".npz")
    elif kind == 2:  # its config
        (finished / "config.yaml").write_text("model: " + YAML_PAYLOAD.format(marker))
        reseal(finished)
        ended = call(
            lambda: run_command(lambda: _all_of(finished)), folder / "place/finished", **env
        )
        ended.refused(1, "config.yaml")
    elif kind == 3:  # the checkpoint that a run goes on from
        (partial,) = (folder / "place/interrupted").rglob("last.ckpt")
        partial.write_bytes(content)
        call(train("mini"), folder / "place/interrupted", **env).refused(
            1, "last.ckpt", "force=true"
        )
    elif kind == 4:  # a checkpoint loaded by hand
        (finished / "checkpoints/last.ckpt").write_bytes(
            payloads["torch"] if trial % 16 < 8 else content
        )
        ended = call(loaded(str(finished / "checkpoints/last.ckpt")), folder, **env)
        assert ended.code != 0
    elif kind == 5:  # an experiment
        mine = folder / "mine/experiment/own"
        mine.mkdir(parents=True)
        good = (
            (CONF / "experiment/plane/scratch.yaml")
            .read_text()
            .replace("plane/scratch", "own/foreign")
        )
        lines = [
            f"seed: {YAML_PAYLOAD.format(marker)}", f"target: {{_target_: os.mkdir, path: '{marker}'}}\n",
            f"logger: {{_target_: os.mkdir, path: '{marker}'}}\n", "hydra: {callbacks: {x: {_target_: os.mkdir}}}\n",
        ]  # fmt: skip
        line = lines[trial // 8 % 4]
        (mine / "foreign.yaml").write_text(good + line)
        more = ["-m", "seed=1,2", "hydra/launcher=basic"] if line.startswith("hydra") else []
        command = ["mlpfit", *more, "experiment=own/foreign"]
        call(command, folder / "here", **env, MLPFIT_PATH=str(folder / "mine")).refused(2)
    elif kind == 6:  # names that lead elsewhere
        name = ("../../x", "a/../../x", "/x/y", "..")[trial // 8 % 4]
        call(["mlpfit", "experiment=tower/small", f"name={name}"], folder / "here").refused(
            2, "name="
        )
        for command in (["mlpfit", "-m", f"sweep={name}"], ["mlpfit", "reproduce", name]):
            call(command, folder / "here").refused(2, name)
        call(lambda: run_command(lambda: bool(mlpfit.sweeps.figure.draw_sweep(Path("outputs/sweeps") / name))),
             folder / "here")  # fmt: skip
    else:  # genuine files still load
        call(
            lambda: run_command(lambda: _all_of(finished)), folder / "place/finished", **env
        ).fine()
        call(loaded(str(finished / "checkpoints/last.ckpt")), folder, **env).fine()
        call(train("mini"), folder / "place/interrupted", **env).fine()
        assert drawn
    assert not marker.exists(), "the payload ran"


def _all_of(path: Path) -> int:
    run = load_run(path)
    assert run.config and run.history and run.data and len(run.snapshots) and run.metrics
    return 0


# 9 Two runs at once do not mix
# ----------------------------------------------------------------------------------------


def two_at_once(trial: int, folder: Path, quick: bool) -> None:
    rng = random.Random(trial)
    kind = trial % 5
    if kind == 0:
        command = ["mlpfit", "reproduce", ("plane", "gradient", "restoration")[trial // 5 % 3]]
    else:
        command = train(list(KINDS)[trial % 4])
    if kind == 4:  # the lock of a process that was killed
        kill_at_random(command, folder, signal.SIGKILL, rng)
    else:
        undisturbed(tuple(command))
        children = [Child(command, folder) for _ in range(2)]
        for child in children:
            child.wait().fine()
    heals(command, folder)


# 10 Honest resume
# -----------------------------------------------------------------------------------------------------

CHANGES = ["optimizer.lr=0.002", "seed=5", "target.noise=0.25", "trainer.max_steps=300", "model.init=normal",
           "loss=sse", "checkpoint.every_n_steps=20", "streams=legacy", "trainer.precision=64-true"]  # fmt: skip


def honest_resume(trial: int, folder: Path, quick: bool) -> None:
    command = train("full")

    def dies() -> None:
        mlpfit.train.train(
            compose(command[1:]), lambda step, loss: os._exit(9) if step >= 100 else None
        )

    assert call(dies, folder).code == 9
    if trial % 10 == 9:  # the code has changed since
        tree = clone(folder.with_name(f"{folder.name}-clone"))
        with (tree / "src/mlpfit/mlp.py").open("a") as file:
            file.write("# another version\n")
        python(*command, cwd=folder, PYTHONPATH=str(tree / "src")).refused(
            1, "code: ", "force=true"
        )
        return heals(command, folder)
    if trial % 10 == 8:  # its checkpoint is another run's
        other, command_of_other = folder.with_name(f"{folder.name}-other"), [*command, "seed=5"]

        def dies_too() -> None:
            mlpfit.train.train(
                compose(command_of_other[1:]),
                lambda step, loss: os._exit(9) if step >= 100 else None,
            )

        assert call(dies_too, other).code == 9
        (foreign,), (ours,) = other.rglob("last.ckpt"), folder.rglob("last.ckpt")
        shutil.copy(foreign, ours)
        call(command, folder).refused(1, "last.ckpt", "force=true")
        call([*command, "force=true"], folder).fine()
        return heals(command, folder)
    change = CHANGES[trial % len(CHANGES)]
    replaced = [a for a in command if a.split("=")[0] != change.split("=")[0]] + [change]
    call(replaced, folder).refused(1, f"{change.split('=')[0]}: ", "force=true")
    if trial % 2:
        call([*replaced, "force=true"], folder).fine()
        assert state(folder) == undisturbed(tuple(replaced))[0]
    else:
        heals(command, folder)
    (marker,) = (f for f in folder.rglob(MARKER))
    before = marker.stat().st_mtime_ns
    call(replaced if trial % 2 else command, folder).fine()
    assert marker.stat().st_mtime_ns == before, "a finished run was trained again"
    return None


# 11 The way of running doesn't matter
# ---------------------------------------------------------------------------------


def numbers_of(folder: Path, name: str) -> dict[str, bytes]:
    (run,) = (m.parent for m in folder.rglob(MARKER) if str(m.parent).endswith(f"/{name}"))
    return {file: (run / file).read_bytes() for file in NUMBERS}


@cache
def ways(quick: bool) -> dict[str, Path]:
    """The same experiments run in other ways, each in a folder."""
    names = [n for n in experiments() if not quick or n.startswith("plane")]
    found = {"make reproduce": WORK / "ways/reproduce"}
    call(["mlpfit", "reproduce", *names], found["make reproduce"]).fine()

    def shuffled() -> None:
        for name in random.Random(1).sample(names, len(names)):
            mlpfit.train.train(compose([f"experiment={name}"]))

    found["one process, shuffled"] = WORK / "ways/shuffled"
    call(shuffled, found["one process, shuffled"]).fine()
    if quick:
        return found
    multirun = ["mlpfit", "-m", f"experiment={','.join(names)}"]
    found["two processes"] = WORK / "ways/processes"
    found["two processes"].mkdir()
    python(*multirun, "ensemble.processes=2", cwd=found["two processes"]).fine()
    if importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(
        "hydra_plugins.hydra_joblib_launcher"
    ):
        found["joblib"] = WORK / "ways/joblib"
        found["joblib"].mkdir()
        python(*multirun, "hydra/launcher=joblib", cwd=found["joblib"]).fine()
    return found


def any_way(trial: int, folder: Path, quick: bool) -> None:
    """One experiment alone against every other way of running it."""
    names = [n for n in experiments() if not quick or n.startswith("plane")]
    name = names[trial % len(names)]
    call(["mlpfit", f"experiment={name}"], folder).fine()
    alone = numbers_of(folder, name)
    for way, place in ways(quick).items():
        assert numbers_of(place, name) == alone, way


# 12 Other machines: a stated tolerance
# --------------------------------------------------------------------------------


def other_machine(trial: int, folder: Path, quick: bool) -> None:
    level, threads = ("default", "avx2", "avx512")[trial % 3], str(trial // 3 % 2 + 1)
    (folder / "outputs").mkdir(parents=True)
    for name in ("reference.json", *mlpfit.verify.kept_files(ROOT / "outputs")):
        (folder / "outputs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "outputs" / name, folder / "outputs" / name)
    done = subprocess.run(
        [sys.executable, "-m", "mlpfit", "verify", *(["plane"] if quick else [])],
        cwd=folder, capture_output=True, text=True,
        env=os.environ | {"ATEN_CPU_CAPABILITY": level, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "machine: " in done.stdout and " 0 different" in done.stdout
    if level == "default":
        assert "capability: " in done.stdout and " 0 identical" not in done.stdout


# 13 Long series stay flat
# ---------------------------------------------------------------------------------------------


def long_series(trial: int, folder: Path, quick: bool) -> None:
    jobs, tail, first = (24, 8, 8) if quick else (300, 50, 20)
    log = folder / "log.json"

    def series() -> None:
        seen = []
        for seed in range(jobs):
            started = time.process_time()
            small = ["experiment=tower/small", "model.hidden=4", "trainer.max_steps=20"]
            mlpfit.train.train(compose([*small, f"seed={seed}", f"output_dir=o{seed}"]))
            seconds = time.process_time() - started
            shutil.rmtree(f"o{seed}")
            if (seed + 1) % first == 0:
                gc.collect()  # what Python has only not yet collected is no leak
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append((seconds, pages * 4096 / 2**20, len(os.listdir("/proc/self/fd"))))
        log.write_text(json.dumps(seen))

    call(series, folder).fine()
    seconds, memory, files = np.array(json.loads(log.read_text())).T
    memory = memory[first - 1 :: first]
    assert len(set(files[first:])) == 1, f"descriptors {sorted(set(files[first:]))}"
    assert memory[-1] < 1.01 * memory[0], (
        f"{memory[0]:.0f} MiB after {first} jobs, {memory[-1]:.0f} at the end"
    )
    late, early = np.median(seconds[-tail:]), np.median(seconds[5 : 5 + tail])
    NOTES[13] = (
        f"{memory[0]:.0f} MiB after {first} jobs, {memory[-1]:.0f} after {jobs}; {files[-1]:.0f} descriptors; "
        f"last jobs {late / early:.2f} times the first in processor time"
    )
    # The few jobs of the quick trials say nothing of speed on a busy machine; those of the full
    # count do.
    assert quick or late < 1.3 * early, NOTES[13]


# 14 Offline and tidy
# --------------------------------------------------------------------------------------------------


def offline(trial: int, folder: Path, quick: bool) -> None:
    """No network, a home, sources and environment that can't be written: only the working folder
    can."""
    home, tmp = folder / "home", folder / "work/outputs/tmp"
    home.mkdir()
    tmp.mkdir(parents=True)
    bind = " && ".join(
        f"mount --bind '{place}' '{place}' && mount -o remount,ro,bind '{place}'"
        for place in (home, ROOT, sys.prefix)
    )
    commands = [["mlpfit", "reproduce", *(["plane"] if quick else [])]]
    if not quick:
        commands += [
            ["mlpfit", "experiment=plane/scratch", "replicas=64", "trainer.compile=true"],
            ["mlpfit", "tensorboard"],
        ]
    wrap = ("unshare", "-n", "-m", "sh", "-c", f'{bind} && exec "$@"', "sh") if IS_ROOT else ()
    if not IS_ROOT:
        home.chmod(0o555)
    for command in commands:
        ended = python(
            *command, cwd=folder / "work", wrap=wrap, HOME=str(home), TMPDIR=str(tmp), PYTHONDONTWRITEBYTECODE="1",
            HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9",
        )  # fmt: skip
        ended.fine()
        assert ended.stderr == "", ended.stderr
    assert list(home.iterdir()) == [] and [f.name for f in (folder / "work").iterdir()] == [
        "outputs"
    ]
    allowed = {"runs", "ensembles", "figures", "results.csv", ".locks", ".cache", "tmp"}
    assert {f.name for f in (folder / "work/outputs").iterdir()} <= allowed


# The table
# ------------------------------------------------------------------------------------------------------------

NOTES: dict[int, str] = {}


@dataclass(frozen=True)
class Promise:
    words: str
    fault: str
    full: int
    quick: int
    trial: Callable[[int, Path, bool], None]


PROMISES = {
    1: Promise("Same command, same results", "clones at other paths; TZ, locale, umask, HOME, hash seed, clock, "
               "threads, two at once", 5, 1, same_results),
    2: Promise("A killed training continues exactly", "kill -9 after each of 50 steps and at random moments; single "
               "runs and ensembles, full and mini-batch", 110, 3, killed_training),
    3: Promise("A killed `make reproduce` heals", "kill -9 of the process group at random moments", 30, 1,
               killed_reproduce),
    4: Promise("The last good checkpoint survives", "kill inside the save, full disk, read-only folder", 70, 3,
               checkpoint_survives),
    5: Promise("A stopped run never looks finished", "SIGTERM, SIGINT, SIGHUP at random moments", 60, 3, stopped),
    6: Promise("No figure, ledger or report from damaged data", "truncated, flipped, missing, foreign files; blocks "
               "gone or doubled", 100, 6, damaged),
    7: Promise("Bad config: one clear line", "generated wrong overrides and files", 200, 20, bad_config),
    8: Promise("Files from others run no code", "pickles, YAML tags, `_target_`, `../`, with and without "
               "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", 80, 16, no_code),
    9: Promise("Two runs at once do not mix", "the same command twice in the same second; stale locks", 50, 2,
               two_at_once),
    10: Promise("Honest resume", "settings, seed or code changed between stop and resume", 20, 2, honest_resume),
    11: Promise("The way of running doesn't matter", "alone, one process shuffled, two processes, joblib",
                len(experiments()), 1, any_way),
    12: Promise("Other machines: a stated tolerance", "CPU dispatch levels, 1 and 2 threads, through `make verify`", 6,
                1, other_machine),
    13: Promise("Long series stay flat", "300 jobs in one process", 1, 1, long_series),
    14: Promise("Offline and tidy", "no network, read-only home, sources and environment", 1, 1, offline),
}  # fmt: skip


def keep_promise(number: int, quick: bool) -> tuple[int, int, float]:
    """Trials, passed, seconds; failures are printed."""
    promise, started, passed = PROMISES[number], time.monotonic(), 0
    trials = promise.quick if quick else promise.full
    for trial in range(trials):
        folder = WORK / f"{number}-{trial}"
        folder.mkdir()
        try:
            promise.trial(trial, folder, quick)
            passed += 1
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1].lineno
            said = " ".join(str(error).split())[-400:]
            print(
                f"promise {number}, trial {trial}: {type(error).__name__} in line {where}: {said}",
                flush=True,
            )
        shutil.rmtree(folder, ignore_errors=True)
    return trials, passed, time.monotonic() - started


def table(found: dict[int, str]) -> str:
    head = "| # | promise | fault | trials | passed | seconds |\n| --- | --- | --- | --- | --- | --- |\n"
    made = provenance()
    return (
        "# Promises under torture\n\nWritten by `make torture`. Every trial injects the fault and compares with an "
        "undisturbed run made beside it.\n\n"
        + head + "\n".join(found[n] for n in sorted(found)) + "\n\n"
        + f"On {made['processor']}, {os.cpu_count()} cores, torch {made['versions']['torch']}, {made['platform']}.\n"
    )  # fmt: skip


def main() -> int:
    quick = "--quick" in sys.argv
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()] or list(PROMISES)
    file, failed = ROOT / "outputs/torture.md", 0
    try:
        for number in numbers:
            trials, passed, seconds = keep_promise(number, quick)
            failed += trials - passed
            note = f" ({NOTES[number]})" if number in NOTES else ""
            print(
                f"{number:>2} {PROMISES[number].words}: {passed} of {trials} in {seconds:.0f} s{note}",
                flush=True,
            )
            if not quick:
                lines = file.read_text().splitlines() if file.is_file() else []
                kept = {
                    int(p[1]): line
                    for line in lines
                    if len(p := line.split("|")) > 6 and p[1].strip().isdigit()
                }
                p = PROMISES[number]
                kept[number] = (
                    f"| {number} | {p.words} | {p.fault}{note} | {trials} | {passed} | {seconds:.0f} |"
                )
                file.write_text(table(kept))
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
