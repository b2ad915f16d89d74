"""Steps at which a training records something: a single run at many, an ensemble only at the
beginning and the end."""

from dataclasses import dataclass

import numpy as np

from mlpfit.config.schema import Config
from mlpfit.data.elementary import geomspace

LONG, KEPT = 10**6, 10**5  # steps: of more than LONG the losses of KEPT are kept, about


@dataclass(frozen=True)
class Schedule:
    """config: of the whole run, of which a shard may train some replicas."""

    config: Config

    @property
    def snapshots(self) -> list[int]:
        """Steps after which the weights are saved: the first and the last, those asked for and, of
        a single run, geometrically spaced ones."""
        steps, count = self.config.steps, self.config.recording.snapshots
        spaced = geomspace(1, steps, count).round().astype(int).tolist() if steps else []
        chosen = {step for step in self.config.recording.weights_after if step <= steps}
        return self._chunk_ends({0, steps, *chosen, *(spaced if self.config.single else ())})

    @property
    def checkpoints(self) -> list[int]:
        """Steps after which a checkpoint is written; another one is at the end."""
        steps, every = self.config.steps, self.config.recording.checkpoint_every
        return [step for step in self._chunk_ends({*range(every, steps, every)}) if step < steps]

    @property
    def chunk_ends(self) -> list[int]:
        """Steps at which the engine's chunks end: after every chunk_steps, or val_check_interval
        of the Trainer, and where something is recorded."""
        steps, chunk = self.config.steps, self.config.trainer.chunk_steps
        return sorted({*range(0, steps, chunk), steps, *self.snapshots, *self.checkpoints})

    def _chunk_ends(self, steps: set[int]) -> list[int]:
        """The steps; with callbacks each rounded up to the end of its chunk, so that chunks, and
        the validations after them, are equally long."""
        chunk = self.config.trainer.chunk_steps if self.config.callbacks else 1
        return sorted({min(-(-step // chunk) * chunk, self.config.steps) for step in steps})

    @property
    def stride(self) -> int:
        """Every how many steps the loss is kept while training: at each of up to ``LONG`` steps, of
        more at ``KEPT`` at most, so that memory and checkpoints do not grow with the steps."""
        if self.config.steps <= LONG:
            return 1
        strides = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        return next(stride for stride in strides if self.config.steps / stride <= KEPT)

    def recorded_steps(self, steps: int) -> np.ndarray:
        """Which of the steps 1 .. steps have their loss saved, of those that are kept while
        training: all of a single run; of an ensemble the first, the last and every 1st, 2nd, 5th
        or 10th: about ``ensemble.history_points``, and those of ``recording.losses_of_epochs``."""
        numbers = np.arange(1, steps + 1)
        if self.config.single:
            return numbers
        points = self.config.ensemble.history_points
        stride = next((k for k in (1, 2, 5) if steps / k <= points), 10)
        epochs = (numbers - 1) // self.config.steps_per_epoch + 1
        chosen = np.isin(epochs, self.config.recording.losses_of_epochs)
        return numbers[(numbers % stride == 0) | (numbers == 1) | (numbers == steps) | chosen]
