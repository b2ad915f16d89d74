"""Calls of the training kernels, written to files, and what programs of other compilers and
processors make of them."""

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import Config, LeastSquares
from mlpfit.data.datamodule import ReplicaData
from mlpfit.engine import compiler, evaluation
from mlpfit.engine.steps import FACTORS, Call, CompiledSteps, kernel_name
from mlpfit.training.engine import kernel_cache
from mlpfit.training.run import make_data, make_module

DRIVER = Path(__file__).with_name("driver.cpp")
REPLICAS, STEPS, QUICK_STEPS = 4, 300, 8
QUICK = "parabola/eight_neurons", "tower/small"
OPERATIONS = 2e7  # of all steps of a call: large nets take fewer steps


@dataclass(frozen=True)
class Option:
    """What no experiment has, tried on some of them."""

    activation: Any = "relu"
    optimizer: Any = None
    loss: Any = None
    outputs: int = 1


OPTIONS = {
    "tanh": Option("tanh"),
    "adam": Option(optimizer=partial(torch.optim.Adam, lr=0.01)),
    "nesterov": Option(
        optimizer=partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01)
    ),
    "sigmoid, huber, adamw": Option(
        "sigmoid",
        partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
        {"name": "huber", "delta": 0.5},
    ),
    "leaky_relu, mae, rmsprop, two outputs": Option(
        {"name": "leaky_relu", "negative_slope": 0.2},
        partial(torch.optim.RMSprop, lr=0.01, momentum=0.9, weight_decay=0.01),
        "mae",
        outputs=2,
    ),
}
OPTIONS_OF = "parabola/eight_neurons", "plane/scratch", "restoration/framework", "tower/large"
PRECISIONS = {"float": "32-true", "double": "64-true"}


@dataclass(frozen=True)
class Problem:
    """A call of a kernel. kernel: specialised, narrow or wide; call: the file's bytes; expected:
    what this machine's kernel leaves, as the driver writes it."""

    name: str
    kernel: str
    source: str = field(repr=False)
    call: bytes = field(repr=False)
    expected: bytes = field(repr=False)


