"""The page on which a net is trained live, beside what finished runs and ensembles did.

python -m mlpfit.report.playground

Writes outputs/playground.html, one offline file: the bundled page (``playground.bundle.html``,
built from src/playground) with the evidence put in as JSON:

settings     of every key: allowed targets and optimisers with their values, experiments with theirs
start        rows and initial weights of an experiment's finished run, exactly
curve        losses of that run; printed: losses that the tutorial prints, (steps done, loss)
band         quantiles over the ensemble's replicas: fit at x, loss after ``steps``, final loss;
             how many diverged, how many have 0, 1, 2 ... dead units
claims       the ledger's conclusions, tutorial by tutorial

Arrays are {"f4" or "f8": little-endian numbers in base64}. Experiments on a target that is not
written as a text over one input, or that take no steps, are left out.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit import published, sealed
from mlpfit.command import run_command
from mlpfit.config import CONF, Config, choices, composing, experiments, searchpath_override
from mlpfit.config import compose as checked
from mlpfit.evidence import quantiles
from mlpfit.runs import MARKER, Run, published_run, write_file
from mlpfit.targets import TARGETS

BUNDLE = Path(__file__).with_name("playground.bundle.html")
PLACE = '"evidence"\n</script>'  # where the bundle takes the JSON
SHARES = [percent / 100 for percent in range(101)]  # of the quantiles of losses; 0: the least
BAND = (0.05, 0.25, 0.5, 0.75, 0.95)
POINTS, STEPS, CURVE = 101, 40, 400  # of a fit's band, of a loss's band, of a run's curve


def page(outputs: Path) -> str:
    """The whole page. Raises RunError if a run that belongs into it is missing."""
    content = json.dumps(evidence(outputs), separators=(",", ":"), allow_nan=False)
    return BUNDLE.read_text(encoding="utf-8").replace(
        PLACE, content.replace("<", "\\u003c") + "</script>"
    )


def evidence(outputs: Path) -> dict[str, Any]:
    """Everything the page shows that it does not compute itself."""
    configs = {name: checked([f"experiment={name}"]) for name in experiments()}
    drawable = {name: config for name, config in configs.items() if is_drawable(config)}
    ledger = outputs / "ledger.json"
    claims = sealed.read_ledger(outputs)["conclusions"] if ledger.is_file() else []
    return {
        "targets": {name: group("target", name) for name in choices("target") if _has_text(name)},
        "optimizers": {
            name: values
            for name in choices("optimizer")
            if "lr" in (values := group("optimizer", name))
        },
        "texts": {name: target.text for name, target in TARGETS.items() if target.text},
        "experiments": {
            name: experiment(name, config, outputs) for name, config in drawable.items()
        },
        "left_out": [name for name in configs if name not in drawable],
        "claims": claims,
    }


def is_drawable(config: Config) -> bool:
    return (
        config.target.text is not None and config.target.dim == 1 and config.trainer.max_steps > 0
    )


def _has_text(choice: str) -> bool:
    target = TARGETS[group("target", choice)["name"]]
    return target.text is not None and target.dim == 1


def group(kind: str, choice: str) -> dict[str, Any]:
    """The values of a file of conf/, e.g. group("target", "sine")["amplitude"]."""
    return _composed(f"{kind}/{choice}", [])[kind]


def _composed(file: str, overrides: list[str], **options: Any) -> dict[str, Any]:
    from hydra import compose
    from omegaconf import OmegaConf

    with composing(CONF):
        config = compose(file, overrides=[*overrides, *searchpath_override()], **options)
    wanted = config if "hydra" not in config else {"choices": config.hydra.runtime.choices}
    plain: Any = OmegaConf.to_container(OmegaConf.create(wanted), resolve=True)
    return plain


def experiment(name: str, config: Config, outputs: Path) -> dict[str, Any]:
    """Settings, start and curve of the published run; the band of the ensemble if there is one."""
    run = published_run(name, outputs)
    chosen = _composed("config", [f"experiment={name}"], return_hydra_config=True)["choices"]
    has_ensemble = (outputs / "ensembles" / name / MARKER).is_file()
    grid = np.linspace(run.data["pool_x"][0].min(), run.data["pool_x"][0].max(), POINTS)
    return {
        "question": config.question,
        "settings": {
            "target": chosen["target"],
            "optimizer": chosen["optimizer"],
            **{k: v for k, v in _flat(config.plain()).items() if not k.endswith(".name")},
        },
        "start": start(run),
        "curve": curve(run),
        "printed": printed(name, run),
        "band": band(published_run(name, outputs, "ensembles"), grid) if has_ensemble else None,
    }


def start(run: Run) -> dict[str, Any]:
    """Rows and initial weights of the first replica, with every bit."""
    arrays = {name: run.data[name][0].ravel() for name in ("x", "y", "pool_x", "pool_truth")}
    weights = [values[0].ravel() for layer in run.parameters(0) for values in layer]
    places = {"center": run.data["center"][0].tolist(), "scale": run.data["scale"][0].tolist()}
    return (
        {k: _packed(v) for k, v in arrays.items()}
        | places
        | {"weights": _packed(np.concatenate(weights))}
    )


def curve(run: Run) -> dict[str, Any]:
    """Steps done and losses then, of a run's first replica."""
    steps = run.history["step"] - 1
    kept = _spread(len(steps), CURVE)
    return {
        "steps": steps[kept].tolist(),
        "loss": _packed(run.history["loss"][kept, 0].astype("f4")),
    }


