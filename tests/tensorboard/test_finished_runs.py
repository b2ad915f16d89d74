"""What TensorBoard is given of finished runs, read back from the events and from a real server."""

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import pytest
from conftest import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mlpfit import load_run
from mlpfit.config.compose import compose
from mlpfit.errors import RunError
from mlpfit.runs.identity import identity
from mlpfit.sweeps import summary
from mlpfit.sweeps.summary import Job, write_sweep
from mlpfit.tensorboard.events import NAME, add_histogram, write_events
from mlpfit.tensorboard.outputs import write_outputs
from mlpfit.tensorboard.runs import LOSS, write_run
from mlpfit.tensorboard.sweeps import add_row, write_sweeps
from mlpfit.training.train import train

SMALL = ("experiment=tower/small", "model.hidden=4", "trainer.max_steps=40")
VERDICTS = [
    {"experiment": "tower/small", "quantity": "sse", "step": 40, "published": 3.75,
     "verdict": "typical", "median": 2.8, "p5": 1.9, "p95": 4.5},
]  # fmt: skip


def trained_sweep(folder, experiment, key, *values):
    """A sweep of one job a value, three replicas each, with its summary."""
    write_sweep(folder, {"keys": [key], "started": "now"})
    for number, value in enumerate(values):
        config = compose([*experiment, "replicas=3", f"{key}={value}", f"output_dir={folder}"])
        train(config, folder / value)
        digest = hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()
        Job(number, (f"{key}={value}",), "now", digest).write(folder / value)
    assert not any(row["failure"] for row in summary.write_summary(folder))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A single run, an ensemble, a sweep of two jobs and a ledger, with their event files."""
    folder = tmp_path_factory.mktemp("tensorboard") / "outputs"
    train(compose([*SMALL, f"output_dir={folder}"]))
    train(compose([*SMALL, f"output_dir={folder}", "replicas=5"]))
    trained_sweep(folder / "sweeps/tower/rates", SMALL, "optimizer.lr", "0.001", "0.01")
    (folder / "ledger.json").write_text(json.dumps({"numbers": VERDICTS}))
    assert write_outputs(folder) == 1 + 3 + 2
    return folder


def events(folder):
    """Everything in the folder's event files."""
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def scalars(accumulator, tag):
    return {event.step: event.value for event in accumulator.Scalars(tag)}


def text(accumulator, tag):
    (event,) = accumulator.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def test_the_fit_develops_in_some_twenty_pictures(outputs):
    run = load_run(outputs / "runs/tower/small")
    pictures = events(run.path).Images("fit")
    assert [p.step for p in pictures] == run.snapshots.tolist() and len(pictures) > 12
    assert all(p.encoded_image_string.startswith(b"\x89PNG") and p.width > 500 for p in pictures)
    assert len({p.encoded_image_string for p in pictures}) > 5
    assert sum(f.stat().st_size for f in run.path.glob("events*")) < 2e6


def test_histograms_hold_every_weight_and_every_kink(outputs):
    run = load_run(outputs / "runs/tower/small")
    shown = events(run.path)
    tags = {"weights/0", "weights/1", "activations/0", "kinks"}
    assert tags == {*shown.Tags()["histograms"]}
    for event in shown.Histograms("kinks"):
        kinks = run.kinks(event.step)[0]
        histogram = event.histogram_value
        assert histogram.num == sum(histogram.bucket) == len(kinks)
        assert (histogram.min, histogram.max) == (kinks.min(), kinks.max())


def test_texts_tell_what_was_trained(outputs):
    shown = events(outputs / "runs/tower/small")
    assert "| sse | 40 | 3.75 | typical | 2.8 (1.9 to 4.5) |" in text(shown, "published")
    assert "max_steps: 40" in text(shown, "config")


def test_an_ensemble_is_three_runs_and_a_margin_chart(outputs):
    run = load_run(outputs / "ensembles/tower/small")
    steps = run.history["step"].tolist()
    for name, q in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
        loss = scalars(events(run.path / name), LOSS)
        expected = np.quantile(run.history["loss"], q, axis=1, method="inverted_cdf")
        assert loss == pytest.approx(dict(zip(steps, expected, strict=True)), rel=1e-6)
    median = events(run.path / "median")
    assert scalars(median, "band/tower/small/median") == scalars(median, LOSS)
    (layout,) = median.Tensors("custom_scalars__config__")
    for name in ("p5", "median", "p95"):
        assert f"band/tower/small/{name}".encode() in layout.tensor_proto.string_val[0]
    assert text(median, "question") == run.config["question"]


def test_a_second_time_nothing_is_written_and_a_new_verdict_is(outputs):
    run = load_run(outputs / "runs/tower/small")
    assert write_outputs(outputs) == 0
    assert write_run(run, [VERDICTS[0] | {"verdict": "unusual"}]) == 1
    assert write_run(run, VERDICTS) == 1
    assert len(list(run.path.glob(f"{NAME}*"))) == 1


