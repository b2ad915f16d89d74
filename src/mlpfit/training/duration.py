"""Predicted durations of trainings, by which work is put in order and announced."""

from mlpfit.training.shard import Shard


def model_steps(shard: Shard) -> int:
    """Replicas times steps."""
    return len(shard.seeds) * shard.whole.steps


def predicted_seconds(shard: Shard) -> float:
    """Operations at the rate measured by ``make bench``, 80 billion a second and core, half in
    double precision; half a second for the Trainer and the files."""
    rate = 40e9 if shard.whole.trainer.precision == "64-true" else 80e9
    return model_steps(shard) * (shard.whole.operations / rate + 2e-7) + 0.5
