"""Regression as a stock LightningModule: every feature of Lightning against a plain loop of torch.

The plain loop trains ``torch.nn.Linear`` layers, one net a replica, on the same batches.
"""

import logging
import subprocess
import sys
import warnings
from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from conftest import parabola
from lightning.pytorch import callbacks as stock
from lightning.pytorch.tuner import Tuner
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader, TensorDataset

from mlpfit.data.datamodule import ReplicaData
from mlpfit.model.regression import Regression

SGD = {"name": "sgd", "lr": 0.02}
SEEDS = [3, 4]
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
QUIET |= {"enable_model_summary": False, "enable_checkpointing": False}
PLAIN_SGD = partial(torch.optim.SGD, lr=0.02)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        yield


@pytest.fixture
def trainer(tmp_path):
    def of(**options) -> pl.Trainer:
        return pl.Trainer(**{**QUIET, "default_root_dir": tmp_path, **options})

    return of


def net(kind=Regression, optimizer=SGD, seeds=SEEDS, **options) -> Regression:
    return kind([1, 8, 1], optimizer, seeds, **options)


def rows(seeds=SEEDS, **options) -> ReplicaData:
    return ReplicaData(parabola(), seeds, **{"order": "shuffle", "batch_size": 7, **options})


def plain_net(module: Regression, replica: int) -> torch.nn.Sequential:
    """Layers of torch with the weights of one replica."""
    layers = []
    for weight, bias in module.mlp.layers:
        linear = torch.nn.Linear(*weight.shape[1:], dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight[replica].T)
            linear.bias.copy_(bias[replica, 0])
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