def printed(name: str, run: Run) -> list[tuple[int, float]]:
    """Losses that the tutorial prints along the run, in the run's own kind of loss."""
    rows, loss = run.data["x"].shape[1], run.config["loss"]
    to_loss = {
        "mse": {"mse": 1.0, "sse": rows, "half_mse": 0.5},
        "sse": {"mse": 1 / rows, "sse": 1.0},
    }
    to_loss["sse"]["half_mse"] = 0.5 / rows
    numbers = published.tutorial(name.split("/")[0]).numbers
    return [
        (
            run.config["trainer"]["max_steps"]
            if n.step is None
            else n.step - (n.update == "before"),
            factor * n.value,
        )
        for n in numbers
        if n.experiment == name
        and (factor := to_loss.get(n.quantity, {}).get(loss)) is not None
        and n.update != "none"
    ]


def band(replicas: Run, grid: np.ndarray) -> dict[str, Any]:
    """Quantiles over the replicas; see evidence.quantiles for what a diverged one counts."""
    fits = replicas.predict(grid[:, None])[..., 0]  # (R, n)
    fits = np.where(replicas.diverged[:, None], np.inf, fits)
    steps = replicas.history["step"] - 1
    kept = _spread(len(steps), STEPS)
    mse = replicas.final("mse")
    rows = replicas.data["x"].shape[1]
    final = {"mse": mse, "sse": rows * mse, "half_mse": mse / 2}[replicas.config["loss"]]
    dead = np.bincount(
        np.nan_to_num(replicas.metrics["dead_units"][~replicas.diverged]).astype(int)
    )
    return {
        "replicas": replicas.replicas,
        "seeds": [replicas.seeds[0], replicas.seeds[-1]],
        "x": _packed(grid.astype("f4")),
        "fit": _packed(quantiles(fits, BAND, axis=0).astype("f4")),  # (5, n)
        "steps": steps[kept].tolist(),
        "loss": _packed(
            quantiles(replicas.history["loss"][kept], SHARES).astype("f4")
        ),  # (101, steps)
        "final": _packed(quantiles(final, SHARES).astype("f4")),
        "diverged": int(replicas.diverged.sum()),
        "dead": dead.tolist(),
    }


def _spread(count: int, most: int) -> np.ndarray:
    """Some of 0 .. count - 1: the first and the last, evenly between, and more at the beginning."""
    early = np.geomspace(1, count, most // 4) - 1
    return np.unique(
        np.concatenate([early, np.linspace(0, count - 1, most - len(early))]).astype(int)
    )


def _packed(values: np.ndarray) -> dict[str, str]:
    kind = "f4" if values.dtype == np.float32 else "f8"
    return {
        kind: base64.b64encode(np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()).decode()
    }


def _flat(tree: Any, key: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(tree, dict):
        return {key: tree}
    return {
        k: v
        for name, sub in tree.items()
        for k, v in _flat(sub, f"{key}.{name}" if key else name).items()
    }


def main() -> int:
    outputs = Path("outputs")
    content = page(outputs).encode()
    write_file(outputs / "playground.html", content)
    print(f"outputs/playground.html ({len(content) / 2**20:.2f} MiB)")
    return 0


if __name__ == "__main__":
    run_command(main)
