"""The page on which a net is trained live, beside what finished runs and ensembles did: mlpfit
playground

Writes outputs/playground.html, one offline file: the bundled page (``playground.bundle.html``,
built from src/playground) with the evidence put in as JSON:

targets      choice -> values of its YAML; optimizers the same
texts        f(x) over a target's fields, by the target's name
experiments  name -> settings (key -> value) and
             start    rows and initial weights of the finished run, exactly
             curve    losses of that run; printed: losses that the tutorial prints, (steps done,
                      loss)
             band     quantiles over the ensemble's replicas: fit at x, loss after ``steps``, final
                      loss; how many diverged, how many have 0, 1, 2 ... dead units; or null
             verdict  what the ledger says of the published run; or null
left_out     name -> why the page does not show the experiment
claims       the ledger's conclusions of the tutorials shown

Arrays are {"f4" or "f8": little-endian numbers in base64}.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from mlpfit.config.catalogue import choices, experiments
from mlpfit.config.compose import as_published, group, groups_chosen
from mlpfit.config.schema import Config
from mlpfit.data import formula
from mlpfit.data.targets import TARGETS, Target, keys
from mlpfit.errors import RunError
from mlpfit.judging import published
from mlpfit.judging.statistics import quantiles
from mlpfit.report.page import flat
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run, load_run
from mlpfit.sealed import read_ledger

BUNDLE = Path(__file__).with_name("playground.bundle.html")
PLACE = '"evidence"\n</script>'  # where the bundle takes the JSON
SHARES = [percent / 100 for percent in range(101)]  # of the quantiles of losses; 0: the least
BAND = (0.05, 0.25, 0.5, 0.75, 0.95)
POINTS, STEPS, CURVE = 101, 40, 400  # of a fit's band, of a loss's band, of a run's curve
MOST_STEPS, MOST_ROWS, MOST_LAYERS, WIDEST = 200_000, 5_000, 3, 100  # of state/settings.ts
CLAIM = ("tutorial", "claim", "measure", "share", "low", "high", "replicas", "column")
NO_RUN = "no finished run"
VERDICT = ("verdict", "between", "decided_by", "percentile", "replicas")


def page(content: dict[str, Any]) -> str:
    """The whole page with this evidence."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return BUNDLE.read_text(encoding="utf-8").replace(PLACE, f"{text}</script>")


def evidence(outputs: Path) -> dict[str, Any]:
    """Everything the page shows that it does not compute itself, as far as it is there. Raises
    RunError if no experiment has a finished run, or if a file is damaged."""
    configs = {name: as_published(name) for name in experiments()}
    left_out = {name: why for name, config in configs.items() if (why := obstacle(config))}
    for name in configs.keys() - left_out.keys():
        if not has(outputs, "runs", name):
            left_out[name] = NO_RUN
    shown = {name: config for name, config in configs.items() if name not in left_out}
    if not shown:
        raise RunError(f"no finished run under {outputs}/runs: make reproduce first")
    verdicts, claims = judged(outputs)
    tutorials = {name.split("/")[0] for name in shown}
    return {
        "targets": targets(),
        "optimizers": {
            name: values
            for name in choices("optimizer")
            if "lr" in (values := group("optimizer", name))
        },
        "texts": {name: target.text for name, target in TARGETS.items() if target.text},
        "experiments": {
            name: experiment(name, config, outputs) | {"verdict": verdicts.get(name)}
            for name, config in shown.items()
        },
        "left_out": {name: left_out[name] for name in configs if name in left_out},
        "claims": [claim for claim in claims if claim["tutorial"] in tutorials],
    }


