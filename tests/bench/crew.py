"""Processes that take turns, each pinned to a core of its own.

What a turn takes is its processor time (its own and its compiler's): on a core of its own that is
the time on the wall but for waiting for the disk, and other work on the machine does not count.
"""

import gc
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

TURNS = 5


@dataclass(frozen=True)
class Turn:
    """What one process did: model-steps in seconds, and seconds to compile before (0 if it had
    compiled that before)."""

    model_steps: int
    seconds: float
    compiling: float = 0.0


def cores() -> list[int]:
    """The processor's cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


class Crew:
    """``with Crew(2) as crew``: two processes, each on its core, one thread each, with an empty
    cache for compiled code. ``processes=1`` with ``pinned=False`` has all cores and threads."""

    def __init__(self, processes: int, pinned: bool = True) -> None:
        self.cache = tempfile.TemporaryDirectory()
        spawn = multiprocessing.get_context("spawn")
        places = [[core] for core in cores()[:processes]] if pinned else [cores()] * processes
        self.pools = [
            ProcessPoolExecutor(1, spawn, _start, (place, self.cache.name)) for place in places
        ]

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self.pools:
            pool.shutdown()
        self.cache.cleanup()

    def each(self, work: Callable[..., Any], *given: Any) -> list[Any]:
        """All processes do the same at once."""
        return [job.result() for job in [pool.submit(work, *given) for pool in self.pools]]

    def rate(self, work: Callable[..., Turn], *given: Any) -> tuple[float, float]:
        """Model-steps a second of all processes together, and the longest compilation."""
        turns = self.each(work, *given)
        seconds = max(turn.seconds for turn in turns)
        compiling = max(turn.compiling for turn in turns)
        return sum(turn.model_steps for turn in turns) / seconds, compiling

    def contest(
        self, contenders: dict[str, Sequence[Any]], turns: int | None = None
    ) -> dict[str, tuple[float, float]]:
        """Name -> (work, arguments ...) to name -> (best rate of its turns, its first compilation),
        after a turn each to warm up."""
        best = {name: (0.0, self.rate(*contender)[1]) for name, contender in contenders.items()}
        for _ in range(TURNS if turns is None else turns):
            for name, contender in contenders.items():
                rate = max(best[name][0], self.rate(*contender)[0])
                best[name] = (rate, best[name][1])
        return best


def _start(place: Sequence[int], cache: str) -> None:
    import logging
    import warnings

    os.sched_setaffinity(0, place)
    # Before JAX and torch are imported.
    os.environ |= {"MLPFIT_KERNEL_CACHE": cache, "OMP_NUM_THREADS": str(len(place))}
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import torch

    torch.set_num_threads(len(place))


def clock() -> float:
    """Seconds of processor time of this process and of those it has started and seen end."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def tidy() -> None:
    """Before a turn: else what one leaves behind is collected, for a quarter of a second, in
    another's time."""
    gc.collect()
