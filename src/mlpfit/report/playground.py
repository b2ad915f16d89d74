"""The playground, a page that trains a net live beside finished runs: mlpfit playground

outputs/playground.html is one offline file: the page built from src/playground
(``playground.bundle.html``) with this evidence as JSON:

targets      choice -> values of its YAML
optimizers   choice -> values of its YAML
texts        target's name -> f(x) as a formula over the target's fields
experiments  name -> question, settings (key -> value) and
             start    rows and initial weights of the finished run, exactly
             curve    losses of that run
             printed  losses that the tutorial prints: (steps done, loss)
             band     null, or quantiles over the ensemble's replicas: fit at x, loss after
                      ``steps``, final loss; how many diverged, how many have 0, 1, 2 ... dead units
             verdict  the ledger's on the published run, or null
left_out     name -> why the page does not show the experiment
claims       the ledger's conclusions on the tutorials shown

Arrays are {"f4" or "f8": little-endian numbers in base64}.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import experiments, group_names
from mlpfit.config.compose import as_published, group_values, groups_chosen
from mlpfit.config.schema import Config
from mlpfit.data import formula
from mlpfit.data.elementary import geomspace
from mlpfit.data.targets import TARGETS, Target, keys
from mlpfit.errors import RunError
from mlpfit.judging import ledger as judging
from mlpfit.judging import published, words
from mlpfit.judging.evidence import flattened
from mlpfit.judging.statistics import quantiles
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run, load_run

BUNDLE = Path(__file__).with_name("playground.bundle.html")
PLACEHOLDER = '"evidence"\n</script>'  # which the JSON replaces in the bundle
FIT_PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the quantiles in the band
LOSS_PROBABILITIES = [percent / 100 for percent in range(101)]
FIT_POINTS, LOSS_STEPS, CURVE_STEPS = 101, 40, 400  # of the band's fit and loss; of a run's curve
MAX_STEPS, MAX_ROWS, MAX_LAYERS, MAX_WIDTH = 200_000, 5_000, 3, 100  # as in state/settings.ts
NO_RUN = "no finished run"


def page(content: dict[str, Any]) -> str:
    """The whole page with this evidence."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return BUNDLE.read_text(encoding="utf-8").replace(PLACEHOLDER, f"{text}</script>")


def evidence(outputs: Path) -> dict[str, Any]:
    """The page's evidence, as far as it exists. Raises RunError if no experiment has a finished
    run, or if a file is damaged."""
    configs = {name: as_published(name) for name in experiments()}
    left_out = {name: why for name, config in configs.items() if (why := obstacle(config))}
    for name in configs.keys() - left_out.keys():
        if not is_finished(outputs, "runs", name):
            left_out[name] = NO_RUN
    verdicts, claims = from_ledger(outputs)
    shown = {}
    for name in (name for name in configs if name not in left_out):
        try:
            shown[name] = experiment(name, configs[name], outputs) | {"verdict": verdicts.get(name)}
        except RunError as error:  # damaged, or of another recipe
            left_out[name] = str(error)
    if not shown:
        why = next((left_out[name] for name in refused(left_out)), "make reproduce first")
        raise RunError(f"no finished run under {outputs}/runs: {why}")
    tutorials = {name.split("/")[0] for name in shown}
    return {
        "targets": targets(),
        "optimizers": {
            name: {key: value for key, value in values.items() if value is not None}
            for name in group_names("optimizer")
            if "lr" in (values := group_values("optimizer", name))
        },
        "texts": {name: target.text for name, target in TARGETS.items() if target.text},
        "experiments": shown,
        "left_out": {name: left_out[name] for name in configs if name in left_out},
        "claims": [claim for claim in claims if claim["tutorial"] in tutorials],
    }


