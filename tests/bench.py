"""How fast, as ratios within one run: python tests/bench.py [training | tensorboard | ensembles |
cost ...]

Tables go to outputs/bench.md. Every contender solves the same problem on the same rows; contenders
take turns, and medians of five turns are compared. JAX is an extra: pip install -e .[bench].
"""

import gc
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.compose import compose
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, run_command
from mlpfit.runs.files import write_file
from mlpfit.runs.provenance import provenance
from mlpfit.training.ensemble import Shard, cores, shards

TURNS = 5
# experiment, replicas of a turn, steps of a turn for JAX and mlpfit, steps of a turn of the plain
# loop
PROBLEMS = {
    "parabola/eight_neurons": (500, 5000, 2000),
    "tower/small": (500, 1000, 1000),
    "tower/large": (100, 40, 300),
}


def main() -> int:
    sections = {
        "training": training,
        "tensorboard": tensorboard,
        "ensembles": ensembles,
        "cost": cost,
    }
    names = sys.argv[1:] or list(sections)
    for name in names:
        if name not in sections:
            raise ConfigError(f"{name}: no such benchmark; there are {', '.join(sections)}")
    file = Path("outputs/bench.md")
    kept = _sections(file.read_text()) if file.is_file() else {}
    for name in names:
        kept[name] = f"{sections[name]()}\n\n{_machine()}"
        print(kept[name])
        text = "\n\n".join(f"<!-- {name} -->\n{kept[name]}" for name in sections if name in kept)
        write_file(file, f"# Benchmarks\n\n{text}\n".encode())
    return 0


def _sections(text: str) -> dict[str, str]:
    parts = text.split("<!-- ")[1:]
    return {part.split(" -->", 1)[0]: part.split(" -->", 1)[1].strip() for part in parts}


def _machine() -> str:
    made = provenance()
    torch_version, platform = made["versions"]["torch"], made["platform"]
    return f"Measured on {made['processor']}, {cores()} cores, torch {torch_version}, {platform}."


def training() -> str:
    """A single run: the page's loop, Lightning's defaults and mlpfit with everything it records."""
    import torch

    torch.set_num_threads(1)
    config = compose(["experiment=parabola/eight_neurons"])
    contenders: dict[str, Callable[[], float]] = {
        "plain PyTorch loop": lambda: plain_loop(config, config.trainer.max_steps),
        "Trainer, its defaults": lambda: (
            trainer_defaults(config, 500) * config.trainer.max_steps / 500
        ),
        "mlpfit, TensorBoard off": lambda: mlpfit_single(config, tensorboard=False),
        "mlpfit": lambda: mlpfit_single(config, tensorboard=True),
    }
    seconds = _alternate(contenders)
    plain = seconds["plain PyTorch loop"]
    steps = config.trainer.max_steps
    lines = [
        "| one run of parabola/eight_neurons | steps/s | of the plain loop |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {name} | {steps / s:,.0f} | {plain / s:.2f} |" for name, s in seconds.items()]
    table = "\n".join(lines)
    return f"## A single run\n\n{table}\n\nmlpfit records every loss, snapshots and checkpoints."


def tensorboard() -> str:
    """What TensorBoard takes of a run's time, what its pictures take afterwards, and its size."""
    lines = [
        "| one run | seconds | TensorBoard's share | pictures, afterwards | kB |",
        "| --- " * 5 + "|",
    ]
    for name in ("parabola/eight_neurons", "tower/large", "plane/scratch", "restoration/framework"):
        config = compose([f"experiment={name}"])
        contenders: dict[str, Callable[[], float]] = {
            word: partial(mlpfit_single, config, tensorboard=on)
            for word, on in (("off", False), ("on", True))
        }
        seconds = _alternate(
            contenders, 4 * TURNS - 1
        )  # the share is small, the noise of a turn is not
        drawing, size = _board_of(config)
        share = 1 - seconds["off"] / seconds["on"]
        lines.append(
            f"| {name} | {seconds['on']:.2f} | {share:.1%} | {drawing:.2f} s | {size / 1000:.0f} |"
        )
    return f"## TensorBoard\n\n{chr(10).join(lines)}"