def judged(outputs: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """What the ledger says of the published runs, by experiment, and its conclusions; nothing if
    there is no ledger. Raises RunError if it can't be read."""
    file = outputs / "ledger.json"
    if not file.is_file():
        return {}, []
    ledger = read_ledger(outputs)
    try:
        runs = {e["experiment"]: {k: e.get(k) for k in VERDICT} for e in ledger["experiments"]}
        return runs, [{key: claim[key] for key in CLAIM} for claim in ledger["conclusions"]]
    except KeyError as error:
        again = f"of another version (no {error}); make report writes it again"
        raise RunError(f"{file}: {again}") from None


def missing(content: dict[str, Any], outputs: Path) -> str:
    """What would be shown if it were there, in one line, and how to get it; empty if nothing."""
    runs = [name for name, why in content["left_out"].items() if why == NO_RUN]
    bands = [name for name, entry in content["experiments"].items() if entry["band"] is None]
    lines = [f"runs of {', '.join(runs)} (make reproduce)"] if runs else []
    lines += [f"ensembles of {', '.join(bands)} (make ensembles)"] if bands else []
    lines += [] if (outputs / "ledger.json").is_file() else ["the ledger (make report)"]
    return "; ".join(lines)


def has(outputs: Path, kind: str, name: str) -> bool:
    return (outputs / kind / name / MARKER).is_file()


def obstacle(config: Config) -> str | None:
    """Why the page can't train this, or None."""
    target, widths, steps = config.target, config.model.widths(), config.trainer.max_steps
    if target.dim != 1:
        return "several inputs"
    if not steps or not hasattr(config.optimizer, "lr"):
        return "no steps"
    if steps > MOST_STEPS or target.points > MOST_ROWS:
        return f"more than {MOST_STEPS} steps or {MOST_ROWS} rows"
    if len(widths) > MOST_LAYERS or max(widths, default=0) > WIDEST:
        return f"more than {MOST_LAYERS} hidden layers of {WIDEST}"
    return None if is_written(target) else "its function is not written as a formula"


def is_written(target: Target) -> bool:
    """Whether the target is the function that its text says, where its inputs lie."""
    if target.text is None:
        return False
    low, high = (-4.0, 4.0) if target.inputs == "normal" else (target.low, target.high)
    x = np.linspace(low, high, 1001)[:, None]
    try:
        with np.errstate(all="ignore"):
            values = formula.parse(target.text.format(**vars(target)))(x)
            return np.allclose(values, target(x), rtol=1e-12, atol=1e-12, equal_nan=True)
    except Exception:  # a text, or code, of a user's own
        return False


def targets() -> dict[str, dict[str, Any]]:
    """The values of every target's YAML that the page can draw."""
    drawable = {}
    for name in choices("target"):
        values = group("target", name)
        fields = {key: value for key, value in values.items() if key != "name"}
        kind = TARGETS.get(values.get("name", ""))
        if kind is None or kind.dim != 1 or fields.keys() != set(keys(kind)):
            continue
        if is_written(kind(**fields)):
            drawable[name] = values
    return drawable


def experiment(name: str, config: Config, outputs: Path) -> dict[str, Any]:
    """Settings, start and curve of the published run; the band of the ensemble if there is one."""
    run, chosen = published_run(name, outputs), groups_chosen(name)
    grid = np.linspace(run.data["pool_x"][0].min(), run.data["pool_x"][0].max(), POINTS)
    trained = has(outputs, "ensembles", name)
    return {
        "question": config.question,
        "settings": {
            "target": chosen["target"],
            "optimizer": chosen["optimizer"],
            **{k: v for k, v in flat(config.plain()).items() if not k.endswith(".name")},
        },
        "start": start(run),
        "curve": curve(run),
        "printed": printed(name, run),
        "band": band(published_run(name, outputs, "ensembles"), grid) if trained else None,
    }


def start(run: Run) -> dict[str, Any]:
    """Rows and initial weights of the first replica, with every bit."""
    arrays = {name: run.data[name][0].ravel() for name in ("x", "y", "pool_x", "pool_truth")}
    layers = [values[0].ravel() for layer in run.parameters(0) for values in layer]
    packed = {
        name: _packed(v) for name, v in (arrays | {"weights": np.concatenate(layers)}).items()
    }
    return packed | {key: run.data[key][0].tolist() for key in ("center", "scale")}


def curve(run: Run) -> dict[str, Any]:
    """Steps done and losses then, of a run's first replica."""
    steps = run.history["step"] - 1
    chosen = _spread(len(steps), CURVE)
    loss = run.history["loss"][chosen, 0].astype("f4")
    return {"steps": steps[chosen].tolist(), "loss": _packed(loss)}


def printed(name: str, run: Run) -> list[tuple[int, float]]:
    """Losses that the tutorial prints along the run, in the run's own kind of loss."""
    rows, last = run.data["x"].shape[1], run.config["trainer"]["max_steps"]
    per_mse = {"mse": 1.0, "sse": rows, "half_mse": 0.5}
    factor = per_mse[run.config["loss"]]
    return [
        (last if n.step is None else n.step - (n.update == "before"), factor * n.value / divisor)
        for n in published.checkable(name)
        if n.update != "none" and (divisor := per_mse.get(n.quantity))
    ]


def band(replicas: Run, grid: np.ndarray) -> dict[str, Any]:
    """Quantiles over the replicas, a diverged one above every other."""
    shards = (load_run(run.path) for run in replicas.shards or [replicas])  # one in memory
    fits = np.concatenate([shard.predict(grid[:, None])[..., 0] for shard in shards])  # (R, n)
    fits = np.where(replicas.diverged[:, None], np.inf, fits)
    steps = replicas.history["step"] - 1
    chosen = _spread(len(steps), STEPS)
    loss = replicas.config["loss"]
    final = replicas.final("mse") / 2 if loss == "half_mse" else replicas.final(loss)
    dead = replicas.metrics["dead_units"][~replicas.diverged]
    return {
        "replicas": replicas.replicas,
        "seeds": [replicas.seeds[0], replicas.seeds[-1]],
        "x": _packed(grid.astype("f4")),
        "fit": _packed(quantiles(fits, BAND, axis=0).astype("f4")),  # (5, n)
        "steps": steps[chosen].tolist(),
        "loss": _packed(quantiles(replicas.history["loss"][chosen], SHARES).astype("f4")),
        "final": _packed(quantiles(final, SHARES).astype("f4")),
        "diverged": int(replicas.diverged.sum()),
        "dead": np.bincount(np.nan_to_num(dead).astype(int)).tolist(),
    }


def _spread(count: int, most: int) -> np.ndarray:
    """Some of 0 .. count - 1: the first and the last, evenly between, and more at the beginning."""
    early = np.geomspace(1, count, most // 4) - 1
    even = np.linspace(0, count - 1, most - len(early))
    return np.unique(np.concatenate([early, even]).astype(int))


def _packed(values: np.ndarray) -> dict[str, str]:
    """In single precision where that loses nothing."""
    with np.errstate(over="ignore"):
        kind = "f4" if np.array_equal(values.astype("f4"), values, equal_nan=True) else "f8"
    return {kind: base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}