class Recorder(CompiledSteps):
    """Steps that keep their call as bytes."""

    kernel = "narrow"
    total = 0  # rows of a replica

    def __call__(self, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        order = args[2] if len(args) > 2 else None
        self.total = x.shape[1] if order is None else order.rows.shape[1]
        return super().__call__(x, *args, **options)

    def _kernel(self, call: Call) -> Any:
        self.call = self._bytes(call)
        every = compiler.source(self.real, *compiler.HEADERS)
        self.text = self.source(call, True) if self.kernel == "specialised" else every
        name = "wide" if self.kernel == "wide" else "narrow"
        run = compiler.load(self.text, self.cache)[f"run_{name}"]
        run.argtypes, run.restype = [ctypes.c_void_p], None
        return run

    def _bytes(self, call: Call) -> bytes:
        real = np.dtype(np.float64 if self.real == "double" else np.float32)
        replicas, inputs, outputs = call.replicas, self.units[0], self.units[-1]
        parts: list[Any] = [np.array([self.kernel == "wide", self.total], np.int64)]
        parts += [np.frombuffer(bytes(call), np.uint8), np.array(self.units, np.int64)]
        parts += [
            np.concatenate(
                [
                    _at(rows.values + r * rows.replica * real.itemsize, n, real)
                    for r in range(replicas)
                ]
            )
            for rows, n in ((call.x, self.total * inputs), (call.y, self.total * outputs))
        ]
        if call.ordered:
            parts += [
                _at(address, replicas * call.steps, np.dtype(np.int64))
                for address in (call.order.starts, call.order.lengths)
            ]
        parts.append(_at(call.factors, FACTORS * call.steps, real))
        parts += [values.numpy() for values in self._state()]
        return b"".join(part.tobytes() for part in parts)


def _at(address: int, count: int, kind: np.dtype) -> np.ndarray:
    return np.frombuffer(ctypes.string_at(address, count * kind.itemsize), kind)


def problems(quick: bool) -> Iterator[Problem]:
    """Every kernel that an experiment can use, as published and with OPTIONS, in both precisions.
    quick: only some, of any shape, of fewer steps."""
    steps = QUICK_STEPS if quick else STEPS
    for name in QUICK if quick else experiments():
        for real, precision in PRECISIONS.items():
            config = compose(
                [f"experiment={name}", f"trainer.precision={precision}", f"replicas={REPLICAS}"]
            )
            if isinstance(config.optimizer, LeastSquares):
                continue
            data = make_data(config)
            for kernel in kernels(config.units):
                specialised = kernel == "specialised"  # compiled for each problem apart
                if specialised and (quick or (real == "double" and name not in OPTIONS_OF)):
                    continue
                further = name in OPTIONS_OF and not (specialised and real == "double")
                for option in ["", *(OPTIONS if further else ())]:
                    title = " ".join(filter(None, [name, option, real, kernel]))
                    yield problem(title, config, data, option, kernel, steps)


def kernels(units: Sequence[int]) -> list[str]:
    """Those that can train nets of these widths."""
    narrow = ["specialised", "narrow"] if kernel_name(units) == "narrow" else []
    return narrow + ["wide"] * (len(units) > 2)


def problem(
    name: str, config: Config, data: ReplicaData, option: str, kernel: str, steps: int
) -> Problem:
    """A call with this config's first steps. Replica 2 begins with subnormal weights and replica 3
    with huge ones, so that it diverges."""
    torch.set_num_threads(1)
    module, real = make_module(config), data.x.dtype
    given, net, y = OPTIONS.get(option), module.mlp, data.y
    if given:
        net.activation = given.activation
    if given and given.outputs > 1:  # all with the weights of the one that there is
        y = torch.cat([(-0.5) ** k * y for k in range(given.outputs)], 2)
        last = [
            net.layers[-1][0].repeat(1, 1, given.outputs),
            net.layers[-1][1].repeat(1, 1, given.outputs),
        ]
        for name_of, values in zip(("weight", "bias"), last, strict=True):
            setattr(net, f"{name_of}_{net.depth - 1}", torch.nn.Parameter(values.detach()))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[2] *= torch.finfo(real).tiny / 16
            parameter[3] *= torch.finfo(real).max ** 0.4
    work = len(data.x) * data.x.shape[1] * sum((a + 1) * b for a, b in pairwise(config.units))
    steps = max(2, min(steps, int(OPERATIONS / work)))
    kind = given.optimizer if given else None
    optimizer = kind(net.parameters()) if kind else module.configure_optimizers()
    loss = (given.loss if given else None) or config.loss
    record = Recorder(net, loss, optimizer, kernel_cache(config), threads=3)
    record.kernel = kernel
    losses = record(data.x, y, steps, data.order_of(0, steps))
    state = record._state()
    left = [losses.numpy().tobytes(), *(values.numpy().tobytes() for values in state)]
    if kernel != "specialised":
        x = data.x
        if (order := data.order_of(0, steps)) is not None:
            replica, rows = torch.arange(len(x))[:, None], torch.from_numpy(order.rows)
            x, y = x[replica, rows], y[replica, rows]
        layers = [(w.detach().numpy(), b.detach().numpy()) for w, b in net.layers]
        errors = evaluation.errors(layers, x.numpy(), y.numpy(), net.activation)
        squares = np.where(np.isnan(errors.squares), np.nan, errors.squares)
        left += [squares.tobytes(), errors.dead_units.astype(np.int64).tobytes()]
    return Problem(name, kernel, record.text, record.call, b"".join(left))


@dataclass(frozen=True)
class Build:
    """A way to compile and run the kernels. flags: before the project's own; optimisation: in
    place of its -O2; runner: what runs the program; needs: names that /proc/cpuinfo must have."""

    compiler: str
    machine: str = "-march=native"
    flags: tuple[str, ...] = ()
    optimisation: str = "-O2"
    runner: tuple[str, ...] = ()
    needs: str = ""

    def __str__(self) -> str:
        words = [self.compiler, *self.flags, self.optimisation, self.machine]
        return " ".join(filter(None, [*words, f"({' '.join(self.runner)})" * bool(self.runner)]))

    @cached_property
    def missing(self) -> str:
        """Why it can't be compiled here, or ""."""
        programs = [self.compiler, *self.runner[:1]]
        missing = [name for name in programs if shutil.which(name) is None]
        return f"no {missing[0]} here" if missing else ""

    @property
    def runs_here(self) -> bool:
        file = Path("/proc/cpuinfo")
        return not self.needs or (file.exists() and self.needs in file.read_text().split())

    def command(self) -> list[str]:
        ours = [flag for flag in compiler.FLAGS if flag not in ("-shared", "-O2", "-fPIC")]
        machine = [self.machine] if self.machine else []
        flags = [*self.flags, *ours, self.optimisation, *machine, *compiler.EXACT]
        return [self.compiler, *flags, *(["-static"] * bool(self.runner))]


def builds() -> list[Build]:
    """All for this processor, and those that qemu runs."""
    found = []
    x86 = platform.machine() == "x86_64"
    native = "-march=native" if x86 else "-mcpu=native"
    for name in ("g++", "clang++"):
        found += [Build(name, native, optimisation=f"-O{level}") for level in "0123"]
        found += [
            Build(name, native, (flag,)) for flag in ("-Ofast", "-ffast-math", "-ffp-contract=fast")
        ]
        if x86:
            found += [Build(name, f"-march={level}") for level in ("x86-64", "x86-64-v2")]
            found += [Build(name, "-march=x86-64-v3", needs="avx2")]
            found += [Build(name, "-march=x86-64-v4", needs="avx512vl")]
    if x86:
        for processor, level in (("Nehalem", "x86-64-v2"), ("Haswell", "x86-64-v3")):
            runner = ("qemu-x86_64", "-cpu", processor)
            found.append(Build("g++", f"-march={level}", runner=runner))
    for level in "123":
        arm = "aarch64-linux-gnu-g++"
        found.append(Build(arm, "", optimisation=f"-O{level}", runner=("qemu-aarch64",)))
    return found


def quick_builds() -> list[Build]:
    """A few that differ in everything."""
    x86 = platform.machine() == "x86_64"
    arm = Build("aarch64-linux-gnu-g++", "", optimisation="-O1", runner=("qemu-aarch64",))
    return [
        Build("g++", "-march=x86-64" if x86 else "", ("-Ofast",), optimisation="-O0"),
        Build("clang++", "-march=native" if x86 else "-mcpu=native", ("-ffast-math",), "-O1"),
        arm,
    ]


@dataclass(frozen=True)
class Result:
    build: Build
    equal: int
    differing: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.build}: {self.note}"
        return f"{self.build}: {self.equal} equal, {len(self.differing)} different" + "".join(
            f"\n    {name}" for name in self.differing[:8]
        )

    def row(self) -> str:
        different = ", ".join(self.differing[:5]) or self.note or "none"
        return f"| {self.build} | {self.equal + len(self.differing)} | {self.equal} | {different} |"