def test_a_writer_that_fails_leaves_the_folder_as_it_was(tmp_path):
    write_events(tmp_path, "first", lambda writer: writer.add_text("tag", "first"))
    before = sorted(tmp_path.iterdir())

    def fails(writer):
        writer.add_text("tag", "second")
        raise RunError("damaged")

    with pytest.raises(RunError):
        write_events(tmp_path, "second", fails)
    assert sorted(tmp_path.iterdir()) == before and len(before) == 1


@pytest.mark.parametrize(
    ("values", "counted"),
    [([0, 0, 0], 3), ([1e17], 1), ([1.0, np.nextafter(1.0, 2)], 2), ([np.nan, 2, -np.inf], 1)],
)
def test_any_finite_values_are_counted(tmp_path, values, counted):
    write_events(tmp_path, 0, lambda writer: add_histogram(writer, "tag", np.array(values), 0))
    (event,) = events(tmp_path).Histograms("tag")
    assert event.histogram_value.num == sum(event.histogram_value.bucket) == counted


def test_values_without_a_finite_one_are_left_out(tmp_path):
    write_events(tmp_path, 0, lambda writer: add_histogram(writer, "tag", np.array([np.nan]), 0))
    assert events(tmp_path).Tags()["histograms"] == []


def test_a_damaged_run_costs_itself_alone(outputs, tmp_path, capsys):
    shutil.copytree(outputs, tmp_path / "outputs")
    for older in (tmp_path / "outputs").rglob(f"{NAME}*"):
        older.unlink()
    history = tmp_path / "outputs/runs/tower/small/weights.npz"
    history.write_bytes(history.read_bytes()[:-1])
    assert write_outputs(tmp_path / "outputs") == 3 + 2
    message = capsys.readouterr().err
    assert message.startswith("mlpfit: left out: ") and "runs/tower/small/weights.npz" in message


