"""Finished run folders and their files, which are checked when read. Reading needs numpy only.

config.yaml      the resolved config
data.npz         the rows of every replica
history.npz      loss of every step, before its update
weights.npz      parameters at the snapshot steps
validation.npz   error on fresh rows at the snapshot steps
metrics.json     final numbers, one per replica
provenance.json  commit, versions, machine, seeds and seconds
checkpoints/     last.ckpt, best.ckpt
events.out...    event file of TensorBoard
complete.json    written last: identity of the run, the SHA-256 of every file above, and that of
                 all this, which stands for the whole folder

An ensemble's folder has such a folder for each shard, which holds some of the replicas, under
shards/; it is read as one run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpfit.config.combinations import loss_name
from mlpfit.data.streams import replica_seeds
from mlpfit.engine import evaluation, metrics
from mlpfit.errors import RunError
from mlpfit.files import read_file
from mlpfit.runs import content

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MARKER, SHARDS = "complete.json", "shards"
IDENTITY = "identity.json"  # in the folder of an unfinished run
JOB = "job.json"  # in the folder of a sweep's job
MAX_MARKER = 2**26  # bytes
REPLICAS_AT_ONCE = 64  # in predict: the outputs of their layers stay in the cache
RETRAIN = "train the run again with force=true"

QUANTITIES = {  # labels in tables and on axes
    "mse": "mean squared error",
    "sse": "sum of squares",
    "truth_mse": "mean squared distance to the truth",
    "val_mse": "mean squared error on fresh rows",
}

SEEDS = ("seed:", "seeds:", "replicas:", "ensemble.")  # differences between ensembles of one recipe


class Run:
    """A finished run.

    config     plain dict
    metrics    name -> (R,)
    history    "loss" -> (steps, R), "step" -> (steps,), counted from 1
    data       x (R, n, d), y (R, n, o), pool_x, pool_y, pool_truth (R, m, .),
               center, scale (R, d + o); with a split also val_x, val_y, test_x, test_y
    snapshots  steps after which the weights were saved, 0 (initial) first: (S,)

    :meth:`plot`, :meth:`verdicts` and the display in a notebook import what they need when they are
    called.

    >>> import mlpfit
    >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
    >>> run.predict([[0.5], [1.0]]).shape
    (3, 2, 1)
    >>> sorted(run.metrics)
    ['dead_units', 'diverged_at', 'mse', 'sse', 'truth_mse', 'val_mse']
    """

    def __init__(self, path: Path, marker: dict[str, Any], shards: Sequence[Run] = ()) -> None:
        self.path = path
        self.identity: dict[str, Any] = marker["identity"]
        self.shards = shards
        self._marker = marker
        self._digests: dict[str, str] = marker["files"]
        self._evaluated: dict[tuple[str, int | None], np.ndarray] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.replicas} replica{'s'[: self.replicas > 1]})"

    @cached_property
    def config(self) -> dict[str, Any]:
        if self.shards:
            return self.shards[0].config
        return self._checked("config.yaml", content.config_of)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """provenance.json; of an ensemble the first shard's, with the seeds and seconds of all."""
        if not self.shards:
            return self._checked("provenance.json", content.provenance_of)
        records = [shard.provenance for shard in self.shards]
        seeds = [seed for record in records for seed in record["seeds"]]
        return records[0] | {"seeds": seeds, "seconds": sum(r["seconds"] for r in records)}

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        if self.shards:
            parts = [shard.metrics for shard in self.shards]
            names = [name for name in parts[0] if all(name in part for part in parts)]
            return {name: np.concatenate([part[name] for part in parts]) for name in names}
        return self._checked("metrics.json", partial(content.metrics_of, replicas=self.replicas))

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        return self._arrays("history.npz", replica_axis=1)

    @cached_property
    def validation(self) -> dict[str, np.ndarray]:
        """Error on fresh rows at the snapshots: "step" (S,), "mse" (S, R)."""
        return self._arrays("validation.npz", replica_axis=1)

    @cached_property
    def data(self) -> dict[str, np.ndarray]:
        arrays = self._arrays("data.npz", replica_axis=0)
        return {k: np.broadcast_to(v, (self.replicas, *v.shape[1:])) for k, v in arrays.items()}

    @property
    def seeds(self) -> list[int]:
        return self.provenance["seeds"]

    @property
    def replicas(self) -> int:
        return len(self.seeds)

    @property
    def diverged(self) -> np.ndarray:
        """Whether each replica diverged: (R,)."""
        return np.isfinite(self.metrics["diverged_at"]) | ~np.isfinite(self.metrics["mse"])

    @property
    def classifies(self) -> bool:
        """Whether the net's outputs are logits of classes."""
        return loss_name(self.config["loss"]) in metrics.OF_LOGITS

    def final(self, name: str) -> np.ndarray:
        """A final number of every replica, the worst there is if it diverged: (R,).

        name: one of ``metrics``, or of :mod:`mlpfit.runs.quantities`: "mae", "val_accuracy", ...,
        infinite where less is better, minus infinite for r2 and accuracy. Raises ValueError for
        another name, and for a number that this run can't have."""
        values = self.metrics[name] if name in self.metrics else self.evaluated(name)
        worst = -np.inf if name.split("_")[-1] in metrics.RISING else np.inf
        return np.where(self.diverged | ~np.isfinite(values), worst, values)

    def evaluated(self, name: str, step: int | None = None) -> np.ndarray:
        """A quantity of every replica after this step, None: the last: (R,). It is computed from
        weights and rows: see :mod:`mlpfit.runs.quantities`, which also says what is raised."""
        from mlpfit.runs.quantities import evaluated  # here, since it reads runs

        if (name, step) not in self._evaluated:
            self._evaluated[name, step] = evaluated(self, name, step)
        return self._evaluated[name, step]

    def is_whole(self) -> bool:
        """Whether all files of the finished run exist."""
        return all(
            (run.path / name).is_file() for run in (self, *self.shards) for name in run._digests
        )

    def number_hashes(self) -> dict[str, str]:
        """SHA-256 of the files of results: all .npz and metrics.json."""
        if self.shards:
            return {
                f"{shard.path.name}/{name}": digest
                for shard in self.shards
                for name, digest in shard.number_hashes().items()
            }
        return {n: d for n, d in self._digests.items() if n.endswith(".npz") or n == "metrics.json"}

    @property
    def snapshots(self) -> np.ndarray:
        return self._weights["step"]

    def parameters(self, step: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight (R, in, out), bias (R, 1, out)) of each layer after this step; None: final. A net
        of the user's own (``model.net``) has none, but a :meth:`state`. Raises KeyError if there is
        no snapshot of the step."""
        weights = self.state(step)
        layers = range(0 if self.config["model"].get("net") else len(weights) // 2)
        return [(weights[f"weight_{i}"], weights[f"bias_{i}"]) for i in layers]

    def state(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Parameters, and buffers of a net of the user's own, by name after this step: (R, ...)."""
        steps = self.snapshots.tolist()
        if step is not None and step not in steps:
            raise KeyError(f"{self.path}: no weights of step {step}; kept are {steps}")
        index = -1 if step is None else steps.index(step)
        names = (name for name in self._weights if name != "step")
        return {name.removeprefix(content.NET): self._weights[name][index] for name in names}

    def predict(self, x: Any, step: int | None = None) -> np.ndarray:
        """Predictions for x (n, d), or x (R, n, d) with inputs of each replica: (R, n, o)."""
        starts = range(0, self.replicas, REPLICAS_AT_ONCE)
        return np.concatenate(
            [self._outputs(x, step, slice(i, i + REPLICAS_AT_ONCE))[-1] for i in starts]
        )

    def hidden(self, x: Any, step: int | None = None) -> list[np.ndarray]:
        """Output of every hidden layer: x (n, d) or (R, n, d) -> [(R, n, h), ...]."""
        return self._outputs(x, step)[:-1]

    def kinks(self, step: int | None = None) -> np.ndarray:
        """Inputs -b / w at which the units of the first layer change sign: (R, h); not finite for a
        weight 0. Raises ValueError for several inputs or no hidden layer."""
        layers = self.parameters(step)
        if len(layers) < 2 or layers[0][0].shape[1] != 1:
            raise ValueError(f"{self.path}: kinks need one input and a hidden layer")
        with np.errstate(divide="ignore", invalid="ignore"):
            return -layers[0][1][:, 0] / layers[0][0][:, 0]

    def shares(self, x: Any, step: int | None = None) -> np.ndarray:
        """Contribution of each unit of the last hidden layer to the prediction, which is their sum
        plus the output's bias: x (n, d) or (R, n, d) -> (R, n, h); h = 0 without hidden layer."""
        *hidden, prediction = self._outputs(x, step)
        if not hidden:
            return np.empty((*prediction.shape[:2], 0), dtype=prediction.dtype)
        return hidden[-1] * self.parameters(step)[-1][0][:, None, :, 0]

    def _outputs(self, x: Any, step: int | None, group: slice = slice(None)) -> list[np.ndarray]:
        """Outputs of all layers for a group of replicas: [(R, n, h), ..., (R, n, 1)]. Raises
        ValueError for a wrong shape of x."""
        layers = [(weight[group], bias[group]) for weight, bias in self.parameters(step)]
        inputs = np.asarray(x, dtype=self.data["x"].dtype if not layers else layers[0][0].dtype)
        fan_in = self.data["x"].shape[2] if not layers else layers[0][0].shape[1]
        if inputs.ndim not in (2, 3) or inputs.shape[-1] != fan_in:
            raise ValueError(
                f"x has shape {inputs.shape}; allowed are (n, {fan_in}) and (replicas, n, {fan_in})"
            )
        inputs = inputs[group] if inputs.ndim == 3 else inputs[None]
        if not layers:
            arrays = {name: array[group] for name, array in self.state(step).items()}
            return [_outputs_of_nets(self.config["model"]["net"], arrays, inputs)]
        model = self.config["model"]
        activation, output = model["activation"], model.get("output", "identity")
        if all(evaluation.known_activation(g) is not None for g in (activation, output)):
            return evaluation.outputs(layers, inputs, activation, output)[1:]
        return _outputs_by_torch(layers, inputs, activation, output)

    def plot(self, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw the fit and the loss, of an ensemble with bands, on these two axes (None: on a new
        figure's), and return the two.

        >>> import mlpfit
        >>> from matplotlib.figure import Figure
        >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
        >>> fit, loss = run.plot(Figure().subplots(1, 2))
        >>> loss.get_yscale()
        'log'
        """
        from mlpfit.report import notebook

        return notebook.plot(self, axes)

    def to_frame(self) -> DataFrame:
        """The final numbers, one row a replica, indexed by seed.

        >>> import mlpfit
        >>> run = mlpfit.fit("parabola/eight_neurons", replicas=3, trainer={"max_steps": 20})
        >>> run.to_frame()["mse"].shape
        (3,)
        """
        import pandas

        index = pandas.Index(self.seeds, name="seed")
        return pandas.DataFrame(self.metrics, index=index)

    def verdicts(self) -> DataFrame:
        """The numbers that the experiment's page prints, judged by these replicas as in the ledger
        (:mod:`mlpfit.judging.ledger`), one row a number: published, percentile, median, p5, p95,
        ratio to the median, p with its interval, verdict, between, reason where no run has the
        number, recovered, replicas. If the run's recipe is another than the experiment's, a column
        "departs" has the keys with both values ("target.noise: 3.0, now 1.0").

        Raises RunError for a single replica, or if the run has too few steps for one of them.

        >>> import mlpfit
        >>> run = mlpfit.fit("tower/large", replicas=2, trainer={"max_steps": 1})
        >>> run.verdicts()
        Traceback (most recent call last):
        mlpfit.errors.RunError: ...tower/large:...: not a step of this run, which took 1
        """
        from mlpfit.report import notebook

        return notebook.verdicts(self)

    def _repr_html_(self) -> str:
        """A table of the final numbers and a small picture of fit and loss, for Jupyter."""
        from mlpfit.report import notebook

        return notebook.shown(self)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        return self._arrays("weights.npz", replica_axis=1)

    def _arrays(self, name: str, replica_axis: int) -> dict[str, np.ndarray]:
        if self.shards:
            # Rows shared by a shard's replicas are in the file once, in ``data`` once per replica.
            is_data = name == "data.npz"
            parts = [s.data if is_data else s._arrays(name, replica_axis) for s in self.shards]
            try:
                return {
                    k: v
                    if k == "step"
                    else np.concatenate([part[k] for part in parts], replica_axis)
                    for k, v in parts[0].items()
                }
            except (KeyError, ValueError):  # of other steps or rows
                problem = "its shards don't belong together"
                raise RunError(f"{self.path / name}: {problem}; {RETRAIN}") from None
        return self._checked(name, partial(content.arrays_of, name=name, replicas=self.replicas))

    def _checked(self, name: str, parse: Callable[[bytes], Any]) -> Any:
        """Content of a file. Raises RunError if it is not as a run writes it."""
        try:
            return parse(self._read(name))
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            problem = " ".join(str(error).split())[:200] or "not as a run writes it"
            raise RunError(f"{self.path / name}: {problem}; {RETRAIN}") from None

    def check_files(self) -> None:
        """Raises RunError if a file is missing, changed since it was written or not as a run writes
        it, or if the files do not belong together."""
        for name in self._digests:
            self._read(name)
        for part in self.shards or (self,):
            Run(
                part.path, part._marker
            )._check_parts()  # not this one, which would keep all in memory

    def _check_parts(self) -> None:
        for name in self._digests:
            self._read(name)
        record, data, steps = self.provenance, self.data, self.history["step"]
        layers, max_steps = self.parameters(), self.config["trainer"]["max_steps"]
        together = {
            "config.yaml": max_steps is None or max_steps >= record["steps"],
            "metrics.json": len(self.metrics["mse"]) == self.replicas,
            "history.npz": (steps[-1] if len(steps) else 0) == record["steps"],
            "weights.npz": not layers or layers[0][0].shape[1] == data["x"].shape[2],
            "validation.npz": self.validation["step"].tolist() == self.snapshots.tolist(),
        }
        for name, holds in together.items():
            if not holds:
                problem = "does not belong to the run's other files"
                raise RunError(f"{self.path / name}: {problem}; {RETRAIN}")

    def _read(self, name: str) -> bytes:
        """The file's bytes. Raises RunError if their SHA-256 is not that of the marker."""
        file = self.path / name
        try:
            data = read_file(file)
        except (OSError, MemoryError) as error:
            reason = f"can't be read ({getattr(error, 'strerror', None) or 'too large'})"
            raise RunError(f"{file}: {reason}; train the run again") from None
        if hashlib.sha256(data).hexdigest() != self._digests.get(name):
            raise RunError(f"{file}: checksum mismatch: modified or damaged; {RETRAIN}")
        return data


def _outputs_by_torch(
    layers: evaluation.Layers, x: np.ndarray, activation: Any, output: Any
) -> list[np.ndarray]:
    """Outputs of all layers for an activation outside the engine, by the net's own forward pass."""
    import torch

    from mlpfit.model import mlp

    tensors = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in layers]
    inputs = torch.from_numpy(np.repeat(x, len(layers[0][0]) // len(x), axis=0))
    return [
        values.numpy() for values in mlp.outputs(tensors, inputs, activation, output=output)[1:]
    ]


def _outputs_of_nets(net: Any, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Outputs (R, n, o) of nets of the user's own, from their class in the tutorial's folder."""
    from mlpfit.config.catalogue import tutorials
    from mlpfit.model.nets import predictions

    tutorials()  # which makes the user's importable
    replicas = len(next(iter(arrays.values())))
    return predictions(net, arrays, np.broadcast_to(x, (replicas, *x.shape[1:])))


def load_run(path: str | Path) -> Run:
    """The finished run or ensemble in this folder. Raises RunError, naming the file, if it is
    missing or damaged.

    >>> import mlpfit
    >>> path = mlpfit.fit("parabola/eight_neurons", trainer={"max_steps": 20}).path
    >>> mlpfit.load_run(path).history["loss"].shape
    (20, 1)
    """
    path = Path(path)
    marker = _marker(path)
    shards = [Run(folder, _marker(folder)) for folder in _shard_folders(path, marker)]
    run = Run(path, marker, shards)
    for shard in shards:
        if shard.identity != run.identity:
            raise RunError(f"{shard.path}: a shard of another run; {RETRAIN}")
    recipe = run.identity["recipe"]
    expected = [recipe["seed"], recipe["replicas"], recipe["seeds"]]
    if shards and run.seeds != replica_seeds(*expected):
        raise RunError(f"{path}: its shards are not the replicas it names; {RETRAIN}")
    return run


def _shard_folders(path: Path, marker: dict[str, Any]) -> list[Path]:
    return [path / SHARDS / name for name in marker.get("shards", ())]


def _marker(path: Path) -> dict[str, Any]:
    """Content of complete.json. Raises RunError if it is missing or not as it was written."""
    file = path / MARKER
    try:
        return content.marker_of(read_file(file, MAX_MARKER))
    except FileNotFoundError:
        raise RunError(f"{path}: no finished run here (no {MARKER}); train it first") from None
    except OSError as error:
        raise RunError(f"{file}: can't be read ({error.strerror}); {RETRAIN}") from None
    except (ValueError, TypeError, RecursionError):
        raise RunError(f"{file}: damaged; {RETRAIN}") from None


def differences(a: Any, b: Any, key: str = "") -> list[str]:
    """Differing values of two nested dicts by key, as "optimizer.lr: 0.01, now 0.02"."""
    if isinstance(a, dict) and isinstance(b, dict):
        below = [(k, f"{key}.{k}" if key else k) for k in sorted({*a, *b})]
        return [d for k, name in below for d in differences(a.get(k), b.get(k), name)]
    return [] if a == b else [f"{key.removeprefix('recipe.')}: {a}, now {b}"]
