"""Run folders: complete or absent, checked when read. Reading needs numpy only.

config.yaml      the resolved config                 weights.npz      parameters at the snapshot steps
history.npz      loss of every step, before its update   data.npz     the rows of every replica
metrics.json     final numbers, one per replica      provenance.json  what made the run
checkpoints/     last.ckpt, best.ckpt                events.out...    TensorBoard
complete.json    written last: identity of the run and the SHA-256 of every file above

An ensemble's folder holds its blocks of replicas, each such a folder, under blocks/; it reads as one run.
"""

import hashlib
import inspect
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlpfit.config import Config, as_published
from mlpfit.errors import RunError
from mlpfit.streams import named_seeds

MARKER = "complete.json"
BLOCKS = "blocks"
KEYS = {"history.npz": {"step", "loss"}, "weights.npz": {"step"}, "data.npz": {"x", "y", "center", "scale"}}
SEEDS = ("seed:", "seeds:", "replicas:", "ensemble.")  # differences between ensembles of one recipe
HOW = ("trainer.compile:", "trainer.accelerator:", "trainer.block_steps:", "checkpoint.", "logger.", "ensemble.")
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "identity": lambda z: z}
}
COMPUTING_PACKAGES = ("torch", "lightning", "numpy")
# The modules that decide a run's numbers; a test holds the list against what train imports.
COMPUTING_SOURCES = (
    *("targets", "formula", "streams", "order", "losses", "mlp", "layout"),
    *("compiled", "datamodule", "regression", "recording", "training"),
)


