"""Section: one ensemble over a Ray cluster of nodes with one core each.

Nodes share this machine, so no more of them are measured than it has cores. What more would take is
simulated from the parts of the command on one node: when it printed its first and its last line and
when each shard was finished gives them.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crew import Crew, cores

from mlpfit.runs.run import MARKER, SHARDS, Run, load_run

WORKERS = (1, 2, 4, 8)
COUNT, REPLICAS = 16, 1000  # shards, and replicas of one
LARGE = 1_000_000  # replicas of the last columns
EXPERIMENT = "parabola/eight_neurons"
ENSEMBLE = (
    *(f"experiment={EXPERIMENT}", f"replicas={COUNT * REPLICAS}", f"ensemble.shard={REPLICAS}"),
    "logger=none",
)
OVER_RAY = ("-m", *ENSEMBLE, "hydra/sweeper=shards", "hydra/launcher=ray_cluster")
HEAD = (
    *("workers", "seconds, measured", "efficiency", "seconds, simulated", "efficiency"),
    *(f"{LARGE:,} replicas, simulated: seconds", "efficiency"),
)
NOTE = """{replicas:,} replicas of {experiment} in {count} equal shards, a shard a job:
`hydra/sweeper=shards hydra/launcher=ray_cluster`, each worker a node of a Ray cluster on this
machine with one core. Seconds: of the whole command on the wall, once, the cluster running already;
so they need a quiet machine. Efficiency: one worker's seconds / (workers x seconds). Measured for
as many workers as there are cores, whose work Ray's own processes share. Simulated, also where it
is measured: a computation from the parts of the command on one worker, which were planning
{planning:.1f} s (imports, the configs checked; the command's end), start {start:.1f} s (connecting
to Ray; a worker begins and imports), a shard {shard:.2f} s, joining {joining:.1f} s (files checked,
the marker written). Planning, start and joining count in full whatever the number of workers: all
start at once, each on its core; workers then take shards in rounds, the last perhaps not full;
joining grows with the shards. Of {large:,} replicas, {large_count} shards, the same parts. The
ensembles have the bits of the one that a command without Ray trains, or this section fails."""


@dataclass(frozen=True)
class Parts:
    """Seconds of a command: before it launches its jobs and after all is written, then until a
    worker begins its first shard, of a shard, and from the last one's end on, of COUNT shards."""

    planning: float
    start: float
    shard: float
    joining: float

    def simulated(self, workers: int, count: int = COUNT) -> float:
        """Seconds of a command with so many workers and shards."""
        training = math.ceil(count / workers) * self.shard
        return self.planning + self.start + training + self.joining * count / COUNT


def cluster() -> str:
    """Empty without Ray."""
    if not find_spec("hydra_plugins.hydra_ray_launcher"):
        print("cluster: Ray's launcher is not installed: pip install 'mlpfit[ray]'")
        return ""
    counts = [workers for workers in WORKERS if workers <= len(cores())]
    with Crew(1, pinned=False) as crew:
        ((seconds, parts),) = crew.each(measured, counts)
    large = LARGE // REPLICAS
    simulated = {n: (parts.simulated(n), parts.simulated(n, large)) for n in WORKERS}
    lines = [f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
    for workers in WORKERS:
        columns = [seconds, *({n: s[i] for n, s in simulated.items()} for i in (0, 1))]
        cells = [cell for times in columns for cell in _cells(times, workers)]
        lines.append(f"| {workers} | {' | '.join(cells)} |")
    note = " ".join(NOTE.split()).format(
        **{"replicas": COUNT * REPLICAS, "count": COUNT, "experiment": EXPERIMENT},
        **{"large": LARGE, "large_count": large, **vars(parts)},
    )
    return f"## An ensemble over a cluster\n\n{chr(10).join(lines)}\n\n{note}"


def _cells(seconds: dict[int, float], workers: int) -> tuple[str, str]:
    if workers not in seconds:
        return "", ""
    efficiency = seconds[1] / (workers * seconds[workers])
    return f"{seconds[workers]:,.1f}", f"{efficiency:.0%}"


def measured(counts: list[int]) -> tuple[dict[int, float], Parts]:
    """Seconds for each number of workers, and the parts of those for one. In a process of its own,
    for its environment is the workers'."""
    seconds = {}
    with TemporaryDirectory() as folder:
        serial = finished(Path(folder, "serial"), *ENSEMBLE)[0]
        with ray_nodes(Path(folder, "ray")) as nodes:
            for workers in counts:
                while len(nodes.list_all_nodes()) < workers:
                    nodes.add_node(num_cpus=1)
                nodes.wait_for_nodes()
                address = f"hydra.launcher.ray.init.address={nodes.address}"
                place = Path(folder, str(workers))
                run, times = finished(place, *OVER_RAY, address)
                began, launched, joined, ended = times
                seconds[workers] = ended - began
                if run.number_hashes() != serial.number_hashes():
                    raise RuntimeError(f"{workers} workers: other bits than without Ray")
                if workers == 1:
                    markers = (run.path / SHARDS).glob(f"*/{MARKER}")
                    first, *_, last = sorted(marker.stat().st_mtime for marker in markers)
                    shard = (last - first) / (COUNT - 1)
                    planning = (launched - began) + (ended - joined)
                    parts = Parts(planning, first - shard - launched, shard, joined - last)
    return seconds, parts


def finished(folder: Path, *overrides: str) -> tuple[Run, list[float]]:
    """The ensemble that a command trains in this folder, and when it began, printed its first and
    its last line, and ended."""
    times = [time.time()]
    command = [sys.executable, "-m", "mlpfit", *overrides, f"output_dir={folder}/outputs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        times += [time.time() for _ in process.stdout]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    times.append(time.time())
    return load_run(folder / "outputs/ensembles" / EXPERIMENT), [*times[:2], *times[-2:]]


@contextmanager
def ray_nodes(folder: Path) -> Iterator[Any]:
    """A Ray cluster of one node with one core, whose files are in this folder."""
    # Workers as nice as any process: else all other work on the machine goes first.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    os.environ["RAY_TMPDIR"] = str(folder)
    from ray.cluster_utils import Cluster

    first = {"num_cpus": 1, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=first)
    try:
        yield nodes
    finally:
        nodes.shutdown()
