"""TensorBoard files of all finished runs in an outputs folder: mlpfit tensorboard

runs/<experiment>                        pictures and histograms along the training
ensembles/<experiment>/p5, median, p95   quantiles of the loss over the replicas
sweeps/<sweep>/<job>                     rows of HParams
"""

from pathlib import Path

from mlpfit.runs.run import MARKER, load_run
from mlpfit.sealed import read_ledger
from mlpfit.tensorboard.events import skipping_damaged
from mlpfit.tensorboard.runs import write_ensemble, write_run
from mlpfit.tensorboard.sweeps import write_sweeps

ADDRESSES = {
    "fits as they develop": "images&regexInput=^runs/",
    "losses between their bands": "custom_scalars&regexInput=median$",
    "jobs of all sweeps": "hparams",
}


def write_outputs(outputs: Path) -> int:
    """Write the event files that are out of date, and return their number."""
    numbers = read_ledger(outputs)["numbers"] if (outputs / "ledger.json").is_file() else []
    written = 0
    for kind, write in ("runs", write_run), ("ensembles", write_ensemble):
        for marker in sorted((outputs / kind).glob(f"*/*/{MARKER}")):
            if marker.parent.name.startswith("."):  # unfinished
                continue
            with skipping_damaged():
                run = load_run(marker.parent)
                run.check()
                written += write(run, [n for n in numbers if n["experiment"] == run.config["name"]])
    return written + write_sweeps(outputs / "sweeps")