class Loop:
    """The plain loop: one net, optimiser, and perhaps scheduler, a replica."""

    def __init__(self, module, optimizer=PLAIN_SGD, scheduler=None):
        self.nets = [plain_net(module, k) for k in range(module.replicas)]
        self.optimizers = [optimizer(net.parameters()) for net in self.nets]
        self.schedulers = [scheduler(o) for o in self.optimizers] if scheduler else []

    def steps(self, batches, before_update=lambda net: None, each=1) -> "Loop":
        """An update after ``each`` batches, by the mean of their gradients."""
        for number, batch in enumerate(batches, start=1):
            for k, (net, optimizer) in enumerate(zip(self.nets, self.optimizers, strict=True)):
                (mse_loss(net(batch["x"][k]), batch["y"][k]) / each).backward()
                if number % each == 0:
                    before_update(net)
                    optimizer.step()
                    optimizer.zero_grad()
        return self

    def schedule(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()

    def same(self, module, rtol=1e-4) -> None:
        for k, net in enumerate(self.nets):
            for (weight, bias), linear in zip(module.mlp.layers, net[::2], strict=True):
                torch.testing.assert_close(weight[k].T, linear.weight, rtol=rtol, atol=1e-6)
                torch.testing.assert_close(bias[k, 0], linear.bias, rtol=rtol, atol=1e-6)


def batches(data, steps, first=0):
    return [data.batch(number) for number in range(first, first + steps)]


OPTIMIZERS = {
    "sgd": {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "SGD": {"lr": 0.02, "momentum": 0.5, "dampening": 0.2},
    "adam": {"lr": 0.01, "betas": [0.8, 0.9], "amsgrad": True, "weight_decay": 0.01},
    "adamw": {"lr": 0.1, "weight_decay": 0.3},
    "rmsprop": {"lr": 0.01, "momentum": 0.5},
    "adagrad": {"lr": 0.1},
    "adadelta": {"rho": 0.8},
    "nadam": {"lr": 0.01},
    "radam": {"lr": 0.01},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_of_torch_with_its_arguments_is_that_of_the_plain_loop(trainer, name):
    kinds = {k.lower(): v for k, v in vars(torch.optim).items()}
    module, data = net(optimizer={"name": name, **OPTIMIZERS[name]}), rows()
    loop = Loop(module, partial(kinds[name.lower()], **OPTIMIZERS[name]))
    trainer(max_steps=30).fit(module, data)
    loop.steps(batches(data, 30)).same(module, rtol=1e-3)


def test_lbfgs_of_one_replica_is_that_of_the_plain_loop(trainer):
    given = {"lr": 0.1, "max_iter": 4}
    module, data = (
        net(optimizer={"name": "lbfgs", **given}, seeds=[3]),
        rows([3], order="full", batch_size=None),
    )
    loop = Loop(module, partial(torch.optim.LBFGS, **given))
    trainer(max_steps=5).fit(module, data)
    ((plain,), (optimizer,)), batch = (loop.nets, loop.optimizers), data.batch(0)

    def closure():
        optimizer.zero_grad()
        loss = mse_loss(plain(batch["x"][0]), batch["y"][0])
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    loop.same(module, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"SGD"} | {"adamax", "asgd", "rprop"}))
def test_the_steps_of_a_replica_are_those_of_it_alone(trainer, name):
    """Also with the loss of one that grows without limit."""
    many = net(optimizer={"name": name}, seeds=[0, 1, 2])
    with torch.no_grad():
        many.mlp.weight_0[1] *= 1e9
    alone = net(optimizer={"name": name}, seeds=[2])
    trainer(max_steps=10).fit(many, rows([0, 1, 2]))
    trainer(max_steps=10).fit(alone, rows([2]))
    for of_many, of_one in zip(many.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(of_many[2], of_one[0], rtol=1e-4, atol=1e-7)


def test_max_steps_may_exceed_an_epoch_and_max_epochs_is_honoured(trainer):
    module, data = net(), rows(order="full", batch_size=None)
    loop = Loop(module)
    fit = trainer(max_steps=100)
    fit.fit(module, data)
    assert (fit.global_step, fit.current_epoch) == (100, 100)
    loop.steps(batches(data, 100)).same(module)
    fit = trainer(max_epochs=3)
    fit.fit(net(), rows())
    assert (fit.global_step, fit.current_epoch) == (15, 3)
    fit = trainer(max_epochs=3)
    fit.fit(net(), data)
    assert fit.global_step == 3


@pytest.mark.parametrize("more", [{"max_steps": 60}, {"max_epochs": 12}])
def test_a_run_goes_on_from_its_checkpoint_with_more_steps_or_epochs(trainer, tmp_path, more):
    module, data = net(optimizer={"name": "adam", "lr": 0.01}), rows()
    loop = Loop(module, partial(torch.optim.Adam, lr=0.01)).steps(batches(data, 60))
    first = trainer(max_epochs=4)
    first.fit(module, data)
    first.save_checkpoint(tmp_path / "last.ckpt")
    again, rest = net(optimizer={"name": "adam", "lr": 0.01}), trainer(**more)
    rest.fit(again, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert rest.global_step == 60
    loop.same(again, rtol=1e-3)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_scheduler_is_stepped(trainer, interval):
    class Scheduled(Regression):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
            schedule = {"scheduler": scheduler, "interval": interval}
            return {"optimizer": optimizer, "lr_scheduler": schedule}

    module, data = net(Scheduled), rows()
    step = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)
    loop = Loop(module, partial(torch.optim.SGD, lr=0.05), step)
    fit = trainer(max_epochs=4)
    fit.fit(module, data)
    for number, batch in enumerate(batches(data, 20), start=1):
        loop.steps([batch])
        if interval == "step" or number % 5 == 0:
            loop.schedule()
    loop.same(module)
    rates = {optimizer.param_groups[0]["lr"] for optimizer in loop.optimizers}
    assert {fit.optimizers[0].param_groups[0]["lr"]} == rates


def test_two_groups_of_a_subclass_keep_their_own_rates(trainer):
    def groups(parameters):
        parameters = list(parameters)
        groups = [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:]}]
        return torch.optim.AdamW(groups, lr=0.01)

    class Own(Regression):
        def configure_optimizers(self):
            return groups(self.parameters())

    module, data = net(Own), rows()
    loop = Loop(module, groups)
    trainer(max_steps=20).fit(module, data)
    loop.steps(batches(data, 20)).same(module, rtol=1e-3)


def test_manual_optimisation_in_a_subclass(trainer):
    class Manual(Regression):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.automatic_optimization = False

        def training_step(self, batch, index):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()

    module, data = net(Manual), rows()
    loop = Loop(module)
    fit = trainer(max_steps=20)
    fit.fit(module, data)
    assert fit.global_step == 20
    loop.steps(batches(data, 20)).same(module)


