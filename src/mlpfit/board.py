"""What TensorBoard shows of finished runs: python -m mlpfit.board (make tensorboard runs it first)

runs/<experiment>        beside what the run wrote itself: ``fit`` (pictures of fit, residual and hidden units),
                         ``weights/...``, ``activations/...``, ``kinks`` at the snapshot steps; ``published`` as text;
                         the graph of the net
ensembles/<experiment>/p5, median, p95   ``loss`` at these quantiles over the replicas, to be laid over a run's;
                         the median run has all three as ``band/...``, drawn as a margin chart under Custom Scalars
sweeps/<sweep>/<job>     a row of HParams: swept keys and final numbers

What is up to date is left alone. Event files are named after a hash of what they were made from.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tensorboard.compat.proto import event_pb2, graph_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from mlpfit.command import run_command
from mlpfit.errors import ConfigError, RunError
from mlpfit.evidence import QUANTILES, quantiles
from mlpfit.picture import FitPicture, png
from mlpfit.runs import MARKER, Run, load_run
from mlpfit.sealed import read_ledger
from mlpfit.summary import Row, read

POINTS = 200  # scalars a curve
BINS = 30
FEW = 4  # values that read well as words on an axis
PAGES = {
    "fits as they develop": "images&regexInput=^runs/",
    "losses between their bands": "custom_scalars&regexInput=median$",
    "jobs of all sweeps": "hparams",
}
Values = Iterator[tuple[int, Any]]  # step, Summary protocol buffer (bytes: the graph)


def main() -> int:
    outputs = Path(sys.argv[1] if sys.argv[1:] else "outputs")
    started = time.time()
    if not outputs.is_dir():
        raise ConfigError(f"{outputs}: no such folder; name one that holds runs, or none for outputs")
    ledger = outputs / "ledger.json"
    judged = read_ledger(outputs)["numbers"] if ledger.is_file() else []
    written = 0
    for kind, write in ("runs", write_run), ("ensembles", write_ensemble):
        for path in finished(outputs / kind):
            with left_out_if_damaged():
                written += write(load_run(path), judged)
    written += write_sweeps(outputs / "sweeps")
    print(f"TensorBoard of {outputs}: {written} event files written ({time.time() - started:.1f} s)")
    print("With more than 40 runs TensorBoard shows none until they are chosen. These addresses choose:")
    for what, page in PAGES.items():
        print(f"  {what:<28} http://localhost:6006/#{page}")
    return 0


@contextmanager
def left_out_if_damaged() -> Iterator[None]:
    """A damaged run costs itself and a line on stderr: the others are shown."""
    try:
        yield
    except RunError as error:
        print(f"mlpfit: left out: {error}", file=sys.stderr)


def finished(folder: Path) -> list[Path]:
    """Finished runs two levels below a folder: tutorial/experiment."""
    return [path.parent for path in sorted(folder.glob(f"*/*/{MARKER}"))]


def write_run(run: Run, judged: list[dict[str, Any]]) -> int:
    """Pictures and distributions of a single run. Returns the number of event files written."""
    made_from = run.drawn_files(), _of(run, judged), _code()
    return write_events(run.path, made_from, lambda: (*_texts(run, judged), (0, graph(run)), *developing(run)))


def write_ensemble(run: Run, judged: list[dict[str, Any]]) -> int:
    """Three runs at quantiles of the loss over the replicas. Returns the number of event files written."""
    if not run.config["trainer"]["max_steps"]:
        return 0
    made_from = run.drawn_files(), _of(run, judged), _code()

    @cache
    def curves_of_loss() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        kept = run.history["step"]
        steps = np.unique([*kept[:: -(-len(kept) // POINTS)], kept[-1]])
        losses = run.history["loss"][np.searchsorted(kept, steps)]
        return steps, dict(zip(QUANTILES, quantiles(losses), strict=True))

    def values(name: str) -> Values:
        steps, curves = curves_of_loss()
        for step, loss in zip(steps, curves[name], strict=True):
            if np.isfinite(loss):
                yield int(step), scalar_pb("loss", float(loss))
        if name == "median":
            yield from _texts(run, judged)
            yield 0, band_layout()
            known = np.all([np.isfinite(curve) for curve in curves.values()], axis=0)  # the chart wants all three
            for word, curve in curves.items():
                pairs = zip(steps[known], curve[known], strict=True)
                yield from ((int(s), scalar_pb(f"band/{word}", float(v))) for s, v in pairs)

    return sum(write_events(run.path / name, made_from, lambda name=name: values(name)) for name in QUANTILES)


def write_sweeps(folder: Path) -> int:
    """A row of HParams for every finished job of every sweep. Returns the number of event files written.

    All rows have the keys swept anywhere, since parallel coordinates leave out rows that lack one; where some have no
    such key and the others few values of it, it is shown as a text, "none" among them.
    """
    jobs = finished_jobs(folder)
    words = _words([chosen for _, _, chosen in jobs])
    return sum(
        write_events(
            path, (row, chosen, sorted(words), _code()), lambda row=row, chosen=chosen: session(row, chosen, words)
        )
        for path, row, chosen in jobs
    )


def finished_jobs(folder: Path) -> list[tuple[Path, Row, dict[str, Any]]]:
    """Folder, row of the summary and chosen hyper-parameters of every job of every sweep."""
    found: list[tuple[Path, Row, Path]] = []
    keys: set[str] = set()
    for file in sorted(folder.rglob("summary.csv")):
        with left_out_if_damaged():
            swept, rows = read(file.parent)
            keys |= {*swept} - {"experiment"}
            for row in (row for row in rows if not row["failure"]):
                markers = sorted((file.parent / row["job"]).glob(f"*/*/*/{MARKER}"))
                found += [(file.parent, row, marker.parent) for marker in markers]  # none: it has been removed since
    jobs = []
    for place, row, path in found:
        with left_out_if_damaged():
            config = load_run(path).config
            chosen = {"sweep": str(place.relative_to(folder)), "experiment": config["name"]}
            chosen |= {name: int(row[name]) for name in ("parameters", "layers")}
            jobs.append((place / row["job"], row, chosen | {key: _looked_up(config, key) for key in sorted(keys)}))
    return jobs


def _words(rows: list[dict[str, Any]]) -> set[str]:
    """The keys shown as texts."""
    values = {key: {row[key] for row in rows} for key in (rows[0] if rows else ())}
    return {
        key
        for key, known in values.items()
        if any(isinstance(value, str) for value in known) or (None in known and len(known) <= FEW)
    }


def _looked_up(config: dict[str, Any], key: str) -> Any:
    """optimizer.lr -> config["optimizer"]["lr"], the name of a group, a list as text; None if there is no such key."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    value = value["name"] if isinstance(value, dict) else value
    return value if isinstance(value, int | float | str | None) else str(value)