class Run:
    """A finished run.

    config     plain dict                         metrics     name -> (R,)
    history    "loss" -> (steps, R), "step" -> (steps,), counted from 1
    data       x (R, n, d), y (R, n, 1), pool_x, pool_y, pool_truth (R, m, .), center, scale (R, d + 1)
    snapshots  the steps after which the weights were kept, 0 (initial) first
    """

    def __init__(self, path: Path, marker: dict[str, Any], parts: Sequence["Run"] = ()) -> None:
        self.path = path
        self.identity: dict[str, Any] = marker["identity"]
        self.parts = parts
        self._digests: dict[str, str] = marker["files"]

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.replicas} replica{'s'[: self.replicas > 1]})"

    @cached_property
    def config(self) -> dict[str, Any]:
        if self.parts:
            return self.parts[0].config
        try:
            return yaml.safe_load(self._read("config.yaml"))
        except yaml.YAMLError:  # tags of Python objects among them: they are never made
            raise RunError(
                f"{self.path / 'config.yaml'}: not plain YAML; train the run again with force=true"
            ) from None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Of an ensemble: that of its first block, with all seeds and the seconds of all blocks together."""
        if not self.parts:
            return json.loads(self._read("provenance.json"))
        made = [part.provenance for part in self.parts]
        seeds = [seed for m in made for seed in m["seeds"]]
        return made[0] | {"seeds": seeds, "seconds": sum(m["seconds"] for m in made)}

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        if self.parts:
            return {k: np.concatenate([p.metrics[k] for p in self.parts]) for k in self.parts[0].metrics}
        return {k: np.array(v, dtype=float) for k, v in json.loads(self._read("metrics.json")).items()}

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        return self._arrays("history.npz", replica_axis=1)

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
        """Which replicas diverged: (R,)."""
        return np.isfinite(self.metrics["diverged_at"]) | ~np.isfinite(self.metrics["mse"])

    def final(self, name: str) -> np.ndarray:
        """A final number of every replica, a diverged one counting as infinite: (R,)."""
        return np.where(self.diverged | ~np.isfinite(self.metrics[name]), np.inf, self.metrics[name])

    def drawn_files(self) -> dict[str, str]:
        """Hashes of the files that hold numbers (not of times, places and TensorBoard's events)."""
        if self.parts:
            return {f"{p.path.name}/{n}": d for p in self.parts for n, d in p.drawn_files().items()}
        return {n: d for n, d in self._digests.items() if n.endswith(".npz") or n == "metrics.json"}

    @property
    def snapshots(self) -> np.ndarray:
        return self._weights["step"]

    def parameters(self, step: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight (R, in, out), bias (R, 1, out)) per layer after that many steps; None: the final ones.

        Raises KeyError if the weights were not kept at that step.
        """
        kept = self.snapshots.tolist()
        if step is not None and step not in kept:
            raise KeyError(f"{self.path}: no weights of step {step}; kept are {kept}")
        at = len(kept) - 1 if step is None else kept.index(step)
        layers = range((len(self._weights) - 1) // 2)
        return [(self._weights[f"weight_{i}"][at], self._weights[f"bias_{i}"][at]) for i in layers]

    def predict(self, x: Any, step: int | None = None) -> np.ndarray:
        """x (n, d), or (R, n, d) with other inputs for every replica -> (R, n, 1)."""
        return self._outputs(x, step)[-1]

    def hidden(self, x: Any, step: int | None = None) -> list[np.ndarray]:
        """Output of every hidden layer: x (n, d) or (R, n, d) -> [(R, n, h), ...]."""
        return self._outputs(x, step)[:-1]

    def _outputs(self, x: Any, step: int | None) -> list[np.ndarray]:
        layers = self.parameters(step)
        output = np.asarray(x, dtype=layers[0][0].dtype)
        fan_in = layers[0][0].shape[1]
        if output.ndim not in (2, 3) or output.shape[-1] != fan_in:
            raise ValueError(f"x has shape {output.shape}; allowed are (n, {fan_in}) and (replicas, n, {fan_in})")
        outputs = []
        for i, (weight, bias) in enumerate(layers):
            output = output @ weight + bias
            if i < len(layers) - 1:
                output = ACTIVATIONS[self.config["model"]["activation"]](output)
            outputs.append(output)
        return outputs

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        return self._arrays("weights.npz", replica_axis=1)

    def _arrays(self, name: str, replica_axis: int) -> dict[str, np.ndarray]:
        if self.parts:
            loaded = [p.data if name == "data.npz" else p._arrays(name, replica_axis) for p in self.parts]
            joined = {k: np.concatenate([a[k] for a in loaded], replica_axis) for k in loaded[0] if k != "step"}
            return joined if "step" not in loaded[0] else {"step": loaded[0]["step"], **joined}
        content = io.BytesIO(self._read(name))
        try:
            with np.load(content, allow_pickle=False) as arrays:
                found = {key: arrays[key] for key in arrays.files}
            if found.keys() >= KEYS[name] and all(isinstance(value, np.ndarray) for value in found.values()):
                return found
            raise ValueError(name)
        except Exception:  # pickled objects among others: they are never made
            raise RunError(
                f"{self.path / name}: no file of plain arrays; train the run again with force=true"
            ) from None

    def check(self) -> None:
        """Raises RunError if a file is gone or not as it was written."""
        for run in (self, *self.parts):
            for name in run._digests:
                run._read(name)

    def _read(self, name: str) -> bytes:
        """The file's bytes, after comparing them with what the marker says of them."""
        file = self.path / name
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RunError(f"{file}: can't be read ({error.strerror}); train the run again") from None
        if hashlib.sha256(content).hexdigest() != self._digests.get(name):
            raise RunError(f"{file}: not as it was written; train the run again with force=true")
        return content


def load_run(path: str | Path) -> Run:
    """The finished run or ensemble in this folder. Raises RunError, naming the file, if incomplete or damaged."""
    marker = Path(path) / MARKER
    try:
        content = json.loads(marker.read_text())
        parts = [load_run(Path(path) / BLOCKS / Path(name).name) for name in content.get("blocks", [])]
        run = Run(Path(path), {"identity": dict(content["identity"]), "files": dict(content["files"])}, parts)
    except OSError:
        raise RunError(f"{path}: no finished run here (no {MARKER}); train it first") from None
        dict(run.identity["recipe"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RunError(f"{marker}: damaged; train the run again with force=true") from None
    for part in parts:
        if part.identity != run.identity:
            raise RunError(f"{part.path}: a block of another run; train the ensemble again with force=true")
    recipe = run.identity["recipe"] if parts else {}
    if parts and run.seeds != named_seeds(recipe["seed"], recipe["replicas"], recipe["seeds"]):
        raise RunError(f"{path}: its blocks are not the replicas it names; train the ensemble again with force=true")
    return run


def published_run(experiment: str, outputs: Path, kind: str = "runs") -> Run:
    """The finished run (or of "ensembles") of a published experiment. Raises RunError if it is absent, damaged or of
    another recipe than the experiment's config; how it was computed may differ, and an ensemble's seeds."""
    path = outputs / kind / experiment
    run = load_run(path)
    found = differences(run.identity["recipe"], as_published(experiment).recipe())
    found = [d for d in found if not d.startswith(HOW + (SEEDS if kind == "ensembles" else ()))]
    if found:
        raise RunError(
            f"{path}: not the run that experiment={experiment} describes ({'; '.join(found)}): train that again, and "
            "yours with another output_dir"
        )
    return run


def merge(runs: Sequence[Run]) -> Run:
    """Runs of one recipe with different seeds, read as one ensemble. Raises RunError if they don't go together."""
    if not runs:
        raise RunError("no runs to merge: none was given")
    for other in runs[1:]:
        found = differences(runs[0].identity, other.identity)
        if differing := [d for d in found if not d.startswith(SEEDS)]:
            raise RunError(f"{other.path} is not of the same recipe as {runs[0].path}: {'; '.join(differing)}")
    parts = [part for run in runs for part in (run.parts or [run])]
    merged = Run(runs[0].path, {"identity": runs[0].identity, "files": {}}, parts)
    if len(set(merged.seeds)) < merged.replicas:
        raise RunError(f"{', '.join(str(run.path) for run in runs)} share seeds: every seed counts once")
    return merged


def identity(config: Config) -> dict[str, Any]:
    """What two runs must share to be the same run: recipe, code and packages that decide the numbers."""
    digest = hashlib.sha256()
    for module in COMPUTING_SOURCES:
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    written = inspect.getsourcefile(type(config.target))  # perhaps the user's own
    if written and Path(written).parent != Path(__file__).parent:
        digest.update(Path(written).read_bytes())
    return {
        "recipe": config.recipe(),
        "code": digest.hexdigest(),
        "packages": {name: version(name) for name in COMPUTING_PACKAGES},
    }


def is_current(config: Config) -> bool:
    """Whether the run folder holds exactly this run, finished and with every file in its place."""
    try:
        run = load_run(config.run_dir)
    except RunError:
        return False
    return run.identity == identity(config) and all(
        (part.path / name).is_file() for part in (run, *run.parts) for name in part._digests
    )


def differences(a: Any, b: Any, key: str = "") -> list[str]:
    """Keys whose values differ, as "optimizer.lr: 0.01, now 0.02"."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in sorted({*a, *b}) for d in differences(a.get(k), b.get(k), f"{key}.{k}" if key else k)]
    return [] if a == b else [f"{key.removeprefix('recipe.')}: {a}, now {b}"]


def write_file(path: Path, content: bytes) -> None:
    """Write beside the target and move into place: readers see the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As numpy.savez, but the same bytes from every Python: its zip headers differ between patch versions."""
    with zipfile.ZipFile(path, "w") as parts:
        for name, values in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
            parts.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())


def seal(folder: Path, identity: dict[str, Any]) -> None:
    """Write the marker: from now on the folder is a finished run, or an ensemble of the finished blocks in it."""
    blocks = sorted(p.name for p in (folder / BLOCKS).iterdir()) if (folder / BLOCKS).is_dir() else []
    inside = (p for p in folder.rglob("*") if BLOCKS not in p.relative_to(folder).parts)
    files = sorted(p for p in inside if p.is_file() and p.name != MARKER)
    digests = {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    content = {"identity": identity, "files": digests} | ({"blocks": blocks} if blocks else {})
    write_file(folder / MARKER, json.dumps(content, indent=1).encode())


def move_into_place(partial: Path, final: Path) -> None:
    """Put a sealed folder where the finished run belongs; the older run there goes only then."""
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)
