"""A run folder from anyone is read as it should be, or refused in one line."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlpfit import RunError, load_run
from mlpfit.files import sha256, write_arrays
from mlpfit.runs import content
from mlpfit.runs.run import MARKER
from mlpfit.tensorboard.outputs import write_outputs
from mlpfit.training.train import train


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    from mlpfit.config.compose import compose

    folder = tmp_path_factory.mktemp("sound")
    given = ("trainer.max_steps=5", "model.hidden=4", "logger=none", f"output_dir={folder}")
    train(config := compose(["experiment=tower/small", *given]))
    return config.folder


def arrays(name: str, **changes: np.ndarray | None):
    """The file with other arrays, without those that are None."""

    def damage(run: Path) -> None:
        with np.load(run / name) as file:
            content = {**file} | changes
        write_arrays(run / name, {k: v for k, v in content.items() if v is not None})

    return damage


def text(name: str, content: str | bytes):
    data = content.encode() if isinstance(content, str) else content
    return lambda run: (run / name).write_bytes(data)


def pipe(run: Path) -> None:
    (run / "history.npz").unlink()
    os.mkfifo(run / "history.npz")


def device(run: Path) -> None:
    (run / "data.npz").unlink()
    (run / "data.npz").symlink_to("/dev/zero")


def bomb(run: Path) -> None:
    with zipfile.ZipFile(run / "data.npz", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("x.npy", b"\0" * 2**27)


def promising(run: Path) -> None:
    """A header that announces more numbers than there are."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 1)}
    )
    with zipfile.ZipFile(run / "history.npz", "w") as parts:
        parts.writestr("loss.npy", file.getvalue())
        parts.writestr("step.npy", file.getvalue())


def pickled(run: Path) -> None:
    np.savez(run / "weights.npz", allow_pickle=True, step=np.array([{}], dtype=object))


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(9 * ['*' + a])}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
DAMAGES = {
    "no provenance": text("provenance.json", "{}"),
    "provenance of seeds in words": text("provenance.json", '{"seeds": ["0"], "seconds": 1}'),
    "deep JSON": text("metrics.json", "[" * 100_000),
    "no metrics": text("metrics.json", "{}"),
    "metrics of no replica": text("metrics.json", '{"mse": [], "sse": []}'),
    "a list for metrics": text("metrics.json", "[1]"),
    "deep YAML": text("config.yaml", "[" * 5_000),
    "YAML that refers to itself": text("config.yaml", "name: &a\n  - *a\n"),
    "YAML that multiplies": text("config.yaml", LAUGHS),
    "an object in YAML": text("config.yaml", "!!python/object/apply:os.getcwd []"),
    "a text for a config": text("config.yaml", "tower/small"),
    "Latin-1": text("config.yaml", "name: Ü".encode("latin-1")),
    "no loss": arrays("history.npz", loss=None),
    "loss in words": arrays("history.npz", loss=np.array([["low"]] * 5)),
    "loss of two replicas": arrays("history.npz", loss=np.ones((5, 2), "f4")),
    "no rows": arrays("data.npz", x=np.ones((1, 0, 1), "f4"), y=np.ones((1, 0, 1), "f4")),
    "two inputs": arrays("data.npz", x=np.ones((1, 301, 2), "f4")),
    "steps in disorder": arrays("history.npz", step=np.array([5, 4, 3, 2, 1])),
    "no layers": arrays("weights.npz", weight_0=None, bias_0=None, weight_1=None, bias_1=None),
    "other widths": arrays("weights.npz", weight_1=np.ones((5, 1, 7, 1), "f4")),
    "a pipe": pipe,
    "a device": device,
    "a zip bomb": bomb,
    "a header that promises": promising,
    "pickled": pickled,
    "no zip file": text("weights.npz", b"PK\x03\x04"),
}


def reseal(run: Path) -> None:
    """Write the marker as someone would who wants the run to look whole."""
    marker = content.marker_of((run / MARKER).read_bytes())
    for name in marker["files"]:
        if (run / name).is_file():
            marker["files"][name] = sha256(run / name)
    (run / MARKER).write_bytes(content.marker_bytes(marker))


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_run_that_nobody_wrote_is_refused_in_one_line(kind, sound, tmp_path, capsys):
    folder = tmp_path / "runs/tower/small"
    shutil.copytree(sound, folder)
    DAMAGES[kind](folder)
    reseal(folder)
    with pytest.raises(RunError) as error:
        load_run(folder).check_files()
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    run = load_run(folder)
    for read in ("config", "metrics", "history", "data", "provenance", "validation", "snapshots"):
        try:
            getattr(run, read)
        except RunError as refused:
            assert "\n" not in str(refused)
    assert write_outputs(tmp_path) == 0
    assert capsys.readouterr().err.startswith("mlpfit: left out: ")


@pytest.mark.parametrize(
    "marker",
    [b"", b"{}", b"[]", b"[" * 100_000, b"\xff", b'{"identity": {}, "files": {}}', b"null"],
)
def test_a_marker_that_nobody_wrote_is_refused_in_one_line(marker, sound, tmp_path):
    shutil.copytree(sound, folder := tmp_path / "run")
    (folder / MARKER).write_bytes(marker)
    with pytest.raises(RunError, match="damaged"):
        load_run(folder)
    (folder / MARKER).unlink()
    os.mkfifo(folder / MARKER)
    with pytest.raises(RunError, match="no regular file"):
        load_run(folder)
