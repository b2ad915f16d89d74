"""What TensorBoard is given of finished runs, read back from the events and from a real server."""

import csv
import json
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlpfit import load_run
from mlpfit.config.compose import compose
from mlpfit.runs import sealed
from mlpfit.sweeps import summary
from mlpfit.tensorboard import board
from mlpfit.training.train import train

LEDGER = {"numbers": [
    {"experiment": "tower/small", "quantity": "sse", "step": 40, "published": 3.75, "verdict": "typical",
     "median": 2.8, "p5": 1.9, "p95": 4.5},
]}  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A single run, an ensemble, a sweep of two jobs and a ledger, with what the board adds to
    them."""
    folder = tmp_path_factory.mktemp("board") / "outputs"
    small = ("experiment=tower/small", "model.hidden=4", "trainer.max_steps=40")
    train(compose([*small, f"output_dir={folder}"]))
    train(compose([*small, f"output_dir={folder}", "replicas=5"]))
    sweep, jobs = folder / "sweeps/tower/rates", []
    for lr in ("0.001", "0.01"):
        jobs.append(
            compose([*small, "replicas=3", f"optimizer.lr={lr}", f"output_dir={sweep}/lr_{lr}"])
        )
        train(jobs[-1])
    summary.write(
        sweep, [{"optimizer.lr": "0.001"}, {"optimizer.lr": "0.01"}], jobs, ["", ""], None
    )
    (folder / "ledger.json").write_bytes(sealed.json_bytes(LEDGER))
    sys.argv = ["board", str(folder)]
    assert board.main() == 0
    return folder


def events(folder):
    """Everything in the folder's event files."""
    found = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    )
    found.Reload()
    return found


def test_the_fit_develops_in_some_twenty_pictures(outputs):
    found = events(outputs / "runs/tower/small")
    pictures = found.Images("fit")
    kept = load_run(outputs / "runs/tower/small").snapshots
    assert [p.step for p in pictures] == kept.tolist() and len(pictures) > 12
    assert all(p.encoded_image_string.startswith(b"\x89PNG") and p.width > 500 for p in pictures)
    assert len({p.encoded_image_string for p in pictures}) > 5
    tags = {"weights/0", "weights/1", "activations/0", "kinks"}
    assert tags <= {*found.Tags()["histograms"], *found.Tags()["tensors"]}
    (text,) = (
        found.Tensors("published/text_summary")
        if "published/text_summary" in found.Tags()["tensors"]
        else (found.Tensors("published"))
    )
    assert b"| sse | 40 | 3.75 | typical | 2.8 (1.9 to 4.5) |" in text.tensor_proto.string_val[0]
    assert found.Tags()["graph"]
    operations = [node.op for node in found.Graph().node]
    assert operations.count("Parameter") == 4 and operations.count("Relu") == 1
    size = sum(f.stat().st_size for f in (outputs / "runs/tower/small").glob("events*"))
    assert size < 2e6


def test_an_ensemble_is_three_runs_and_a_margin_chart(outputs):
    run = load_run(outputs / "ensembles/tower/small")
    for name, q in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
        found = scalars(events(run.path / name), "loss")
        assert found.keys() == set(run.history["step"].tolist())
        for step, value in found.items():
            at = run.history["loss"][run.history["step"].tolist().index(step)]
            assert value == pytest.approx(np.quantile(at, q, method="inverted_cdf"), rel=1e-6)
    median = events(run.path / "median")
    assert scalars(median, "band/median") == scalars(median, "loss")
    assert "custom_scalars__config__" in median.Tags()["tensors"]


def scalars(found, tag):
    """Of either kind of summary: {step: value}."""
    if tag in found.Tags()["scalars"]:
        return {e.step: e.value for e in found.Scalars(tag)}
    return {e.step: e.tensor_proto.float_val[0] for e in found.Tensors(tag)}


def test_a_second_time_nothing_is_written_and_a_new_verdict_is(outputs):
    judged = LEDGER["numbers"]
    run = load_run(outputs / "runs/tower/small")
    assert board.write_run(run, judged) == 0
    assert board.write_run(run, [judged[0] | {"verdict": "unusual"}]) == 1
    assert board.write_run(run, judged) == 1
    assert len(list(run.path.glob("*.board-*"))) == 1


@contextmanager
def server(folder):
    """A real TensorBoard on a free port: yields a function that gets JSON from a path of it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(folder),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        [*command, "--load_fast=false"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def get(path, body=None):
        asked = urllib.request.Request(
            f"http://localhost:{port}/data/{path}", body and json.dumps(body).encode()
        )
        if body:
            asked.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    try:
        for _ in range(200):
            try:
                if len(get("runs")) >= 6:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        yield get
    finally:
        process.terminate()
        process.wait()


def test_a_real_server_shows_scalars_images_and_hparams(outputs):
    with server(outputs) as get:
        names = {
            "runs/tower/small",
            *(f"ensembles/tower/small/{q}" for q in ("p5", "median", "p95")),
        }
        assert names | {"sweeps/tower/rates/lr_0.001", "sweeps/tower/rates/lr_0.01"} == set(
            get("runs")
        )
        history = load_run(outputs / "runs/tower/small").history["loss"][:, 0]
        shown = get("plugin/scalars/scalars?tag=loss&run=runs/tower/small")
        assert [(step, pytest.approx(history[step - 1], rel=1e-6)) for _, step, _ in shown] == [
            (step, value) for _, step, value in shown
        ]
        assert len(get("plugin/images/images?tag=fit&run=runs/tower/small&sample=0")) >= 10
        info = get("plugin/hparams/experiment", {"experimentName": ""})
        assert {h["name"] for h in info["hparamInfos"]} >= {"optimizer.lr", "sweep", "parameters"}
        asked = {"experimentName": "", "startIndex": 0, "sliceSize": 10, "colParams": [],
                 "allowedStatuses": ["STATUS_SUCCESS"]}  # fmt: skip
        groups = get("plugin/hparams/session_groups", asked)["sessionGroups"]
        assert sorted(g["hparams"]["optimizer.lr"] for g in groups) == [0.001, 0.01]
        with open(outputs / "sweeps/tower/rates/summary.csv", newline="") as table:
            medians = {
                float(row["optimizer.lr"]): float(row["mse_median"])
                for row in csv.DictReader(table)
            }
        for group in groups:
            values = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
            assert values["final/mse"] == pytest.approx(
                medians[group["hparams"]["optimizer.lr"]], rel=1e-5
            )
