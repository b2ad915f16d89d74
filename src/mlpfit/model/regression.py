"""The LightningModule of R replicas of a multilayer perceptron."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from mlpfit.data import streams as generators
from mlpfit.errors import ConfigError, check_name
from mlpfit.lightning_import import pl
from mlpfit.model import initial, losses, mlp, named, nets, schedulers
from mlpfit.model.dropout import Masks
from mlpfit.model.optimizers import bias_options, optimizer_of
from mlpfit.uncompiled import uncompiled

Batch = dict[str, Tensor] | Sequence[Tensor] | Tensor
DTYPES = ("float32", "float64")


def is_bias(name: str) -> bool:
    """Whether a parameter is called a bias, in our nets and in torch's layers."""
    return name.startswith("bias")


class Regression(pl.LightningModule):
    """R replicas of one net. They are the leading axis of every parameter, and the training loss is
    the sum of their losses, so the gradient and the optimiser's step of each are those of it alone.
    Hyper-parameters are plain numbers, strings and lists, so
    ``Regression.load_from_checkpoint(path)`` needs no further arguments.

    units         widths from input to output, e.g. [1, 32, 1]
    optimizer     {"name": "sgd", "lr": 0.02, "momentum": 0.9}: a name of torch.optim and arguments
                  of that class (:mod:`mlpfit.model.optimizers`)
    seeds         one per replica, for its initial weights: the first numbers of its stream
    init          :func:`mlpfit.model.mlp.initial_parameters`
    activation    an element-wise one of torch.nn: :data:`mlpfit.model.mlp.ACTIVATIONS`; this, init,
                  loss and net may have arguments: {"name": "leaky_relu", "negative_slope": 0.1}
    gradient      "autograd", or "by_hand": :func:`mlpfit.model.mlp.gradients`
    loss          :mod:`mlpfit.model.losses`
    log_replicas  also log the metrics of every replica, as train/loss/seed_3
    scheduler     {"name": "StepLR", "step_size": 30, "interval": "epoch"}: a name of
                  torch.optim.lr_scheduler (:mod:`mlpfit.model.schedulers`)
    dropout       the share of hidden units dropped in training (:mod:`mlpfit.model.dropout`)
    net           the import path of a torch module instead of an MLP (:mod:`mlpfit.model.nets`)
    output        activation of the last layer, as for the hidden ones

    A batch is {"x", "y"}, optionally with "weights", or (x, y): x (R, n, d), y (R, n, o), weights
    (R, n), or for all replicas x (n, d), y (n, o) or (n,), weights (n,). Of cross_entropy y is
    (R, n, 1), with class numbers.

    Logs ``train/loss`` before the update, ``val/mse`` and ``test/mse`` on all rows of the epoch (of
    a classification, of the probabilities): the median over the replicas, diverged ones above all
    others. ``replica_losses`` (R,) are those of the last training_step. Gradients are clipped by
    the norm of each replica.

    ``Trainer(max_steps=500).fit(Regression([1, 8, 1], {"name": "sgd", "lr": 0.02}), data)``
    """

    logs_steps: bool | None = None  # train/loss to the loggers; None: if there are some

    def __init__(
        self,
        units: Sequence[int],
        optimizer: dict[str, Any],
        seeds: Sequence[int] = (0,),
        streams: generators.Kind = "spawned",
        init: initial.Init = "torch",
        activation: mlp.Activation = "relu",
        gradient: mlp.Gradient = "autograd",
        loss: losses.Kind = "mse",
        dtype: str = "float32",
        log_replicas: bool = False,
        scheduler: dict[str, Any] | None = None,
        dropout: float = 0.0,
        net: named.Named | None = None,
        output: mlp.Activation = "identity",
    ) -> None:
        super().__init__()
        units, seeds, optimizer = list(units), list(seeds), dict(optimizer)
        self.save_hyperparameters()
        if len(units) < 2 or any(type(u) is not int or u < 1 for u in units):
            raise ConfigError(f"units={units}: must be widths from input to output, as [1, 8, 1]")
        if not seeds:
            raise ConfigError("seeds=[]: must name at least one seed, one per replica")
        check_name("streams", streams, get_args(generators.Kind))
        check_name("gradient", gradient, get_args(mlp.Gradient))
        check_name("dtype", dtype, DTYPES)
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout}: must be a share from 0 on, below 1")
        activation = mlp.checked_activation(activation)
        output = mlp.checked_activation(output, "model.output")
        if gradient == "by_hand" and (
            problem := mlp.by_hand_problem(activation, output, dropout, net)
        ):
            raise ConfigError(problem)
        self.seeds, self.log_replicas = seeds, log_replicas
        self.loss = losses.checked(loss)
        self.optimizer_class, self.optimizer_arguments = optimizer_of(optimizer, len(seeds))
        self.bias_options = bias_options(optimizer)
        of = self.optimizer_class, self.optimizer_arguments
        self.scheduler = schedulers.checked(scheduler, of, len(seeds))
        self.mlp: Any  # an MLP, or nets of the user's own
        if net is not None:
            self.mlp = nets.Nets(net, seeds, units).to(getattr(torch, dtype))
        else:
            masks = Masks(seeds, dropout) if dropout else None
            self.mlp = mlp.MLP(units, activation, len(seeds), gradient, masks, output)
            self.mlp = self.mlp.to(getattr(torch, dtype))
            rngs = (generators.streams(seed, streams).weights for seed in seeds)
            init = initial.checked(init)
            self.mlp.load([initial.initial_parameters(units, init, rng) for rng in rngs])
        self._squares: dict[int, Tensor] = {}  # dataloader -> (sum of squares, rows) (2, R)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> "Regression":
        """Lightning's, but with weights_only, so that a file from others never runs code."""
        return super().load_from_checkpoint(
            checkpoint_path, *args, **{"weights_only": True, **options}
        )

    @property
    def replicas(self) -> int:
        return len(self.seeds)

    @property
    def lr(self) -> float:
        """The learning rate of :meth:`configure_optimizers`, which Lightning's finder sets."""
        return self.optimizer_arguments["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer_arguments["lr"] = value
        if "optimizer" in self.hparams:  # what a checkpoint is made again from
            self.hparams["optimizer"] = {**self.hparams["optimizer"], "lr": value}

    def forward(self, x: Tensor) -> Tensor:
        """x (R, n, d) or, for all, x (n, d) -> (R, n, o); if R = 1, x (n, d) -> (n, o)."""
        outputs = self.mlp(self._per_replica("x", x))
        return outputs[0] if x.ndim == 2 and self.replicas == 1 else outputs

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.parameters() if p.requires_grad]
        groups: list[Any] = [{"params": parameters}]
        if self.bias_options:
            named = [(n.rpartition(".")[2], p) for n, p in self.named_parameters()]
            groups = [
                {"params": [p for name, p in named if p.requires_grad and is_bias(name) == own]}
                for own in (False, True)
            ]
            groups[1] |= self.bias_options
        optimizer = self.optimizer_class(groups, **self.optimizer_arguments)
        if self.scheduler is None:
            return optimizer
        schedule = schedulers.scheduler_of(self.scheduler, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    @property
    def group_options(self) -> list[dict[str, Any]]:
        """The config's options of each of the optimiser's groups of parameters."""
        options = self.optimizer_arguments
        return [options, options | self.bias_options] if self.bias_options else [options]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self._number_batch()
        values = self._losses(batch, self.loss)[0]
        self.replica_losses = values.detach()
        self._log("train/loss", self.replica_losses, prog_bar=True, logger=self.logs_steps)
        return values.sum()

    def _number_batch(self) -> None:
        """Tell dropout the number of the batch, so that its masks go on with a resumed training."""
        if self._trainer is None:
            return
        drawing = self.mlp if isinstance(self.mlp, nets.Nets) else self.mlp.masks
        if drawing is not None:
            drawing.batch = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        squares = torch.stack(self._losses(batch, None))
        squares = squares.to(torch.promote_types(squares.dtype, torch.float32))
        earlier = self._squares.get(dataloader_idx, torch.zeros_like(squares))
        self._squares[dataloader_idx] = earlier + squares

    test_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self._squares = {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self, name: str = "val/mse") -> None:
        for index, local in self._squares.items():
            squares, rows = self.trainer.strategy.reduce(local, reduce_op="sum")  # of all processes
            suffix = f"/dataloader_idx_{index}" if len(self._squares) > 1 else ""
            self._log(name + suffix, squares / rows, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end("test/mse")

    def predict_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> Tensor:
        """:meth:`forward` of x, or of the x of a batch."""
        if isinstance(batch, Tensor):
            return self(batch)
        return self(batch["x"] if isinstance(batch, dict) else batch[0])

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each replica by its own norm, with the formula of
        ``torch.nn.utils.clip_grad_norm_``. By value, and for one replica, as Lightning does."""
        if self.replicas == 1 or not gradient_clip_val or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        ours = set(self.mlp.parameters())
        torch.nn.utils.clip_grad_norm_([p for p in parameters if p not in ours], gradient_clip_val)
        if isinstance(self.mlp, nets.Nets):
            for net in self.mlp.nets:
                torch.nn.utils.clip_grad_norm_(net.parameters(), gradient_clip_val)
            return
        gradients = [p.grad for p in parameters if p in ours and p.grad is not None]
        norms = torch.stack([g.norm(dim=(1, 2)) for g in gradients]).norm(dim=0)  # (R,)
        factors = (gradient_clip_val / (norms + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factors[:, None, None])

    def _losses(self, batch: Batch, kind: losses.Kind | None) -> tuple[Tensor, Tensor]:
        """Loss of each replica on a batch, and its number of rows, both (R,); kind None: the sum of
        squares of the errors, of a classification of the probabilities, as a mean over the
        outputs."""
        rows = batch if isinstance(batch, dict) else dict(zip(("x", "y"), batch, strict=True))
        x, y, weights = self._per_replica("x", rows["x"]), rows["y"], rows.get("weights")
        y = self._per_replica("y", y[:, None] if y.ndim == 1 else y)
        shape, outputs = x.shape[:2], self(x)
        width = self.hparams["units"][-1]
        columns = 1 if named.split("loss", self.loss)[0] == "cross_entropy" else width
        _check_shape("y", y, (*shape, columns))
        _check_shape("forward(x)", outputs, (*shape, width))
        if weights is None:
            count = y.new_full(shape[:1], shape[1])
        else:
            weights = weights.expand(shape) if weights.ndim == 1 else weights
            _check_shape("weights", weights, shape)
            count = weights.sum(1)
        if kind is not None:
            return losses.loss(kind, outputs, y, weights), count
        squares = losses.loss("sse", *losses.probabilities(self.loss, outputs, y), weights)
        return squares / width, count

    def _per_replica(self, name: str, rows: Tensor) -> Tensor:
        """(n, d) or (R, n, d) -> (R, n, d)."""
        if rows.ndim == 2:
            return rows.expand(self.replicas, *rows.shape)
        if rows.ndim != 3 or len(rows) != self.replicas:
            shapes = f"({self.replicas}, n, d) or (n, d)"
            raise ConfigError(f"{name} has shape {tuple(rows.shape)}: must be {shapes}")
        return rows

    @uncompiled  # torch.compile can't trace Lightning's log
    def _log(self, name: str, values: Tensor, **options: Any) -> None:
        """Log the median of values (R,), where those not finite rank above all others, with
        log_replicas also each value."""
        finite = values.nan_to_num(torch.inf, torch.inf, torch.inf)
        self.log(name, finite.median(), batch_size=1, **options)
        if self.log_replicas:
            by_seed = zip(self.seeds, values, strict=True)
            each = {f"{name}/seed_{seed}": value for seed, value in by_seed}
            self.log_dict(each, batch_size=1, **options | {"prog_bar": False})


def _check_shape(name: str, values: Tensor, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise ConfigError(f"{name} has shape {tuple(values.shape)}: must be {tuple(expected)}")
