"""TensorBoard of all finished runs in an outputs folder: mlpfit tensorboard

runs/<experiment>                        pictures and histograms along the training
ensembles/<experiment>/p5, median, p95   quantiles of the loss over the replicas
sweeps/<sweep>/<job>                     rows of HParams
"""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from mlpfit.errors import ConfigError
from mlpfit.judging import ledger
from mlpfit.runs.run import MARKER, load_run
from mlpfit.tensorboard.events import NAME, leaving_out
from mlpfit.tensorboard.runs import write_ensemble, write_run
from mlpfit.tensorboard.sweeps import write_sweeps

# Of more than 40 runs TensorBoard shows only selected ones, so the addresses select.
ADDRESSES = {  # what it shows: folders with an event file, address
    "fits as they develop": ("runs/*/*", "#images&regexInput=%5Eruns/"),
    "losses of ensembles, 5 to 95 %": (
        "ensembles/*/*/median",
        "#custom_scalars&regexInput=median%24",
    ),
    "jobs of sweeps": ("sweeps/**", "#hparams"),
}
SAMPLES = {"images": 100, "text": 20}  # that TensorBoard keeps of a tag; by default 10 pictures


def write_outputs(outputs: Path) -> int:
    """Write the event files that are out of date, and return their number."""
    numbers: list[dict[str, Any]] = []
    if (outputs / "ledger.json").is_file():
        with leaving_out(outputs / "ledger.json"):
            numbers = ledger.read(outputs)["numbers"]
    written = 0
    for kind, write in ("runs", write_run), ("ensembles", write_ensemble):
        for marker in sorted((outputs / kind).glob(f"*/*/{MARKER}")):
            with leaving_out(marker.parent):
                run = load_run(marker.parent)
                written += write(run, [n for n in numbers if n["experiment"] == run.config["name"]])
    return written + write_sweeps(outputs / "sweeps")


def serve(outputs: Path, port: int | None) -> dict[str, str]:
    """Start TensorBoard in the background, on the first free port from 6006 if None. Returns the
    addresses by what they show, of which there is something. Raises ConfigError for a port that is
    not free."""
    from tensorboard.program import TensorBoard, TensorBoardServerException  # takes a second

    board = TensorBoard()
    board.configure(logdir=str(outputs), port=port, samples_per_plugin=SAMPLES)
    try:
        with redirect_stderr(io.StringIO()):  # a note on an option that this command has not
            address = board.launch()
    except TensorBoardServerException as error:
        remedy = "choose another --port, or none for the first free one from 6006"
        raise ConfigError(f"--port {port}: {error.msg}; {remedy}") from None
    shown = {"everything": address}
    for label, (folders, view) in ADDRESSES.items():
        if any(outputs.glob(f"{folders}/{NAME}*")):
            shown[label] = address + view
    return shown
