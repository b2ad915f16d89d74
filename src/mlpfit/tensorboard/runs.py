"""What TensorBoard shows of finished runs and ensembles, beside their logs.

A run gets ``fit`` (pictures), ``weights/...``, ``activations/...`` and ``kinks`` at the snapshots,
and the net's graph; an ensemble becomes three runs p5, median, p95 with these quantiles of
``train/loss``, and a margin chart under Custom Scalars; both get texts.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
import yaml
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from mlpfit.figures.parts import fit_panels
from mlpfit.judging.statistics import QUANTILES, quantiles
from mlpfit.runs.run import Run
from mlpfit.tensorboard.events import add_curve, add_histogram, add_summary, write
from mlpfit.tensorboard.picture import FitPicture, png

ACTIVATIONS = {"relu": torch.nn.ReLU, "identity": torch.nn.Identity, "tanh": torch.nn.Tanh}
MAX_KINK = 1e3  # those farther from 0 would squeeze the others into one bin
LOSS = "train/loss"  # the tag in the log of a single run, so that the curves overlay
POINTS = 200  # of a curve
Verdicts = list[dict[str, Any]]  # the ledger's entries on the published numbers of one experiment


def write_run(run: Run, verdicts: Verdicts) -> int:
    """Write the run's event file. Returns 0 if it was up to date, else 1."""

    def add(writer: SummaryWriter) -> None:
        add_texts(writer, run, verdicts)
        writer.add_graph(network(run), torch.zeros(run.data["x"].shape[1:]))
        add_snapshots(writer, run)

    return write(run.path, [run.number_hashes(), verdicts], add)


def write_ensemble(run: Run, verdicts: Verdicts) -> int:
    """Write the ensemble's three event files. Returns how many were out of date."""
    sources = [run.number_hashes(), verdicts]
    names = QUANTILES if len(run.history["step"]) else ()
    adders = {name: partial(add_quantile, run, verdicts, name) for name in names}
    return sum(write(run.path / name, sources, add) for name, add in adders.items())


def add_texts(writer: SummaryWriter, run: Run, verdicts: Verdicts) -> None:
    """Add config, published numbers and, of an ensemble, the question: a run's log has its own."""
    writer.add_text("config", f"```yaml\n{yaml.safe_dump(run.config, sort_keys=False)}```", 0)
    if run.replicas > 1:
        writer.add_text("question", run.config["question"], 0)
    rows = ["quantity | step | published | verdict | median of the replicas (5 to 95 %)"]
    rows.append("--- | --- | --- | --- | ---")
    for v in verdicts:
        step = "" if v["step"] is None else v["step"]
        band = f"{v['median']:.4g} ({v['p5']:.4g} to {v['p95']:.4g})" if "median" in v else ""
        rows.append(f"{v['quantity']} | {step} | {v['published']:g} | {v['verdict']} | {band}")
    if verdicts:
        writer.add_text("published", "\n".join(f"| {row} |" for row in rows), 0)


def network(run: Run) -> torch.nn.Sequential:
    """A net of torch's layers with the run's sizes, for the graph."""
    layers: list[torch.nn.Module] = []
    for weight, _ in run.parameters():
        layers.append(torch.nn.Linear(*weight.shape[1:]))
        layers.append(ACTIVATIONS[run.config["model"]["activation"]]())
    return torch.nn.Sequential(*layers[:-1])


def add_snapshots(writer: SummaryWriter, run: Run) -> None:
    """Add pictures and histograms of the first replica at every snapshot."""
    one_input = run.data["x"].shape[2] == 1
    inputs = run.data["pool_x" if one_input else "x"][0]
    panels = fit_panels(run)
    fit_picture = FitPicture(panels, one_input)
    for snapshot, step in enumerate(run.snapshots.tolist()):
        picture = fit_picture.draw(snapshot)
        # Not add_image: its PNG files have no palette, and a run would have three times the bytes.
        image = Summary.Image(height=picture.height, width=picture.width, colorspace=3)
        image.encoded_image_string = png(picture)
        add_summary(writer, Summary(value=[Summary.Value(tag="fit", image=image)]), step)
        for layer, (weight, _) in enumerate(run.parameters(step)):
            add_histogram(writer, f"weights/{layer}", weight[0], step)
        for layer, output in enumerate(run.hidden(inputs, step)):
            add_histogram(writer, f"activations/{layer}", output[0], step)
        if len(kinks := panels.kinks[snapshot]):
            add_histogram(writer, "kinks", kinks[np.abs(kinks) < MAX_KINK], step)


def add_quantile(run: Run, verdicts: Verdicts, name: str, writer: SummaryWriter) -> None:
    """Add the curve of one quantile; to the median also ``band/...``, margin chart and texts."""
    recorded = run.history["step"]
    steps = np.unique([*recorded[:: -(-len(recorded) // POINTS)], recorded[-1]])
    losses = quantiles(run.history["loss"][np.searchsorted(recorded, steps)])  # (3, steps)
    curves = dict(zip(QUANTILES, losses, strict=True))
    add_curve(writer, LOSS, steps, curves[name])
    if name == "median":
        finite = np.isfinite(losses).all(axis=0)  # the chart needs all three
        for quantile, curve in curves.items():
            add_curve(writer, f"band/{quantile}", steps[finite], curve[finite])
        title = "loss over the replicas: median, 5 to 95 %"
        tags = ["band/median", "band/p5", "band/p95"]
        writer.add_custom_scalars_marginchart(tags, "Ensembles", title)
        add_texts(writer, run, verdicts)