def session(row: Row, chosen: dict[str, Any], words: set[str]) -> Values:
    """A job's hyper-parameters, texts where any job has a text, and as metrics its medians and its diverged share."""
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time() - float(row["seconds"]))
    for key, value in chosen.items():
        if key in words:
            start.hparams[key].string_value = "none" if value is None else str(value)
        elif value is not None:
            start.hparams[key].number_value = float(value)
    end = plugin_data_pb2.SessionEndInfo(status="STATUS_SUCCESS", end_time_secs=time.time())
    for tag, content in (
        (metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)),
    ):
        value = summary_pb2.Summary.Value(
            tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR
        )
        yield 0, summary_pb2.Summary(value=[value])
    for name in ("mse_median", "truth_mse_median", "fresh_mse_median", "diverged", "seconds"):
        if np.isfinite(number := float(row[name])):
            yield 0, scalar_pb(f"final/{name.removesuffix('_median')}", number)


def developing(run: Run) -> Values:
    """The first replica at each of the steps whose weights were kept."""
    arrays = {name: values[0] for name, values in run.data.items()}
    one_input = arrays["x"].shape[1] == 1
    order = np.argsort(arrays["pool_x"][:, 0], kind="stable")
    grid, truth = (
        arrays[name][order] if one_input else arrays[rows] for name, rows in (("pool_x", "x"), ("pool_truth", "y"))
    )
    picture = FitPicture(arrays["x"], arrays["y"], grid, truth, added(run, grid))
    for step in run.snapshots.tolist():
        outputs = [layer[0] for layer in run.hidden(grid, step)]
        layers = [(weight[0], bias[0]) for weight, bias in run.parameters(step)]
        prediction, at_rows = (run.predict(x, step)[0, :, 0] for x in (grid, arrays["x"]))
        drawn = picture.draw(prediction, at_rows, added(run, grid, step))
        image = summary_pb2.Summary.Image(height=len(drawn), width=drawn.shape[1], colorspace=3)
        image.encoded_image_string = png(drawn)
        yield step, summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="fit", image=image)])
        for i, (weight, bias) in enumerate(layers):
            yield step, histogram_pb(f"weights/{i}", weight, BINS)
            if i < len(outputs):
                yield step, histogram_pb(f"activations/{i}", outputs[i], BINS)
            if i == 0 and one_input and outputs:
                with np.errstate(divide="ignore", invalid="ignore"):
                    kinks = -bias[0] / weight[0]  # where a unit of the first layer bends
                yield step, histogram_pb("kinks", kinks[np.abs(kinks) < 1e3], BINS)