KINDS = {
    "diverged": (*SMALL, "optimizer.lr=1e4"),
    "linear": ("experiment=gradient/line_autograd",),
    "solved": ("experiment=plane/least_squares",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_is_shown(quick, kind, tmp_path):
    config = quick(*KINDS[kind])
    train(config)
    assert write_outputs(tmp_path / "outputs") == 1
    run = load_run(config.folder)
    assert len(events(run.path).Images("fit")) == len(run.snapshots)


@contextmanager
def server(folder):
    """A real TensorBoard on a free port, which serves once it has read everything: yields a
    function that gets JSON from a path of it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--load_fast=false", "--reload_interval=0", "--reload_task=blocking"]
    command += ["--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)

    def get(path, body=None):
        url, header = f"http://localhost:{port}/data/{path}", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body and json.dumps(body).encode(), header)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    try:
        for _ in range(600):
            with suppress(OSError):
                get("runs")
                break
            time.sleep(0.1)
        yield get
    finally:
        process.terminate()
        process.wait()


def rows_of_hparams(get):
    body = {"experimentName": "", "startIndex": 0, "sliceSize": 10, "colParams": [],
            "allowedStatuses": ["STATUS_SUCCESS"]}  # fmt: skip
    return get("plugin/hparams/session_groups", body)["sessionGroups"]


def test_a_real_server_shows_scalars_images_and_hparams(outputs):
    with server(outputs) as get:
        ensembles = [f"ensembles/tower/small/{name}" for name in ("p5", "median", "p95")]
        jobs = ["sweeps/tower/rates/0.001", "sweeps/tower/rates/0.01"]
        assert {"runs/tower/small", *ensembles, *jobs} == set(get("runs"))
        history = load_run(outputs / "runs/tower/small").history["loss"][:, 0]
        loss = get(f"plugin/scalars/scalars?tag={LOSS}&run=runs/tower/small")
        assert [v for _, _, v in loss] == pytest.approx([history[s - 1] for _, s, _ in loss])
        assert len(get("plugin/images/images?tag=fit&run=runs/tower/small&sample=0")) >= 10
        keys = get("plugin/hparams/experiment", {"experimentName": ""})["hparamInfos"]
        assert {k["name"] for k in keys} >= {"optimizer.lr", "sweep", "parameters"}
        _, rows = summary.read_summary(outputs / "sweeps/tower/rates")
        medians = {float(row["optimizer.lr"]): float(row["mse_median"]) for row in rows}
        shown = {}
        for row in rows_of_hparams(get):
            numbers = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
            shown[row["hparams"]["optimizer.lr"]] = numbers["final/mse"]
        assert shown == pytest.approx(medians)


def test_keys_that_some_jobs_lack_are_columns_of_all(outputs, tmp_path):
    sweeps = tmp_path / "sweeps"
    shutil.copytree(outputs / "sweeps", sweeps)
    trained_sweep(sweeps / "plane/solved", ["experiment=plane/least_squares"], "seed", "7")
    assert write_sweeps(sweeps) == 3
    with server(sweeps) as get:
        shown = [row["hparams"] for row in rows_of_hparams(get)]
    assert {row["optimizer.lr"] for row in shown} == {"0.001", "0.01", "none"}
    assert all(row.keys() == shown[0].keys() for row in shown)


def test_a_number_that_the_first_job_lacks_is_a_column(tmp_path):
    metrics = {"final/mse": 1.5}
    for name, choices in ("a", {"lr": None, "seed": 1}), ("b", {"lr": 0.5, "seed": 2}):
        assert write_events(tmp_path / name, name, partial(add_row, choices, metrics)) == 1
    with server(tmp_path) as get:
        keys = get("plugin/hparams/experiment", {"experimentName": ""})["hparamInfos"]
    assert {key["name"] for key in keys} == {"lr", "seed"}


@contextmanager
def command(*arguments, cwd):
    """``mlpfit tensorboard`` as a process, killed at the end if it is still there."""
    arguments = [sys.executable, "-m", "mlpfit", "tensorboard", *arguments]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(arguments, cwd=cwd, **pipe)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def printed_addresses(process):
    """The addresses by what they show, from the lines that the command prints once it serves."""
    found = {}
    for line in iter(process.stdout.readline, ""):
        label, _, address = line.strip().partition("http://")
        found |= {label.strip(): f"http://{address}"} if address else {}
        if "jobs of sweeps" in line:
            break
    return found


def test_printed_addresses_answer_though_the_usual_port_is_taken(outputs, tmp_path):
    shutil.copytree(outputs, tmp_path / "outputs")
    shutil.rmtree(tmp_path / "outputs/ensembles")
    with socket.socket() as taken, suppress(OSError):  # then another program has it
        taken.bind(("localhost", 6006))
        taken.listen()
        with command(cwd=tmp_path) as process:
            addresses = printed_addresses(process)
            assert {*addresses} == {"everything", "fits as they develop", "jobs of sweeps"}
            assert not any(":6006/" in address for address in addresses.values())
            for address in addresses.values():
                with urllib.request.urlopen(address, timeout=30) as answer:
                    assert b"TensorBoard" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert process.stderr.read() == ""


def test_a_port_that_was_asked_for_and_is_taken_is_refused(outputs):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("mlpfit", "tensorboard", "--port", port, str(outputs), cwd=outputs)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"--port {port}: " in done.stderr and "in use" in done.stderr
    assert "choose another" in done.stderr


WRONG = [["--prot", "1"], ["a", "b"], ["--port", "x"], ["--port", "-3"], ["--port", "65536"]]


@pytest.mark.parametrize("wrong", [*WRONG, ["nowhere"]])
def test_wrong_arguments_are_refused(wrong, tmp_path):
    done = run("mlpfit", "tensorboard", *wrong, cwd=tmp_path)
    assert done.returncode == 2 and wrong[0 if wrong[0] == "--prot" else -1] in done.stderr
    assert not list(tmp_path.iterdir())


def test_only_files_of_this_program_are_replaced(outputs, tmp_path):
    run = tmp_path / "outputs/runs/tower/small"
    shutil.copytree(outputs / "runs/tower/small", run)
    shutil.copy(outputs / "ledger.json", tmp_path / "outputs")
    users = ["events.out.tfevents.1.host.2.3", "events.mlpfit-1", "notes.txt", "p5/mine.txt"]
    for name in users:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    (older,) = run.glob(f"{NAME}*")
    older.rename(older.with_name(f"{NAME}0"))
    before = {file.name for file in run.rglob("*")}
    assert write_outputs(tmp_path / "outputs") == 1
    assert {file.name for file in run.rglob("*")} == before - {f"{NAME}0"} | {older.name}
    assert all((run / name).read_text() == "mine" for name in users)


DAMAGE = {
    "no arrays": ("weights.npz", b"PK"),
    "not a marker": ("complete.json", b"[]"),
    "another marker": ("complete.json", b'{"identity": {"recipe": {}}, "files": {}}'),
    "no recipe": ("complete.json", b"{}"),
    "not text": ("config.yaml", b"\xff\x00"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_is_not_a_run_is_left_out_with_one_line(damage, outputs, tmp_path, capsys):
    name, content = DAMAGE[damage]
    run = tmp_path / "outputs/runs/tower/small"
    shutil.copytree(outputs / "runs/tower/small", run)
    for file in run.glob(f"{NAME}*"):
        file.unlink()
    (run / name).write_bytes(content)
    digests = json.loads((run / "complete.json").read_bytes() or b"{}")
    if damage in ("no arrays", "not text"):  # by a program that writes fitting markers
        digests["files"][name] = hashlib.sha256(content).hexdigest()
        (run / "complete.json").write_text(json.dumps(digests))
    assert write_outputs(tmp_path / "outputs") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mlpfit: left out: ") and str(run) in line


def test_two_writings_have_the_same_content(outputs, tmp_path):
    shutil.copytree(outputs / "runs", tmp_path / "outputs/runs")
    shutil.copy(outputs / "ledger.json", tmp_path / "outputs")
    (first,) = (tmp_path / "outputs/runs/tower/small").glob(f"{NAME}*")
    before = content(first)
    first.unlink()
    assert write_outputs(tmp_path / "outputs") == 1
    assert content(first) == before and len(before) > 50


def content(file):
    """Every event of a file, but for the time at which it was written."""
    events = list(EventFileLoader(str(file)).Load())
    for event in events:
        event.wall_time = 0
    return [event.SerializeToString(deterministic=True) for event in events]