def _board_of(config: Config) -> tuple[float, int]:
    """Seconds to draw what TensorBoard shows of a finished run, and bytes of all its events."""
    from mlpfit.runs.run import load_run
    from mlpfit.tensorboard.runs import write_run
    from mlpfit.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        single = compose([f"experiment={config.name}", f"output_dir={folder}"])
        train(single)
        started = time.perf_counter()
        write_run(load_run(single.folder), [])
        drawing = time.perf_counter() - started
        return drawing, sum(file.stat().st_size for file in single.folder.glob("events.out*"))


def _alternate(contenders: dict[str, Callable[[], float]], count: int = TURNS) -> dict[str, float]:
    """Median seconds of each, after one turn to warm up."""
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(count + 1):
        for name, contender in contenders.items():
            gc.collect()  # else what one leaves behind is collected in another's time
            seconds = contender()
            if turn:
                turns[name].append(seconds)
    return {name: statistics.median(values) for name, values in turns.items()}


def plain_loop(config: Config, steps: int) -> float:
    """The tutorial's own loop: one model, its layers and optimiser from torch."""
    import torch

    from mlpfit.data.datamodule import draw

    rows, _ = draw(seed=config.seed, **config.sampling)
    x, y = (torch.from_numpy(v).float() for v in (rows.x, rows.y))
    layers: list[torch.nn.Module] = []
    for a, b in pairwise(config.units):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    lr = config.plain()["optimizer"]["lr"]
    adam = config.optimizer.name == "adam"
    optimizer: Any = (torch.optim.Adam if adam else torch.optim.SGD)(net.parameters(), lr=lr)
    log = []
    started = time.perf_counter()
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        log.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - started


def trainer_defaults(config: Config, steps: int) -> float:
    """Lightning as its first example shows it: automatic optimisation, one full batch an epoch."""
    import lightning.pytorch as pl
    import torch

    from mlpfit.data.datamodule import draw

    class Plain(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            hidden = config.units[1]
            self.net = torch.nn.Sequential(
                torch.nn.Linear(1, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1)
            )

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.02)

    rows, _ = draw(seed=config.seed, **config.sampling)
    data = torch.utils.data.TensorDataset(*(torch.from_numpy(v).float() for v in (rows.x, rows.y)))
    _quiet()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", default_root_dir=folder, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        started = time.perf_counter()
        trainer.fit(Plain(), torch.utils.data.DataLoader(data, batch_size=len(data)))
        return time.perf_counter() - started


def mlpfit_single(config: Config, tensorboard: bool) -> float:
    """The run as the command makes it, its folder and files included."""
    from mlpfit.training.run import train_into
    from mlpfit.training.trainer import part

    recording = "logger=tensorboard" if tensorboard else "logger=none"
    with tempfile.TemporaryDirectory() as folder:
        single = compose([f"experiment={config.name}", recording, f"output_dir={folder}"])
        started = time.perf_counter()
        train_into(Path(folder), part(single, [single.seed]), lambda step, loss: None)
        return time.perf_counter() - started


def ensembles() -> str:
    """Many replicas: the plain loop, JAX and mlpfit, each free to use all cores."""
    head = "| problem | plain loop | JAX | mlpfit | / JAX | / loop | compile | of the peak |"
    lines = [head, "|" + " --- |" * 8]
    peak = cores() * matrix_rate()
    for name, (replicas, steps, plain_steps) in PROBLEMS.items():
        config = compose(
            [f"experiment={name}", f"replicas={replicas}", f"trainer.max_steps={steps}"]
        )
        lines.append(_contest(config, plain_steps, peak))
    single = compose(["experiment=parabola/eight_neurons", "trainer.compile=true", "logger=none"])
    lines.append(_contest(single, 2000, peak))
    note = (
        "Model-steps per second = replicas x optimiser steps / seconds of training, compilation "
        "apart. The plain loop "
        "trains one model after another in one process per core. JAX is jit(vmap(scan)) in one "
        "process. mlpfit runs "
        "one process a core under Lightning's Trainer. The peak is the float32 matrix-product "
        "rate of all cores, "
        f"{peak / 1e9:.0f} billion operations a second; a step counts 6 operations per weight "
        "and row."
    )
    return f"## Ensembles\n\n{chr(10).join(lines)}\n\n{note}"