def added(run: Run, x: np.ndarray, step: int | None = None) -> np.ndarray:
    """What each unit of the last hidden layer adds to the first replica's prediction: x (n, d) -> (n, hidden)."""
    hidden = run.hidden(x, step)
    return hidden[-1][0] * run.parameters(step)[-1][0][0, :, 0] if hidden else np.empty((len(x), 0))


def graph(run: Run) -> bytes:
    """The net as a TensorBoard graph: input, and for each layer weight, bias, product, sum and activation. (torch's own
    tracing for it takes longer than many a run, and keeps memory.)"""
    made = graph_pb2.GraphDef()
    layers = run.parameters()

    def node(name: str, operation: str, *inputs: str, shape: Sequence[int]) -> str:
        added = made.node.add(name=name, op=operation, input=inputs)
        sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
        added.attr["_output_shapes"].list.shape.add(dim=sizes)
        return name

    rows = run.data["x"].shape[1]
    last = node("x", "Placeholder", shape=(rows, layers[0][0].shape[1]))
    for i, (weight, bias) in enumerate(layers):
        out = rows, weight.shape[2]
        names = [
            node(f"layer_{i}/{n}", "Parameter", shape=v.shape[1:]) for n, v in (("weight", weight), ("bias", bias))
        ]
        product = node(f"layer_{i}/product", "MatMul", last, names[0], shape=out)
        last = node(f"layer_{i}/sum", "Add", product, names[1], shape=out)
        activation = run.config["model"]["activation"]
        if i < len(layers) - 1 and activation != "identity":
            last = node(f"layer_{i}/{activation}", activation.capitalize(), last, shape=out)
    node("prediction", "Identity", last, shape=(rows, 1))
    return made.SerializeToString()


def band_layout() -> Any:
    """A margin chart of the loss's median between its 5 and 95 % points."""
    series = layout_pb2.MarginChartContent.Series(value="band/median", lower="band/p5", upper="band/p95")
    chart = layout_pb2.Chart(
        title="loss over the replicas: median, 5 to 95 %", margin=layout_pb2.MarginChartContent(series=[series])
    )
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="Ensembles", chart=[chart])])
    # By hand, as tensorboard's own function for it needs TensorFlow.
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[layout.SerializeToString()],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
    )
    value = summary_pb2.Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG, metadata=custom_scalar.create_summary_metadata(), tensor=tensor
    )
    return summary_pb2.Summary(value=[value])


def _texts(run: Run, judged: list[dict[str, Any]]) -> Values:
    """The config, the published numbers of the experiment and what the ledger says of them."""
    mine = _of(run, judged)
    yield 0, text_pb("config", "```yaml\n" + yaml.safe_dump(run.config, sort_keys=False) + "```")
    if run.replicas > 1:
        yield 0, text_pb("question", run.config["question"])
    if mine:
        head = "| quantity | step | published | verdict | median of the replicas (5 to 95 %) |\n|---|---|---|---|---|\n"
        lines = [
            f"| {n['quantity']} | {'' if n['step'] is None else n['step']} | {n['published']:g} | {n['verdict']} | "
            + (f"{n['median']:.4g} ({n['p5']:.4g} to {n['p95']:.4g})" if "median" in n else "")
            + " |"
            for n in mine
        ]
        yield 0, text_pb("published", head + "\n".join(lines))


def _of(run: Run, judged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in judged if entry["experiment"] == run.config["name"]]


def _code() -> str:
    here = Path(__file__).parent
    return "".join(hashlib.sha256((here / name).read_bytes()).hexdigest() for name in ("board.py", "picture.py"))


def write_events(folder: Path, made_from: Any, values: Any) -> int:
    """One event file of what ``values()`` yields, in place of the one made from something else; 0 if it is there."""
    suffix = f".board-{hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]}"
    older = list(folder.glob("events.out.tfevents.*.board-*"))
    if any(file.name.endswith(suffix) for file in older):
        return 0
    for left in folder.glob(".board.*"):  # of a process that was killed
        shutil.rmtree(left)
    beside = folder / f".board.{os.getpid()}"
    writer = EventFileWriter(str(beside), max_queue_size=1000, filename_suffix=suffix)
    try:
        for step, value in values():
            what = {"graph_def": value} if isinstance(value, bytes) else {"summary": value}
            writer.add_event(event_pb2.Event(wall_time=time.time(), step=step, **what))
    finally:
        writer.close()
    (file,) = beside.iterdir()
    os.replace(file, folder / file.name)
    beside.rmdir()
    for file in older:
        file.unlink()
    return 1


if __name__ == "__main__":
    run_command(main)
