"""JAX at its best: the step scanned over steps and jitted, for a group of replicas on one core.

Two layouts: ``vmap``, as its users write it, and ``last``, the replica axis last in memory and
layers written out as broadcast products, so that vector instructions run over replicas. Batches
and their weights are given ready; nothing is recorded but the losses.
"""

import functools
from typing import Any

from crew import Turn, clock, tidy
from problems import Problem


def available() -> bool:
    from importlib.util import find_spec

    return find_spec("jax") is not None


def turn(problem: Problem, layout: str) -> Turn:
    """All replicas of the problem as one group."""
    import jax

    before = compiled.cache_info().misses
    train, given, compiling = compiled(problem, layout)
    new = compiled.cache_info().misses > before
    tidy()
    started = clock()
    jax.block_until_ready(train(*given))
    seconds = clock() - started
    return Turn(problem.replicas * problem.steps, seconds, compiling if new else 0.0)


@functools.cache
def compiled(problem: Problem, layout: str) -> tuple[Any, tuple[Any, ...], float]:
    """The compiled training, its arguments, and the seconds its compilation took."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # the arrays' own precision is kept
    data, fixed = problem.data(), problem.config.data.order == "full"
    arrays = [problem.parameters(), *(None if v is None else v.numpy() for v in data.values())]
    if fixed:
        arrays[1:3] = [v[0] for v in arrays[1:3]]  # (R, n, ...)
    first = 0 if fixed else 1  # the replica axis of rows
    if layout == "last":
        arrays[0] = [jnp.moveaxis(p, 0, -1) for p in arrays[0]]
        arrays[1:] = [None if v is None else jnp.moveaxis(v, first, -1) for v in arrays[1:]]
    given = jax.tree.map(jnp.asarray, tuple(arrays))
    train = functools.partial(_train, problem, layout, fixed)
    if layout == "vmap":
        axes = (0, *(None if v is None else first for v in given[1:]))
        train = jax.vmap(train, in_axes=axes)
    started = clock()
    ready = jax.jit(train).lower(*given).compile()
    return ready, given, clock() - started


def _train(problem: Problem, layout: str, fixed: bool, start: Any, x: Any, y: Any, w: Any) -> Any:
    """Scan the step; x, y, w are one step's (fixed) or all steps'."""
    import jax
    import jax.numpy as jnp

    def step(carry: Any, batch: Any) -> Any:
        parameters, state, t = carry
        x_k, y_k, w_k = (x, y, w) if fixed else batch
        loss = functools.partial(_loss, problem, layout, x_k, y_k, w_k)
        slopes, losses = jax.grad(loss, has_aux=True)(parameters)
        updated, state = _update(problem.optimizer, parameters, slopes, state, t + 1)
        return (updated, state, t + 1), losses

    adam = problem.optimizer["name"] == "adam"
    buffers = 2 if adam else int(problem.optimizer["momentum"] > 0)
    state = [[jnp.zeros_like(p) for p in start] for _ in range(buffers)]
    zero = jnp.zeros((), start[0].dtype)
    return jax.lax.scan(
        step, (start, state, zero), None if fixed else (x, y, w), length=problem.steps
    )


def _loss(problem: Problem, layout: str, x: Any, y: Any, w: Any, parameters: Any) -> Any:
    """Of one replica (vmap), or the sum of all and each (last: (n, d, R), (n, 1, R), (n, R))."""
    import jax
    import jax.numpy as jnp

    h, count = x, len(parameters)
    relu = problem.config.model.activation == "relu"
    for i in range(0, count, 2):
        weight, bias = parameters[i : i + 2]
        if layout == "vmap":
            h = h @ weight + bias
        elif weight.shape[0] == 1:
            h = h * weight + bias
        elif weight.shape[1] == 1:
            h = (h * weight[None, :, 0]).sum(1, keepdims=True) + bias
        else:
            h = jnp.einsum("nir,ior->nor", h, weight) + bias
        h = jax.nn.relu(h) if relu and i + 2 < count else h
    squares = (h - y) ** 2
    squares = squares if w is None else squares * w[:, None]
    losses = squares.sum((0, 1))
    if problem.config.loss != "sse":
        losses = losses / (len(x) if w is None else w.sum(0))
    losses = losses / 2 if problem.config.loss == "half_mse" else losses
    return losses.sum(), losses


def _update(options: dict[str, Any], parameters: Any, slopes: Any, state: Any, t: Any) -> Any:
    import jax.numpy as jnp

    if options["name"] == "sgd":
        if state:
            slopes = [options["momentum"] * m + g for m, g in zip(state[0], slopes, strict=True)]
            state = [slopes]
        lr = options["lr"]
        return [p - lr * g for p, g in zip(parameters, slopes, strict=True)], state
    b1, b2 = options["beta1"], options["beta2"]
    m = [b1 * a + (1 - b1) * g for a, g in zip(state[0], slopes, strict=True)]
    v = [b2 * a + (1 - b2) * g * g for a, g in zip(state[1], slopes, strict=True)]
    scale, root = options["lr"] / (1 - b1**t), jnp.sqrt(1 - b2**t)
    updated = [
        p - scale * a / (jnp.sqrt(b) / root + options["eps"])
        for p, a, b in zip(parameters, m, v, strict=True)
    ]
    return updated, [m, v]