@pytest.mark.parametrize("gradient", ["autograd", "by_hand"])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_each_replica_is_clipped_by_its_own_norm(trainer, gradient, algorithm):
    module, data = net(gradient=gradient), rows()
    with torch.no_grad():
        module.mlp.weight_1[0] *= 30  # this one alone has large gradients
    clip = getattr(torch.nn.utils, f"clip_grad_{algorithm}_")
    loop = Loop(module)
    given = {"gradient_clip_val": 0.7, "gradient_clip_algorithm": algorithm}
    trainer(max_steps=20, **given).fit(module, data)
    loop.steps(batches(data, 20), lambda net: clip(net.parameters(), 0.7)).same(module)


def test_accumulated_batches_make_one_update(trainer):
    module, data = net(gradient="by_hand"), rows(batch_size=6)
    loop = Loop(module)
    fit = trainer(max_epochs=3, accumulate_grad_batches=5)
    fit.fit(module, data)
    assert fit.global_step == 3
    loop.steps(batches(data, 15), each=5).same(module)


def test_hooks_of_a_step_are_called_in_their_order(trainer):
    class Hooked(Regression):
        calls: tuple[str, ...] = ()

        def on_before_zero_grad(self, optimizer):
            self.calls += ("zero",)

        def on_before_backward(self, loss):
            self.calls += ("before",)

        def on_after_backward(self):
            self.calls += ("after",)

        def on_before_optimizer_step(self, optimizer):
            self.calls += ("update",)

        def configure_gradient_clipping(self, *args, **options):
            self.calls += ("clip",)

        def optimizer_step(self, *args, **options):
            super().optimizer_step(*args, **options)
            self.calls += ("stepped",)

    module = net(Hooked)
    trainer(max_steps=3).fit(module, rows())
    assert module.calls == ("zero", "before", "after", "update", "clip", "stepped") * 3


def test_a_hook_may_change_the_gradient(trainer):
    class Halved(Regression):
        def on_after_backward(self):
            for parameter in self.parameters():
                parameter.grad /= 2

    module, data = net(Halved), rows()
    loop = Loop(module, partial(torch.optim.SGD, lr=0.01))
    trainer(max_steps=20).fit(module, data)
    loop.steps(batches(data, 20)).same(module)


