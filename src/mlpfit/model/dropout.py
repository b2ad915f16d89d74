"""Dropout of R replicas, each with masks of its own."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mlpfit.data.streams import spawned

DROPOUT = 64  # the child of a seed; those below are left to mlpfit.data.streams


class Masks:
    """Sets each output of a hidden layer to zero with probability ``share`` and divides the others
    by 1 - share, as ``torch.nn.Dropout``. The masks of a replica are a function of its seed and of
    the number of the batch, so they are those of the replica alone, also after it was resumed.

    batch  number of the batch, counted from 0 at the start of training; the user of a module
           outside a Trainer may set it
    """

    def __init__(self, seeds: Sequence[int], share: float) -> None:
        self.share, self.batch = share, 0
        self._bits = [spawned(seed, DROPOUT).bit_generator for seed in seeds]
        self._starts = [bits.state for bits in self._bits]

    def pass_through(self) -> Callable[[Tensor], Tensor]:
        """The function of one forward pass, which takes the layers in their order."""
        rngs = []
        for bits, start in zip(self._bits, self._starts, strict=True):
            bits.state = start
            # Batches are 2^64 numbers apart, more than any draws: 2^128 / 2^64 of them.
            bits.advance(self.batch << 64)  # type: ignore[attr-defined]
            rngs.append(np.random.Generator(bits))

        def dropped(h: Tensor) -> Tensor:
            shape = tuple(h.shape[1:])
            kept = np.stack([rng.random(shape, np.float32) >= self.share for rng in rngs])
            return h * torch.from_numpy(kept).to(h) / (1 - self.share)

        return dropped
