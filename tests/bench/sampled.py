"""Runs a command of mlpfit and samples what its processes do: MLPFIT_SAMPLES=folder python
tests/bench/sampled.py [argument ...].

Every few milliseconds the processor time that a process has used since, without that of sampling,
is charged to a part of the work, told by the innermost call of its main thread whose file belongs
to one. Each process, also those that the command starts or forks, keeps the seconds in a file of
the folder.
"""

import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from types import FrameType

EVERY = 0.004  # seconds
PARTS = {  # files, with the function after a colon, of the calls of each part; the first fits
    "imports": r"<frozen importlib|importlib/|(?<!sampled)\.py:<module>",
    "composing": r"mlpfit/config/|hydra/|hydra_plugins/|omegaconf/|train\.py:must_train"
    r"|mlpfit/sweeps/(callback|composing|jobs|search|shards)",
    "training": r"mlpfit/(training|data|engine)/|mlpfit/model/(?!sharpness)|lightning/",
    "files": r"mlpfit/|matplotlib/|tensorboard/",
}
RESULTS = r"run\.py:(write_results|final_metrics)|callbacks\.py:save_checkpoint|provenance"


def part_of(frame: FrameType | None) -> str:
    """The part of the innermost call that belongs to one, else "rest"."""
    while frame is not None:
        call = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        if call not in _parts:
            fitting = [part for part, calls in PARTS.items() if re.search(calls, call)]
            _parts[call] = "files" if re.search(RESULTS, call) else (fitting or [""])[0]
        if _parts[call]:
            return _parts[call]
        frame = frame.f_back
    return "rest"


_parts: dict[str, str] = {}  # of the calls met so far


def sample(kind: str) -> None:
    """From now on, in a thread; kind: of this process, which begins its file's name."""
    main, started, before = threading.main_thread().ident, time.perf_counter(), 0.0
    seconds = dict.fromkeys([*PARTS, "rest", "sampling", "wall"], 0.0)
    name = Path(os.environ["MLPFIT_SAMPLES"], f"{kind}-{os.getpid()}.json")

    def go_on() -> None:
        nonlocal before
        file = os.open(name, os.O_CREAT | os.O_WRONLY)
        while True:
            part = part_of(sys._current_frames().get(main or 0))
            seconds["sampling"], seconds["wall"] = time.thread_time(), time.perf_counter() - started
            now = time.process_time() - seconds["sampling"]
            seconds[part] += now - before
            before = now
            os.pwrite(file, json.dumps(seconds).ljust(300).encode(), 0)
            time.sleep(EVERY)

    threading.Thread(target=go_on, daemon=True).start()


if "MLPFIT_SAMPLES" in os.environ:  # also in processes of tasks, whose main module this is
    sample("started")
    os.register_at_fork(after_in_child=lambda: sample("forked"))

if __name__ == "__main__":
    from mlpfit.__main__ import main

    main()
