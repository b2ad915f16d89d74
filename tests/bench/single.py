"""Sections: a single run, and what TensorBoard takes of it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import plain
from crew import Crew, Turn, clock, tidy
from problems import Problem

from mlpfit.config.compose import compose

RUN = Problem("parabola/eight_neurons", 1, 5000)
WITH_TENSORBOARD = {
    "parabola/eight_neurons": 5000,
    "tower/large": 1000,
    "plane/scratch": 200,
    "restoration/framework": 3090,
}
TURNS = 15  # TensorBoard's share is small, the noise of a turn is not


def training() -> str:
    """The page's loop, Lightning's defaults and mlpfit with everything it records."""
    contenders = {
        "plain PyTorch loop": (plain.loop, RUN, RUN.steps, False),
        "plain PyTorch loop, fused optimiser": (plain.loop, RUN, RUN.steps, True),
        "Trainer, its defaults": (plain.trainer_defaults, RUN, 500),
        "mlpfit by Lightning's own loop": (recorded, RUN, "tensorboard"),
        "mlpfit, TensorBoard off": (recorded, RUN, "engine"),
        "mlpfit": (recorded, RUN, "tensorboard engine"),
    }
    with Crew(1) as crew:
        best = crew.contest(contenders)
    loop = best["plain PyTorch loop"][0]
    lines = [f"| {name} | {rate:,.0f} | {rate / loop:.2f} |" for name, (rate, _) in best.items()]
    head = f"| one run of {RUN.experiment} | steps/s | of the plain loop |\n| --- | --- | --- |"
    return (
        f"## A single run\n\n{head}\n{chr(10).join(lines)}\n\nOn one core; mlpfit records every "
        "loss, snapshots and checkpoints and writes its folder, the others keep the losses."
    )


def recorded(problem: Problem, how: str) -> Turn:
    """A run as the command makes it, its folder and files included; how: words among tensorboard
    and engine."""
    from mlpfit.training.run import train_replicas
    from mlpfit.training.shard import Shard

    with tempfile.TemporaryDirectory() as folder:
        config = compose(
            [
                f"experiment={problem.experiment}",
                f"logger={'tensorboard' if 'tensorboard' in how else 'none'}",
                f"engine={str('engine' in how).lower()}",
                f"trainer.max_steps={problem.steps}",
                f"output_dir={folder}",
            ]
        )
        tidy()
        started = clock()
        train_replicas(Shard(config, (config.seed,), Path(folder)), lambda step, loss: None)
        return Turn(config.trainer.max_steps, clock() - started)


def tensorboard() -> str:
    """Its share of a run's time, what its pictures take afterwards, and its size."""
    lines = ["| one run | seconds | TensorBoard's share | pictures, afterwards | kB |"]
    lines.append("| --- " * 5 + "|")
    for name, steps in WITH_TENSORBOARD.items():
        problem = replace(RUN, experiment=name, steps=steps)
        contenders = {how: (recorded, problem, how) for how in ("engine", "tensorboard engine")}
        with Crew(1) as crew:
            best = crew.contest(contenders, turns=TURNS)
            ((drawing, size),) = crew.each(board_of, problem)
        off, on = (steps / best[how][0] for how in contenders)
        cells = f"{on:.2f} | {1 - off / on:.1%} | {drawing:.2f} s | {size / 1000:.0f}"
        lines.append(f"| {name} | {cells} |")
    return f"## TensorBoard\n\n{chr(10).join(lines)}"


def board_of(problem: Problem) -> tuple[float, int]:
    """Seconds to draw what TensorBoard shows of a finished run, and bytes of all its events."""
    from mlpfit.runs.run import load_run
    from mlpfit.tensorboard.runs import write_run
    from mlpfit.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        config = compose([f"experiment={problem.experiment}", f"output_dir={folder}"])
        train(config)
        started = clock()
        write_run(load_run(config.folder), [])
        drawing = clock() - started
        return drawing, sum(file.stat().st_size for file in config.folder.glob("events.out*"))