@contextmanager
def written(cases: Sequence[Problem]) -> Iterator[Path]:
    """A folder with the files of the calls."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, case in enumerate(cases):
            (folder / f"{i}.call").write_bytes(case.call)
        yield folder


def run(build: Build, cases: Sequence[Problem], folder: Path) -> Result:
    """Compile a program for each source and run it on its calls."""
    if build.missing:
        return Result(build, 0, (), f"not compiled: {build.missing}")
    by_source: dict[str, list[int]] = {}
    for i, case in enumerate(cases):
        by_source.setdefault(case.source, []).append(i)
    differing: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [
                pool.submit(_run, build, source, numbers, own / str(k))
                for k, (source, numbers) in enumerate(by_source.items())
            ]
            for job, numbers in zip(jobs, by_source.values(), strict=True):
                left = job.result()
                if left is not None:
                    pairs = zip(numbers, left, strict=True)
                    differing += [cases[i].name for i, got in pairs if got != cases[i].expected]
    if not build.runs_here:
        return Result(build, 0, (), f"compiled; not run: no {build.needs} here")
    return Result(build, len(cases) - len(differing), tuple(differing))


def _run(build: Build, source: str, numbers: list[int], own: Path) -> list[bytes] | None:
    """What the program leaves of each call; None if it can't run here."""
    own.mkdir()
    (own / "kernel.cpp").write_text(source + DRIVER.read_text())
    _shell([*build.command(), "kernel.cpp", "-o", "kernel", "-lm"], own)
    if not build.runs_here:
        return None
    names = [name for i in numbers for name in (f"../../{i}.call", f"{i}.result")]
    _shell([*build.runner, "./kernel", *names], own)
    return [(own / f"{i}.result").read_bytes() for i in numbers]


def _shell(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])}: {done.returncode}: {done.stderr[-600:]}")


HEAD = """## Training kernels

Every training kernel of the {experiments} experiments compiled and run by itself, and its losses, \
weights, optimiser state and errors compared by bits with those of `{reference}`: specialised for \
a problem, for small nets of any shape, for large ones, in both precisions, with the experiments' \
optimisers and with others, up to {steps} steps; one of {replicas} replicas begins with subnormal \
weights, one diverges. Flags before the project's own stand for those that CXX may name.

| compiler and processor | calls compared | equal | different |
| --- | --- | --- | --- |
"""


def table(results: Sequence[Result]) -> str:
    """The section of outputs/portable.md about the kernels."""
    command = compiler.compiler()
    reference = " ".join([*command, "-O2", "-march=native"])
    head = HEAD.format(
        experiments=len(experiments()), reference=reference, steps=STEPS, replicas=REPLICAS
    )
    return head + "".join(f"{result.row()}\n" for result in results)


def compared(quick: bool = False) -> Iterator[Result]:
    """The result of each build."""
    cases = list(problems(quick))
    with written(cases) as folder:
        for build in builds():
            yield run(build, cases, folder)
