"""A Hydra multirun: python -m mlpfit.train -m experiment=... key=a,b,c

Every job trains into a folder named by its overrides, outputs/sweeps/<experiment>/<overrides>/, through whatever
launcher Hydra is given. A complete job is not run again; a failing one is reported at the end and stops no other.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from mlpfit.config import CONF, parse
from mlpfit.errors import ConfigError
from mlpfit.progress import console
from mlpfit.runs import load_run, write_file
from mlpfit.train import train

SWEEP = "MLPFIT_SWEEP"  # tells the jobs of this sweep, in whatever process they run, from older ones
RESULT = "job.json"


def sweep() -> int:
    """Run the multirun of the command line. Returns 1 if a job failed, 2 if Hydra refused the command."""
    os.environ[SWEEP] = uuid.uuid4().hex
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    try:
        application()
    except SystemExit as stopped:  # Hydra has said what is wrong
        if stopped.code:
            return 2 if stopped.code == 1 else int(stopped.code)
    outputs = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("output_dir=")), "outputs")
    found = [json.loads(file.read_text()) for file in sorted((Path(outputs) / "sweeps").rglob(RESULT))]
    jobs = [entry for entry in found if entry["sweep"] == os.environ[SWEEP]]
    if not jobs:
        raise ConfigError("the sweep has no jobs: every key needs at least one value")
    console.print(_table(jobs))
    failed = [entry for entry in jobs if entry["error"]]
    for entry in failed:
        print(f"mlpfit: {entry['overrides']}: {entry['error']}", file=sys.stderr)
    return 1 if failed else 0


def job(composed: DictConfig) -> None:
    """One job, in whatever process the launcher starts: train, and leave a note of how it went."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    note: dict[str, Any] = {"sweep": os.environ.get(SWEEP), "overrides": folder.name, "error": None}
    started = time.time()
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict)
        config = parse({str(k): v for k, v in plain.items()} | {"output_dir": str(folder)})
        train(config)
        run = load_run(config.run_dir)
        mse = run.metrics["mse"]
        p5, median, p95 = np.nanquantile(mse, [0.05, 0.5, 0.95]).tolist() if np.isfinite(mse).any() else [None] * 3
        note |= {"run": str(config.run_dir), "replicas": run.replicas, "diverged": int(run.diverged.sum())}
        note |= {"p5": p5, "median": median, "p95": p95}
    except (Exception, SystemExit) as error:  # a job must not take the others with it; it is reported at the end
        note["error"] = " ".join(f"{type(error).__name__}: {error}".split())
    note["seconds"] = time.time() - started
    write_file(folder / RESULT, json.dumps(note, indent=1).encode())


def _table(jobs: list[dict[str, Any]]) -> Table:
    table = Table("job", "replicas", "diverged", "mse, median (5 to 95 %)", "seconds", box=None, pad_edge=False)
    for entry in jobs:
        if entry["error"]:
            cells = ["", "", "failed"]
        else:
            band = "" if entry["median"] is None else f"{entry['median']:.4g} ({entry['p5']:.4g} to {entry['p95']:.4g})"
            cells = [str(entry["replicas"]), str(entry["diverged"]), band]
        table.add_row(entry["overrides"], *cells, f"{entry['seconds']:.1f}")
    return table
