"""PyTorch without mlpfit: the tutorial's own loop, and Lightning as its first example shows it."""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from crew import Turn, clock, tidy
from problems import Problem
from torch.nn.functional import mse_loss

LOSS = {
    "mse": lambda p, y, w: mse_loss(p, y) if w is None else (w * (p - y) ** 2).sum() / w.sum(),
    "sse": lambda p, y, w: ((p - y) ** 2).sum(),
    "half_mse": lambda p, y, w: LOSS["mse"](p, y, w) / 2,
}


def network(units: tuple[int, ...]) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for a, b in pairwise(units):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def optimiser(given: dict[str, Any], parameters: Any, fused: bool) -> torch.optim.Optimizer:
    if given["name"] == "sgd":
        return torch.optim.SGD(
            parameters, lr=given["lr"], momentum=given["momentum"], fused=fused or None
        )
    return torch.optim.Adam(parameters, lr=given["lr"], fused=fused or None)


def loop(
    problem: Problem,
    steps: int,
    fused: bool,
    threads: int = 1,
    now: Callable[[], float] = clock,
) -> Turn:
    """One model after another, layers and optimiser from torch; every step's loss is kept, nothing
    else. fused: torch's fused optimiser, losses kept as tensors; else as the pages have it."""
    torch.set_num_threads(threads)
    data = problem.data()
    x, y = data["x"][:, 0], data["y"][:, 0]
    w = None if data["weights"] is None else data["weights"][:, 0, :, None]
    net = network(problem.units).to(x.dtype)
    optimizer = optimiser(problem.optimizer, net.parameters(), fused)
    loss_of, log = LOSS[problem.config.loss], []
    tidy()
    started = now()
    for k in range(steps):
        i = k % len(x)
        loss = loss_of(net(x[i]), y[i], None if w is None else w[i])
        loss.backward()
        log.append(loss.detach() if fused else loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return Turn(steps, now() - started)


def trainer_defaults(problem: Problem, steps: int) -> Turn:
    """Lightning's automatic optimisation, one full batch an epoch."""
    import lightning.pytorch as pl

    class Plain(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(problem.units)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimiser(problem.optimizer, self.parameters(), fused=False)

    data = problem.data()
    rows = torch.utils.data.TensorDataset(data["x"][0, 0], data["y"][0, 0])
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=steps,
            accelerator="cpu",
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        tidy()
        started = clock()
        trainer.fit(Plain(), torch.utils.data.DataLoader(rows, batch_size=len(rows)))
        return Turn(steps, clock() - started)