def from_ledger(outputs: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What is said of the runs by experiment, and of the claims; empty without a ledger. Raises
    RunError for a ledger that is damaged or of another version."""
    file = outputs / "ledger.json"
    if not file.is_file():
        return {}, []
    ledger = judging.read(outputs)
    try:
        ledger = judging.without(ledger, judging.departing(ledger))
        runs = {
            entry["experiment"]: {
                "said": words.run_verdict(entry),
                "replicas": entry.get("replicas"),
            }
            for entry in ledger["experiments"]
        }
        keys = ("tutorial", "claim", "measure")
        claims = [
            {key: claim[key] for key in keys} | {"said": words.claim_verdict(claim)}
            for claim in ledger["conclusions"]
        ]
        return runs, claims
    except KeyError as error:
        remedy = "make report writes it again"
        raise RunError(f"{file}: of another version (no {error}); {remedy}") from None


def refused(left_out: dict[str, str]) -> list[str]:
    """The experiments left out since their run is damaged or of another recipe."""
    return [name for name, why in left_out.items() if why != NO_RUN and not obstacle_of(name)]


def missing(content: dict[str, Any], outputs: Path) -> str:
    """What the evidence lacks and how to get it, in one line; empty if it is complete."""
    runs = [name for name, why in content["left_out"].items() if why == NO_RUN]
    bands = [name for name, entry in content["experiments"].items() if entry["band"] is None]
    lines = [f"runs of {', '.join(runs)} (make reproduce)"] if runs else []
    lines += [f"{name} ({content['left_out'][name]})" for name in refused(content["left_out"])]
    lines += [f"ensembles of {', '.join(bands)} (make ensembles)"] if bands else []
    lines += [] if (outputs / "ledger.json").is_file() else ["the ledger (make report)"]
    return "; ".join(lines)


def is_finished(outputs: Path, kind: str, name: str) -> bool:
    return (outputs / kind / name / MARKER).is_file()


def obstacle(config: Config) -> str | None:
    """Why the page can't train this experiment, or None."""
    target, widths, steps = config.target, config.model.widths(), config.steps
    if target.dim != 1:
        return "several inputs"
    if not isinstance(target, Target) or target.outputs > 1 or target.classes is not None:
        return "not one number as a function of its input"
    if isinstance(target.noise, str) or config.data.split:
        return "noise that depends on x, or rows held out"
    if not steps or not hasattr(config.optimizer, "lr"):
        return "no steps"
    if steps > MAX_STEPS or target.points > MAX_ROWS:
        return f"more than {MAX_STEPS} steps or {MAX_ROWS} rows"
    if len(widths) > MAX_LAYERS or max(widths, default=0) > MAX_WIDTH:
        return f"more than {MAX_LAYERS} hidden layers of {MAX_WIDTH}"
    return None if is_its_text(target) else "its function is not written as a formula"


def obstacle_of(experiment: str) -> str | None:
    """Why the page can't train this published experiment, or None."""
    return obstacle(as_published(experiment))


def is_its_text(target: Target) -> bool:
    """Whether the target equals the formula in its ``text`` over the range of its inputs."""
    if target.text is None:
        return False
    low, high = (-4.0, 4.0) if target.inputs == "normal" else (target.low, target.high)
    x = np.linspace(low, high, 1001)[:, None]
    try:
        with np.errstate(all="ignore"):
            values = formula.parse(target.text.format(**vars(target)))(x)
            return np.allclose(values, target(x), rtol=1e-12, atol=1e-12, equal_nan=True)
    except Exception:  # in a text or code of the user's
        return False


def targets() -> dict[str, dict[str, Any]]:
    """The targets that the page can draw: choice -> values of its YAML."""
    drawable = {}
    for name in group_names("target"):
        values = group_values("target", name)
        fields = {key: value for key, value in values.items() if key != "name"}
        target_class = TARGETS.get(values.get("name", ""))
        if target_class is None or not issubclass(target_class, Target):
            continue
        if fields.keys() != set(keys(target_class)):
            continue
        if (target := target_class(**fields)).dim == 1 and is_its_text(target):
            drawable[name] = values
    return drawable


def experiment(name: str, config: Config, outputs: Path) -> dict[str, Any]:
    """The evidence on one experiment, without its verdict."""
    run, groups = published_run(name, outputs), groups_chosen(name)
    grid = np.linspace(run.data["pool_x"][0].min(), run.data["pool_x"][0].max(), FIT_POINTS)
    has_ensemble = is_finished(outputs, "ensembles", name)
    return {
        "question": config.question,
        "settings": {
            "target": groups["target"],
            "optimizer": groups["optimizer"],
            **{k: v for k, v in flattened(config.plain()).items() if not k.endswith(".name")},
        },
        "start": start(run),
        "curve": loss_curve(run),
        "printed": printed_losses(name, run),
        "band": band(published_run(name, outputs, "ensembles"), grid) if has_ensemble else None,
    }


def start(run: Run) -> dict[str, Any]:
    """Rows and initial weights of the first replica, exactly."""
    arrays = {name: run.data[name][0].ravel() for name in ("x", "y", "pool_x", "pool_truth")}
    layers = [values[0].ravel() for layer in run.parameters(0) for values in layer]
    arrays["weights"] = np.concatenate(layers)
    encoded = {name: _in_base64(values) for name, values in arrays.items()}
    return encoded | {key: run.data[key][0].tolist() for key in ("center", "scale")}


def loss_curve(run: Run) -> dict[str, Any]:
    """Losses of a run's first replica, and the number of steps done before each."""
    steps = run.history["step"] - 1
    chosen = _denser_at_start(len(steps), CURVE_STEPS)
    loss = run.history["loss"][chosen, 0].astype("f4")
    return {"steps": steps[chosen].tolist(), "loss": _in_base64(loss)}


def printed_losses(name: str, run: Run) -> list[tuple[int, float]]:
    """Steps done and losses that the tutorial prints, converted to the run's kind of loss."""
    rows, last = run.data["x"].shape[1], run.config["trainer"]["max_steps"]
    per_mse = {"mse": 1.0, "sse": rows, "half_mse": 0.5}
    factor = per_mse[run.config["loss"]]
    return [
        (last if n.step is None else n.step - (n.update == "before"), factor * n.value / divisor)
        for n in published.checkable(name)
        if n.update != "none" and (divisor := per_mse.get(n.quantity))
    ]


def band(replicas: Run, grid: np.ndarray) -> dict[str, Any]:
    """Quantiles over the replicas: of the finite ones' fits at grid (n,), and of all losses, where
    a diverged replica ranks above all others."""
    shards = (load_run(run.path) for run in replicas.shards or [replicas])  # one in memory
    fits = np.concatenate([shard.predict(grid[:, None])[..., 0] for shard in shards])  # (R, n)
    if not replicas.diverged.all():
        fits = fits[~replicas.diverged]
    steps = replicas.history["step"] - 1
    chosen = _denser_at_start(len(steps), LOSS_STEPS)
    losses = replicas.history["loss"][chosen]
    loss = replicas.config["loss"]
    final = replicas.final("mse") / 2 if loss == "half_mse" else replicas.final(loss)
    dead = replicas.metrics["dead_units"][~replicas.diverged]
    return {
        "replicas": replicas.replicas,
        "seeds": [replicas.seeds[0], replicas.seeds[-1]],
        "x": _in_base64(grid.astype("f4")),
        "fit": _in_base64(quantiles(fits, FIT_PROBABILITIES, axis=0).astype("f4")),  # (5, n)
        "steps": steps[chosen].tolist(),
        "loss": _in_base64(quantiles(losses, LOSS_PROBABILITIES).astype("f4")),
        "final": _in_base64(quantiles(final, LOSS_PROBABILITIES).astype("f4")),
        "diverged": int(replicas.diverged.sum()),
        "dead": np.bincount(np.nan_to_num(dead).astype(int)).tolist(),
    }


def _denser_at_start(count: int, at_most: int) -> np.ndarray:
    """Indices among 0 ... count - 1, the first and the last included, denser at the beginning."""
    early = geomspace(1, count, at_most // 4) - 1
    even = np.linspace(0, count - 1, at_most - len(early))
    return np.unique(np.concatenate([early, even]).astype(int))


def _in_base64(values: np.ndarray) -> dict[str, str]:
    """An array in single precision if that is exact, else in double."""
    with np.errstate(over="ignore"):
        dtype = "f4" if np.array_equal(values.astype("f4"), values, equal_nan=True) else "f8"
    return {dtype: base64.b64encode(values.astype(f"<{dtype}").tobytes()).decode()}
