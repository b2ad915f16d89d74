"""Schedules of the learning rate under the engine, against torch's own loop."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from mlpfit.training.engine import Chunks, CompiledRegression
from mlpfit.training.run import make_data, make_module
from mlpfit.training.trainer import quiet_lightning

SCHEDULERS = {
    "step": lambda o: lr_scheduler.StepLR(o, 3, 0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 10, 1e-4),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "one cycle, with the momentum": lambda o: lr_scheduler.OneCycleLR(o, 0.02, total_steps=13),
}


class Scheduled(CompiledRegression):
    interval = "step"

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = SCHEDULERS[self.name](optimizer)
        return [optimizer], [{"scheduler": scheduler, "interval": self.interval}]


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_losses_are_those_of_torchs_loop(name, interval, quick, monkeypatch, tmp_path):
    """An epoch has four batches of 30 of the 100 rows."""
    monkeypatch.setattr("mlpfit.training.engine.CompiledRegression", Scheduled)
    monkeypatch.setattr(Scheduled, "interval", interval)
    monkeypatch.setattr(Scheduled, "name", name, raising=False)
    config = quick(
        *("experiment=parabola/eight_neurons", "model.hidden=4", "data.order=shuffle"),
        *("data.batch_size=30", "streams=spawned", "optimizer.lr=0.01", "optimizer.momentum=0.9"),
        "trainer.precision=64-true",
    )
    data, module = make_data(config), make_module(config, compiled=True)
    losses = []
    monkeypatch.setattr(
        Scheduled,
        "on_train_batch_end",
        lambda self, outputs, batch, index: losses.append(outputs["losses"]),
        raising=False,
    )
    with quiet_lightning():
        pl.Trainer(
            max_steps=12,
            max_epochs=-1,
            logger=False,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=tmp_path,
        ).fit(module, Chunks(data, [0, 1, 6, 12]))
    plain = make_module(config)
    optimizer = plain.configure_optimizers()
    scheduler, expected = SCHEDULERS[name](optimizer), []
    for step in range(12):
        batch = data.batch(step)
        optimizer.zero_grad()
        loss = plain._losses(batch, "mse")[0]
        loss.sum().backward()
        optimizer.step()
        expected.append(loss.detach())
        if interval == "step" or step % 4 == 3:
            scheduler.step()
    ours = torch.cat(losses).numpy()
    np.testing.assert_allclose(ours, torch.stack(expected).numpy(), rtol=1e-11)