def _contest(config: Config, plain_steps: int, peak: float) -> str:
    replicas, steps = len(config.replica_seeds), config.trainer.max_steps
    work = replicas * steps
    processes = cores() if replicas > 1 else 1
    with _Crew(processes) as crew:
        first = crew.each(
            _mlpfit_turn, [(config.plain(), part) for part in _shares(config, processes)]
        )
        mlpfit_compile = max(t["compile"] for t in first)
        turns: dict[str, list[float]] = {"plain": [], "jax": [], "mlpfit": []}
        run_jax, jax_compile = jax_contender(config)
        for _ in range(TURNS):
            loops = crew.each(_plain_turn, [(config.plain(), plain_steps)] * processes)
            turns["plain"].append(processes * plain_steps / max(loops))
            if run_jax is not None:
                turns["jax"].append(work / run_jax())
            done = crew.each(
                _mlpfit_turn, [(config.plain(), part) for part in _shares(config, processes)]
            )
            turns["mlpfit"].append(work / max(t["seconds"] for t in done))
    rate = {
        name: statistics.median(values) if values else float("nan")
        for name, values in turns.items()
    }
    operations = 6 * config.rows * sum(a * b for a, b in pairwise(config.units))
    compiled = f"{jax_compile:.1f} s, {mlpfit_compile:.1f} s"
    cells = [
        f"{config.name} {'-'.join(map(str, config.units))}, {replicas} replica{'s'[: replicas > 1]}"
    ]
    cells += [f"{rate[k]:,.0f}" for k in ("plain", "jax", "mlpfit")]
    cells += [
        f"**{rate['mlpfit'] / rate['jax']:.1f}**",
        f"**{rate['mlpfit'] / rate['plain']:.0f}**",
        compiled,
    ]
    cells.append(f"{rate['mlpfit'] * operations / peak:.0%}")
    return f"| {' | '.join(cells)} |"