def test_an_overridden_forward_counts_everywhere(trainer):
    class Doubled(Regression):
        def forward(self, x):
            return 2 * super().forward(x)

    module, data = net(Doubled, seeds=[3]), rows([3])
    plain = plain_net(module, 0)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.02)
    fit = trainer(max_steps=10)
    fit.fit(module, data)
    for batch in batches(data, 10):
        optimizer.zero_grad()
        mse_loss(2 * plain(batch["x"][0]), batch["y"][0]).backward()
        optimizer.step()
    torch.testing.assert_close(module.mlp.weight_0[0].T, plain[0].weight, rtol=1e-4, atol=1e-6)
    (fresh,) = data.val_dataloader()
    (after,) = fit.validate(module, data, verbose=False)
    expected = mse_loss(2 * plain(fresh["x"][0]), fresh["y"][0]).item()
    assert after["val/mse"] == pytest.approx(expected, rel=1e-4)
    (predicted,) = fit.predict(module, data)
    torch.testing.assert_close(predicted[0], 2 * plain(data.x[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradient", ["autograd", "by_hand"])
def test_frozen_weights_stay_frozen(trainer, gradient):
    module, data = net(gradient=gradient), rows()
    module.mlp.weight_0.requires_grad_(False)
    loop = Loop(module)
    for plain in loop.nets:
        plain[0].weight.requires_grad_(False)
    before = module.mlp.weight_0.clone()
    trainer(max_steps=20).fit(module, data)
    assert torch.equal(module.mlp.weight_0, before)
    loop.steps(batches(data, 20)).same(module)


def test_backbone_finetuning_freezes_and_then_trains(trainer):
    class Two(Regression):
        """A line in front of the net."""

        def __init__(self):
            super().__init__([1, 8, 1], SGD)
            self.backbone = torch.nn.Linear(1, 1)
            with torch.no_grad():
                self.backbone.weight.fill_(0.9)
                self.backbone.bias.fill_(0.1)

        def forward(self, x):
            return super().forward(self.backbone(x))

    module, data = Two(), rows([0])
    line, plain = torch.nn.Linear(1, 1), plain_net(module, 0)
    line.load_state_dict(module.backbone.state_dict())
    finetune = stock.BackboneFinetuning(2, backbone_initial_lr=0.01, lambda_func=lambda epoch: 1.0)
    trainer(max_epochs=4, callbacks=[finetune]).fit(module, data)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.02)
    for number, batch in enumerate(batches(data, 20)):
        if number == 10:
            optimizer.add_param_group({"params": list(line.parameters()), "lr": 0.01})
        optimizer.zero_grad()
        mse_loss(plain(line(batch["x"][0])), batch["y"][0]).backward()
        optimizer.step()
        line.zero_grad()
    torch.testing.assert_close(module.backbone.weight, line.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(module.mlp.weight_0[0].T, plain[0].weight, rtol=1e-4, atol=1e-6)


def test_stochastic_weight_averaging_is_the_mean_of_the_epochs(trainer):
    class Seen(pl.Callback):
        def __init__(self):
            self.weights = []

        def on_train_epoch_end(self, trainer, module):
            self.weights.append(module.mlp.weight_0.detach().clone())

    module, seen = net(), Seen()
    swa = stock.StochasticWeightAveraging(0.02, swa_epoch_start=2, annealing_epochs=1)
    loop, data = Loop(module), rows()
    trainer(max_epochs=5, callbacks=[seen, swa]).fit(module, data)
    # Averaged at the start of its epoch (the second, counted from 1) and of each one after.
    mean = torch.stack(seen.weights[:4]).mean(0)
    torch.testing.assert_close(module.mlp.weight_0, mean, rtol=1e-5, atol=1e-7)
    loop.steps(batches(data, 5))
    for k, plain in enumerate(loop.nets):
        torch.testing.assert_close(seen.weights[0][k].T, plain[0].weight, rtol=1e-4, atol=1e-6)


def test_ema_weights_are_those_of_the_plain_loop(trainer):
    module, data = net(), rows()
    loop = Loop(module)
    ema = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    averages = [torch.optim.swa_utils.AveragedModel(n, multi_avg_fn=ema) for n in loop.nets]
    trainer(max_steps=20, callbacks=[stock.EMAWeightAveraging(decay=0.9)]).fit(module, data)
    for batch in batches(data, 20):
        loop.steps([batch])
        for average, plain in zip(averages, loop.nets, strict=True):
            average.update_parameters(plain)
    loop.nets = [average.module for average in averages]
    loop.same(module)


def test_the_learning_rate_finder_steps_through_rates_and_leaves_the_training_alone(trainer):
    module, data = net(), rows(order="full", batch_size=None)
    loop = Loop(module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        finder = Tuner(trainer(max_steps=50)).lr_find(
            module, data, min_lr=1e-4, max_lr=0.1, num_training=30, update_attr=True
        )
    assert module.lr == module.hparams["optimizer"]["lr"] == finder.suggestion()
    assert len(finder.results["loss"]) == 30
    first = sum(mse_loss(n(data.x[k]), data.y[k]) for k, n in enumerate(loop.nets)).item()
    smoothed = 0.02 * first / (1 - 0.98**2)  # as Lightning reports it
    assert finder.results["loss"][0] == pytest.approx(smoothed, rel=1e-4)
    loop.same(module)  # its weights are those before
    for optimizer in loop.optimizers:
        optimizer.param_groups[0]["lr"] = module.lr
    trainer(max_steps=50).fit(module, data)
    loop.steps(batches(data, 50)).same(module)


def test_the_learning_rate_finder_as_a_callback(trainer):
    module, data = net(), rows()
    loop = Loop(module)
    finder = stock.LearningRateFinder(min_lr=1e-4, max_lr=0.1, num_training_steps=20)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        trainer(max_steps=30, callbacks=[finder]).fit(module, data)
    for optimizer in loop.optimizers:
        optimizer.param_groups[0]["lr"] = finder.optimal_lr.suggestion()
    loop.steps(batches(data, 30)).same(module)


def test_the_batch_size_finder_ends_at_all_rows_and_trains_on_them(trainer):
    module, data = net(), rows(batch_size=2)
    loop = Loop(module)
    finder = stock.BatchSizeFinder(steps_per_trial=2)
    trainer(max_steps=10, callbacks=[finder]).fit(module, data)
    assert finder.optimal_batch_size == data.batch_size == 30
    loop.steps(batches(data, 10)).same(module)


def test_pruning_counts_in_the_training(trainer):
    module, data = net(seeds=[3]), rows([3])
    loop = Loop(module)
    prune.l1_unstructured(module.mlp, "weight_0", amount=0.5)
    prune.l1_unstructured(loop.nets[0][0], "weight", amount=0.5)
    assert int((module.mlp.weight_0 == 0).sum()) == 4
    trainer(max_steps=20).fit(module, data)
    loop.steps(batches(data, 20))
    module(data.x), loop.nets[0](data.x[0])  # make the masked weights again
    loop.same(module)


def test_the_pruning_callback_prunes(trainer):
    module = net()
    pruned = stock.ModelPruning(
        "l1_unstructured", parameters_to_prune=[(module.mlp, "weight_0")], amount=0.5
    )
    trainer(max_epochs=1, callbacks=[pruned]).fit(module, rows())
    assert int((module.mlp.weight_0 == 0).sum()) == 8


def test_a_parametrised_weight_and_one_set_later_are_the_ones_used(trainer):
    module, x = net(seeds=[3]), torch.linspace(-1, 1, 5)[:, None]
    with torch.no_grad():
        before = module(x)
        expected = module.mlp.weight_1.clone() / torch.linalg.matrix_norm(module.mlp.weight_1, 2)
        parametrizations.spectral_norm(module.mlp, "weight_1", n_power_iterations=30, dim=1)
        normed = module(x)
        torch.testing.assert_close(module.mlp.weight_1, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(before, normed)
    other, third = net(seeds=[8]), net(seeds=[9])
    other.mlp.weight_0, other.mlp.bias_0 = third.mlp.weight_0, third.mlp.bias_0
    other.mlp.weight_1, other.mlp.bias_1 = third.mlp.weight_1, third.mlp.bias_1
    assert torch.equal(other(x), third(x))
    fourth = net(seeds=[9])
    fourth.load_state_dict(net(seeds=[8]).state_dict(), assign=True)
    assert torch.equal(fourth(x), net(seeds=[8])(x))
    functional = torch.func.functional_call(net(seeds=[9]), net(seeds=[8]).state_dict(), (x,))
    assert torch.equal(functional, net(seeds=[8])(x))
    loop, data = Loop(fourth), rows([8])
    trainer(max_steps=5).fit(fourth, data)
    loop.steps(batches(data, 5)).same(fourth)


@pytest.mark.parametrize("gradient", ["autograd", "by_hand"])
def test_precision_64_is_that_of_float64_layers(trainer, gradient):
    module, data = net(gradient=gradient), rows()
    loop = Loop(module)
    loop.nets = [plain.double() for plain in loop.nets]
    trainer(max_steps=30, precision="64-true").fit(module, data)
    assert module.mlp.weight_0.dtype == torch.float64
    double = [{name: v.double() for name, v in batch.items()} for batch in batches(data, 30)]
    loop.optimizers = [torch.optim.SGD(plain.parameters(), lr=0.02) for plain in loop.nets]
    loop.steps(double)
    for k, plain in enumerate(loop.nets):
        torch.testing.assert_close(
            module.mlp.weight_0[k].T, plain[0].weight, rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("gradient", ["autograd", "by_hand"])
def test_mixed_precision_is_that_of_autocast(trainer, gradient):
    module, data = net(gradient=gradient, seeds=[3]), rows([3])
    loop = Loop(module)
    trainer(max_steps=10, precision="bf16-mixed").fit(module, data)
    assert module.mlp.weight_0.dtype == torch.float32
    for batch in batches(data, 10):
        with torch.autocast("cpu", torch.bfloat16):
            loss = mse_loss(loop.nets[0](batch["x"][0]), batch["y"][0])
        loss.backward()
        loop.optimizers[0].step()
        loop.optimizers[0].zero_grad()
    for (weight, _), linear in zip(module.mlp.layers, loop.nets[0][::2], strict=True):
        torch.testing.assert_close(weight[0].T, linear.weight, rtol=2e-2, atol=2e-3)


# tests/model/test_start.py compiles one that takes its gradients from autograd.
@pytest.mark.parametrize("gradient", [pytest.param("autograd", marks=pytest.mark.slow), "by_hand"])
def test_a_compiled_module_trains_as_the_plain_loop(trainer, gradient):
    module, data = net(gradient=gradient), rows(batch_size=6)
    loop = Loop(module)
    with warnings.catch_warnings():  # torch.compile looks at every attribute of a tensor
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
        trainer(max_steps=20).fit(torch.compile(module, backend="eager"), data)
    loop.steps(batches(data, 20)).same(module)


def test_prediction_from_a_loader_of_inputs_alone(trainer):
    module, x = net(seeds=[3]), torch.linspace(-1, 1, 5)[:, None]
    predicted = trainer().predict(module, DataLoader(TensorDataset(x), batch_size=2))
    torch.testing.assert_close(torch.cat(predicted), module(x).detach(), rtol=1e-6, atol=1e-7)


class Parabola(ReplicaData):
    """What a command line can make without arguments."""

    def __init__(self):
        super().__init__(parabola(), SEEDS, order="shuffle", batch_size=7)


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_command_line_of_lightning_gives_optimiser_and_scheduler(
    tmp_path, monkeypatch, scheduled
):
    monkeypatch.setattr(sys, "argv", ["fit"])
    # Lightning 2.6 calls a function that jsonargparse renames
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    pytest.importorskip("jsonargparse", reason="pip install 'jsonargparse[signatures]'")
    from lightning.pytorch.cli import LightningCLI  # needs it

    scheduler = ["--lr_scheduler=StepLR", "--lr_scheduler.step_size=2", "--lr_scheduler.gamma=0.5"]
    given = [
        "--model.units=[1,8,1]",
        "--model.optimizer={name: sgd, lr: 5.0}",
        "--model.seeds=[3,4]",
    ]
    given += ["--optimizer=SGD", "--optimizer.lr=0.03", *(scheduler if scheduled else [])]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will be overridden by.*")
        cli = LightningCLI(
            Regression,
            Parabola,
            args=["fit", *given],
            save_config_callback=None,
            seed_everything_default=False,
            trainer_defaults=QUIET | {"max_epochs": 5, "default_root_dir": str(tmp_path)},
        )
    step = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)
    loop = Loop(net(), partial(torch.optim.SGD, lr=0.03), step)
    for epoch in range(5):
        loop.steps(batches(cli.datamodule, 5, first=5 * epoch))
        if scheduled:
            loop.schedule()
    loop.same(cli.model)


DDP = """
import logging, sys, warnings
import lightning.pytorch as pl, torch
from torch.utils.data import DataLoader, TensorDataset
from mlpfit.model.regression import Regression
warnings.simplefilter("ignore")
if __name__ == "__main__":
    folder, kind = sys.argv[1:]
    x = torch.linspace(-1, 1, 24)[:, None]
    loader = DataLoader(TensorDataset(x, x**2), batch_size=12)
    module = Regression([1, 8, 1], {"name": "sgd", "lr": 0.05}, [3, 4], gradient=kind)
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=10, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=folder)
    trainer.fit(module, loader, loader)
    state = dict(module.state_dict(), val=trainer.callback_metrics["val/mse"])
    torch.save(state, f"{folder}/rank{trainer.global_rank}.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["autograd", "by_hand"])
def test_two_processes_average_their_gradients(tmp_path, kind):
    """Each has a random half of the rows in its one batch, so a step is one on all rows."""
    (tmp_path / "two.py").write_text(DDP)
    command = [sys.executable, str(tmp_path / "two.py"), str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{k}.pt", weights_only=True) for k in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    module = net(seeds=[3, 4])
    loop = Loop(module, partial(torch.optim.SGD, lr=0.05))
    x = torch.linspace(-1, 1, 24)[:, None]
    loop.steps([{"x": [x, x], "y": [x**2, x**2]}] * 10)
    val = first.pop("val")
    module.load_state_dict(first)
    loop.same(module)
    expected = min(mse_loss(plain(x), x**2).item() for plain in loop.nets)
    assert float(val) == pytest.approx(expected, rel=1e-4)
