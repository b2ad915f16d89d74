"""Time, memory and descriptors stay flat over a long series of runs in one process."""

import gc
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
from injection import call
from promise import promise

from mlpfit.config.compose import compose
from mlpfit.training.train import train

SMALL = ["experiment=tower/small", "model.hidden=4", "trainer.max_steps=20"]


@promise(
    12,
    "Long series stay flat",
    "300 jobs in one process",
    full=1,
    quick=1,
)
def trial(number: int, folder: Path, quick: bool) -> str:
    jobs, tail, first = (24, 8, 8) if quick else (300, 50, 20)
    call(lambda: series(jobs, first, folder / "log.json"), folder).fine()
    seconds, memory, files = np.array(json.loads((folder / "log.json").read_text())).T
    memory = memory[first - 1 :: first]  # where garbage has just been collected
    assert len(set(files[first:])) == 1, f"descriptors {sorted(set(files[first:]))}"
    grown = f"{memory[0]:.0f} MiB after {first} jobs, {memory[-1]:.0f} after {jobs}"
    assert memory[-1] < 1.01 * memory[0], grown
    slower = np.median(seconds[-tail:]) / np.median(seconds[5 : 5 + tail])
    note = f"{grown}; {files[-1]:.0f} descriptors; last jobs {slower:.2f} times the first ones' CPU"
    # The few jobs of the quick trial say nothing of speed on a busy machine.
    assert quick or slower < 1.3, note
    return note


def series(jobs: int, first: int, log: Path) -> None:
    """Seconds, MiB and open files after every job."""
    measured = []
    for seed in range(jobs):
        started = time.process_time()
        train(compose([*SMALL, f"seed={seed}", f"output_dir=o{seed}"]))
        seconds = time.process_time() - started
        shutil.rmtree(f"o{seed}")
        if (seed + 1) % first == 0:
            gc.collect()  # what Python has only not yet collected is no leak
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        measured.append((seconds, pages * 4096 / 2**20, len(os.listdir("/proc/self/fd"))))
    log.write_text(json.dumps(measured))
