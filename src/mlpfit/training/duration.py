"""How long trainings take: relative to one another, by which work is put in order, and on the
machine at hand, by a short measurement, to be announced."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mlpfit.config.schema import Config, LeastSquares
from mlpfit.training.shard import Shard

REPLICAS = 64  # measured at once, at most
SECONDS, STEPS = 0.1, 8  # that a measurement takes, at least
BEGIN_AND_END = 0.3  # seconds of a Trainer and its files
WORTH_MEASURING = 1.0  # seconds that the steps of all shards would take on a fast core


def model_steps(shard: Shard) -> int:
    """Replicas times steps."""
    return len(shard.seeds) * shard.whole.steps


def predicted_seconds(shard: Shard) -> float:
    """On a fast core: 80 billion operations a second, half in double precision; half a second for
    the Trainer and the files."""
    rate = 40e9 if shard.whole.trainer.precision == "64-true" else 80e9
    return model_steps(shard) * (shard.whole.operations / rate + 2e-7) + 0.5


def samples(shards: Sequence[Shard]) -> list[Shard]:
    """The longest shard of each experiment, to be measured; none if all are short."""
    longest: dict[str, Shard] = {}
    for shard in sorted(shards, key=lambda shard: predicted_seconds(shard)):
        longest[shard.whole.name] = shard
    is_long = sum(predicted_seconds(shard) - 0.5 for shard in shards) >= WORTH_MEASURING
    return list(longest.values()) if is_long else []


def predicted(measured: Mapping[str, float]) -> Callable[[Shard], float]:
    """Seconds of a shard; measured: experiment -> how many times longer than
    :func:`predicted_seconds` its shards take here. Without measurements that number itself."""
    return lambda shard: predicted_seconds(shard) * measured.get(shard.whole.name, 1.0)


def slowness(shard: Shard, copies: int = 1) -> float:
    """How many times longer than predicted_seconds this shard takes here. Some of its replicas take
    a few of its steps, in as many threads at once as copies will be trained; nothing is written but
    compiled kernels. NaN for a training outside the engine."""
    import torch

    from mlpfit.engine.steps import CompiledSteps
    from mlpfit.training import engine
    from mlpfit.training.evaluation import Evaluation
    from mlpfit.training.run import make_data, make_module, solve

    config = replace(shard.config, seeds=shard.seeds[:REPLICAS])
    if not config.train or engine.outside(config) is not None:
        return math.nan
    torch.set_num_threads(1)  # others would keep this process from being forked
    cache, replicas = engine.kernel_cache(config), len(config.replica_seeds)
    one = replace(config, seeds=config.replica_seeds[:1])
    Evaluation(make_data(one), cache)  # compiles
    started = time.perf_counter()
    data, module = make_data(config), make_module(config)
    if is_solved := isinstance(config.optimizer, LeastSquares):
        solve(module, data)
    evaluate = Evaluation(data, cache)
    for errors in (evaluate.validation, evaluate.validation, evaluate.training, evaluate.truth):
        errors(module)
    per_replica = (time.perf_counter() - started) / replicas
    seconds = BEGIN_AND_END + len(shard.seeds) * per_replica
    if is_solved:
        return seconds / predicted_seconds(shard)
    specialise = engine.worth_specialising(shard.config)
    modules = [module, *(make_module(config) for _ in range(copies - 1))]
    takers = [
        CompiledSteps(m.mlp, m.loss, m.configure_optimizers(), cache, specialise) for m in modules
    ]
    takers[0](data.x, data.y, 1, data.order_of(0, 1))  # compiles
    count = 1
    with ThreadPoolExecutor(copies) as threads:
        while True:
            started = time.perf_counter()
            order = data.order_of(0, count)
            list(threads.map(lambda steps: steps(data.x, data.y, count, order), takers))  # noqa: B023
            taken = time.perf_counter() - started
            if (count >= min(STEPS, config.steps) and taken >= SECONDS) or count >= config.steps:
                break
            count = min(config.steps, max(2 * count, int(1.2 * count * SECONDS / taken)))
    return (seconds + model_steps(shard) * taken / count / replicas) / predicted_seconds(shard)


def sharpness_seconds(config: Config) -> float:
    """How long it takes here to find the sharpness of the loss at the initial weights of all
    replicas, by those of a few; 0 for a loss of which there is none."""
    from mlpfit.model.losses import SQUARES
    from mlpfit.model.sharpness import sharpness
    from mlpfit.training.run import make_data, make_module

    if config.loss not in SQUARES:
        return 0.0
    few = replace(config, seeds=config.replica_seeds[:8])
    data, module = make_data(few), make_module(few)
    layers = [(w.detach().numpy(), b.detach().numpy()) for w, b in module.mlp.layers]
    started = time.perf_counter()
    sharpness(layers, data.x.numpy(), data.y.numpy(), config.loss, config.model.activation)
    taken = time.perf_counter() - started
    return taken * len(config.replica_seeds) / len(few.replica_seeds)