def _shares(config: Config, processes: int) -> list[list[tuple[int, ...]]]:
    """The shards of replicas, dealt to the processes; at least one each."""
    seeds, found = config.replica_seeds, shards(config, Path())
    if len(found) >= processes:
        return [[b.seeds for b in found[i::processes]] for i in range(processes)]
    size = -(-len(seeds) // processes)
    return [[seeds[i * size : (i + 1) * size]] for i in range(processes)]


class _Crew:
    """Processes that start a turn together."""

    def __init__(self, processes: int) -> None:
        self.pool = multiprocessing.get_context("spawn").Pool(processes, initializer=_quiet)
        self.processes = processes

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self.pool.join()

    def each(self, turn: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
        """One argument a process: each takes exactly one, since all take longer than handing
        out."""
        return self.pool.map(turn, arguments, chunksize=1)


def _quiet() -> None:
    import logging
    import warnings

    import torch

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)


def _plain_turn(given: tuple[dict[str, Any], int]) -> float:
    from mlpfit.config.schema import parse

    return plain_loop(parse(given[0]), given[1])


def _mlpfit_turn(given: tuple[dict[str, Any], list[tuple[int, ...]]]) -> dict[str, float]:
    """Train the shards under the Trainer; seconds of training, compilation (of the first turn)
    apart."""
    from mlpfit.config.schema import parse
    from mlpfit.training.callbacks import Snapshots
    from mlpfit.training.run import build, rows_of
    from mlpfit.training.trainer import fit, part

    config = parse({**given[0], "trainer": {**given[0]["trainer"], "compile": True}})
    short = parse({**config.plain(), "trainer": {**config.plain()["trainer"], "max_steps": 2}})
    seconds = {}
    for phase, setting in (("compile", short), ("seconds", config)):
        began = 0.0
        for seeds in given[1]:
            shard = part(setting, seeds)
            data = rows_of(shard.config, [*shard.snapshots, *shard.checkpoints])
            module, snapshots = build(shard.config), Snapshots(shard.snapshots, data)
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                fit(Path(folder), shard, data, module, snapshots, lambda step, loss: None)
                began += time.perf_counter() - started
            gc.collect()  # Trainer and module refer to each other
        seconds[phase] = began
    return seconds


def jax_contender(config: Config) -> tuple[Callable[[], float] | None, float]:
    """JAX as its users write it: the step, scanned over steps, mapped over replicas, jitted. Its
    seconds to compile."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        print(
            "JAX is not installed (pip install -e .[bench]): its column stays empty",
            file=sys.stderr,
        )
        return None, float("nan")
    from mlpfit.training.run import build, rows_of

    data = rows_of(config)
    start = [jnp.asarray(p.detach().numpy()) for p in build(config).parameters()]
    x, y = jnp.asarray(data.x.numpy()), jnp.asarray(data.y.numpy())
    options = config.plain()["optimizer"]

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        h = x
        for i in range(0, len(parameters), 2):
            h = h @ parameters[i] + parameters[i + 1]
            if i + 2 < len(parameters):
                h = jax.nn.relu(h)
        return jnp.mean((h - y) ** 2)

    def step(carry: Any, _: Any, x: Any, y: Any) -> Any:
        parameters, m, v, t = carry
        value, slopes = jax.value_and_grad(loss)(parameters, x, y)
        if options["name"] == "sgd":
            return (
                [p - options["lr"] * g for p, g in zip(parameters, slopes, strict=True)],
                m,
                v,
                t,
            ), value
        t = t + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, slopes, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, slopes, strict=True)]
        scale = options["lr"] / (1 - 0.9**t)
        root = jnp.sqrt(1 - 0.999**t)
        new = [
            p - scale * a / (jnp.sqrt(b) / root + 1e-8)
            for p, a, b in zip(parameters, m, v, strict=True)
        ]
        return (new, m, v, t), value

    def train(parameters: Any, x: Any, y: Any) -> Any:
        zeros = [jnp.zeros_like(p) for p in parameters]
        carry = parameters, zeros, zeros, jnp.zeros(())
        return jax.lax.scan(
            lambda c, s: step(c, s, x, y), carry, None, length=config.trainer.max_steps
        )

    started = time.perf_counter()
    compiled = jax.jit(jax.vmap(train)).lower(start, x, y).compile()
    seconds = time.perf_counter() - started

    def run() -> float:
        started = time.perf_counter()
        jax.block_until_ready(compiled(start, x, y))
        return time.perf_counter() - started

    return run, seconds


def matrix_rate() -> float:
    """float32 matrix-product operations a second on one core, 1024 x 1024."""
    import torch

    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * 1024**3 / best


def cost() -> str:
    """Seconds and peak memory against the number of replicas, one process, compilation apart."""
    counts = [1, 4, 16, 64, 256, 1024, 4096]
    lines = [
        "| replicas | " + " | ".join(f"{name}: s, MiB" for name in PROBLEMS) + " |",
        "|" + " --- |" * 4,
    ]
    found: dict[str, list[tuple[float, float]]] = {}
    for name in PROBLEMS:
        steps = {"parabola/eight_neurons": 500, "tower/small": 100, "tower/large": 10}[name]
        found[name] = [_measured_alone(name, count, steps) for count in counts]
    for i, count in enumerate(counts):
        cells = [f"{found[name][i][0]:.2f}, {found[name][i][1]:.0f}" for name in PROBLEMS]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    write_file(Path("outputs/figures/bench/cost.svg"), _cost_figure(counts, found))
    table = "\n".join(lines)
    picture = "![cost](figures/bench/cost.svg)"
    return f"## Cost against replicas\n\n{table}\n\n{picture}\n\nSteps: 500, 100, 10."


def _measured_alone(name: str, replicas: int, steps: int) -> tuple[float, float]:
    """In a process of its own, so that its peak memory is its own."""
    with _Crew(1) as crew:
        return crew.each(_cost_turn, [(name, replicas, steps)])[0]


def _cost_turn(given: tuple[str, int, int]) -> tuple[float, float]:
    name, replicas, steps = given
    overrides = [f"replicas={replicas}", f"trainer.max_steps={steps}", "logger=none"]
    config = compose([f"experiment={name}", *overrides])
    parts: list[Shard] = shards(config, Path())
    seconds = _mlpfit_turn((config.plain(), [b.seeds for b in parts]))["seconds"]
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cost_figure(counts: list[int], found: dict[str, list[tuple[float, float]]]) -> bytes:
    import io

    from mlpfit.figures import style
    from mlpfit.figures.parts import grid_of_axes

    with style.use():
        figure, (left, right) = grid_of_axes(rows=1, columns=2, panels=2, share_y=False)
        for (name, values), marker in zip(found.items(), "os^", strict=True):
            seconds, memory = np.array(values).T
            left.plot(counts, seconds, marker + "-", label=name)
            right.plot(counts, memory, marker + "-", label=name)
        left.set(
            xscale="log",
            yscale="log",
            xlabel="replicas",
            ylabel="seconds of training",
            title="time",
        )
        right.set(
            xscale="log",
            xlabel="replicas",
            ylabel="MiB",
            ylim=(0, None),
            title="peak memory of the process",
        )
        left.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


if __name__ == "__main__":
    run_command(main)
