"""Variants of the published recipes, for comparison: mlpfit ensembles --variants

``variants.yaml`` in a tutorial's folder may define

replicas      of each variant, unless it has its own number
power         experiment ("tower/small" or "small") -> replicas or null: would a change of the
              recipe (``recipe_changes``) be noticed?
sensitivity   experiment -> replicas or null: do precision, generator or order of rows matter?
assumptions   list of question, experiment, ours (our choice), others (choice -> overrides): what
              the page leaves open
claims        name -> experiment, overrides, replicas: what a claim or slip compares with

The ledger then has

power         tutorial, experiment, change, replicas, final and trace: share (with low, high) of the
              changed replicas whose p among the published recipe's is below 0.1
assumptions   tutorial, experiment, question, choices (choice, ours, replicas, diverged, median and,
              where numbers are published, test (trace or final), the fields of P, and ratio, the
              published number over the median), likeliest (the choice with the largest p)
sensitivity   tutorial, experiment, change, replicas, median, ratio (to the published recipe's
              median), p (of equal distributions), p_published (as in assumptions)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlpfit.config import catalogue
from mlpfit.config.compose import as_published, compose
from mlpfit.config.schema import Config, parse
from mlpfit.errors import RunError, allowed, as_config_error
from mlpfit.judging import published, statistics
from mlpfit.judging.claims import Ensembles
from mlpfit.runs.identity import INCIDENTAL
from mlpfit.runs.run import Run, differences, load_run

BASE_REPLICAS = 1000  # of the published recipe, which those of a changed one are compared with
KINDS = ("power", "sensitivity", "assumptions", "claims")


@dataclass(frozen=True)
class Variant:
    """An experiment with overrides. label: what differs; question, ours: what an assumption asks,
    and our choice."""

    kind: str
    experiment: str
    label: str
    overrides: tuple[str, ...]
    replicas: int
    question: str = ""
    ours: str = ""

    @property
    def slug(self) -> str:
        """The label as a name of a folder."""
        return re.sub(r"[^\w.]+", "_", self.label)

    @property
    def key(self) -> str:
        """The name by which claims refer to it: restoration/wide:10000_steps."""
        return f"{self.experiment}:{self.slug}"

    def config(self, outputs: Path) -> Config:
        """The config, to be trained under outputs/variants/. Hydra, which is slow, composes it only
        if an override chooses a file of conf/ ("optimizer=sgd")."""
        from omegaconf import OmegaConf

        own = {"output_dir": f"{outputs}/variants/{self.slug}", "replicas": self.replicas}
        plain: Any = as_published(self.experiment).plain()
        with as_config_error(f"variant {self.key}"):
            if any(isinstance(plain.get(o.partition("=")[0]), dict) for o in self.overrides):
                plain = compose([f"experiment={self.experiment}", *self.overrides]).plain()
            else:
                changed = OmegaConf.create(plain, flags={"struct": True})
                changed.merge_with_dotlist(list(self.overrides))
                plain = OmegaConf.to_container(changed)
            return parse(plain | own)


def variants(tutorial: str) -> list[Variant]:
    """All variants in the tutorial's variants.yaml. Raises ConfigError in one line for a damaged
    file."""
    file = catalogue.tutorial(tutorial).folder / "variants.yaml"
    if not file.is_file():
        return []
    with as_config_error(str(file)):
        content: dict[str, Any] = yaml.safe_load(file.read_text())
        if unknown := sorted(content.keys() - {"replicas", *KINDS}):
            raise ValueError(f"{unknown[0]}: {allowed(unknown[0], ['replicas', *KINDS])}")
        return list(_read(tutorial, content))


def _read(tutorial: str, content: dict[str, Any]) -> Iterator[Variant]:
    default, owner = content["replicas"], catalogue.tutorial(tutorial)

    def full_name(experiment: str) -> str:
        return catalogue.existing(owner.full_name(experiment), f"{owner.folder}/variants.yaml")

    for kind, recipes in (("power", recipe_changes), ("sensitivity", numerical_changes)):
        for experiment, replicas in dict(content.get(kind) or {}).items():
            name = full_name(experiment)
            for label, overrides in recipes(as_published(name)).items():
                yield Variant(kind, name, label, tuple(overrides), replicas or default)
    for entry in content.get("assumptions") or []:
        name, replicas = full_name(entry["experiment"]), entry.get("replicas", default)
        asked = (entry["question"], entry["ours"])
        for label, overrides in entry["others"].items():
            yield Variant("assumptions", name, label, tuple(overrides), replicas, *asked)
    for label, entry in (content.get("claims") or {}).items():
        name, replicas = full_name(entry["experiment"]), entry.get("replicas", default)
        yield Variant("claims", name, label, tuple(entry["overrides"]), replicas)


def recipe_changes(config: Config) -> dict[str, list[str]]:
    """Changes of a recipe that a test should notice: label -> overrides."""
    plain, target = config.plain(), config.plain()["target"]
    recipes: dict[str, list[str]] = {}
    for factor in (0.8, 1.25, 2.0):
        if lr := plain["optimizer"].get("lr"):
            recipes[f"learning rate x {factor:g}"] = [f"optimizer.lr={lr * factor:g}"]
    if widths := config.model.widths():
        halved = "-".join(str(width // 2) for width in widths)
        recipes["half the units"] = [f"model.hidden={halved}"]
    if config.trainer.max_steps:
        other = "torch" if config.model.init == "normal" else "normal"
        recipes[f"initial weights {other}"] = [f"model.init={other}"]
    if noise := target["noise"]:
        recipes["noise x 1.5"] = [f"target.noise={1.5 * noise:g}"]
    rows = "points" if target["observed"] is None else "observed"
    recipes["10 % fewer rows"] = [f"target.{rows}={round(0.9 * config.rows)}"]
    return recipes


def numerical_changes(config: Config) -> dict[str, list[str]]:
    """Changes of precision, generator and order of rows, which should not matter: label ->
    overrides."""
    other = "32-true" if config.trainer.precision == "64-true" else "64-true"
    recipes = {f"precision {other}": [f"trainer.precision={other}"]}
    generators = {"spawned": "PCG64", "libraries": "MT19937 and torch's", "legacy": "MT19937"}
    for streams, label in generators.items():
        if streams != config.streams and (streams != "libraries" or config.data.order == "full"):
            recipes[f"generator {label}"] = [f"streams={streams}"]
    if config.data.order not in ("full", "shuffle"):
        unset = ["data.start_below=null", "data.macro_batch=null"]
        recipes["rows shuffled every epoch"] = ["data.order=shuffle", *unset]
    return recipes


def finished(outputs: Path, tutorials: Sequence[str]) -> dict[str, Run]:
    """Those variants that have been trained, by key. Raises RunError if one has another recipe."""
    runs = {}
    for variant in (variant for tutorial in tutorials for variant in variants(tutorial)):
        config = variant.config(outputs)
        try:
            run = load_run(config.folder)
        except RunError:
            continue
        changed = differences(run.identity["recipe"], config.recipe())
        if changed := [key for key in changed if not key.startswith(INCIDENTAL)]:
            raise RunError(f"{config.folder}: another recipe ({'; '.join(changed)}); make evidence")
        runs[variant.key] = run
    return runs


def tables(runs: Ensembles) -> dict[str, list[dict[str, Any]]]:
    """power, assumptions and sensitivity for the ledger."""
    by_kind: dict[str, list[tuple[str, Variant]]] = {kind: [] for kind in KINDS}
    for tutorial in catalogue.tutorials():
        for variant in variants(tutorial.name):
            if variant.key in runs:
                by_kind[variant.kind].append((tutorial.name, variant))
    return {
        "power": [_head(*pair) | power(pair[1], runs) for pair in by_kind["power"]],
        "assumptions": assumptions(by_kind["assumptions"], runs),
        "sensitivity": [
            _head(*pair) | sensitivity(pair[1], runs) for pair in by_kind["sensitivity"]
        ],
    }


def _head(tutorial: str, variant: Variant) -> dict[str, Any]:
    head = {"tutorial": tutorial, "experiment": variant.experiment}
    return head | {"change": variant.label, "replicas": variant.replicas}


def power(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """The share of the changed replicas whose final number and whose trace would be noticed."""
    recipes = (runs[variant.experiment], runs[variant.key])
    p_values = {}
    if number := published.final_number(variant.experiment):
        base, changed = (published.values_in(run, number) for run in recipes)
        p_values["final"] = statistics.p_values(changed, base[:BASE_REPLICAS])
    if trace := published.printed_trace(variant.experiment):
        base, changed = (published.trace_values(run, trace) for run in recipes)
        tails = statistics.trace_tails(changed, base[:BASE_REPLICAS])
        p_values["trace"] = (1 + tails) / (1 + len(base[:BASE_REPLICAS]))
    return {test: _share_noticed(p) for test, p in p_values.items()}


def _share_noticed(p: np.ndarray) -> dict[str, float]:
    share, low, high = statistics.proportion(int((p < statistics.TYPICAL_P).sum()), len(p))
    return {"share": share, "low": low, "high": high}


def assumptions(pairs: list[tuple[str, Variant]], runs: Ensembles) -> list[dict[str, Any]]:
    """How well each choice, ours and the others, agrees with the published numbers; pairs: tutorial
    and variant."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for tutorial, variant in pairs:
        question = (variant.experiment, variant.question)
        if question not in entries:
            ours = {"choice": variant.ours, "ours": True}
            ours |= _plausibility(variant.experiment, runs[variant.experiment])
            head = {"tutorial": tutorial, "experiment": variant.experiment}
            entries[question] = head | {"question": variant.question, "choices": [ours]}
        other = {"choice": variant.label, "ours": False}
        other |= _plausibility(variant.experiment, runs[variant.key])
        entries[question]["choices"].append(other)
    for entry in entries.values():
        tested = [choice for choice in entry["choices"] if "p" in choice]
        entry["likeliest"] = max(tested, key=lambda c: c["p"])["choice"] if tested else None
    return list(entries.values())


def _plausibility(experiment: str, run: Run) -> dict[str, Any]:
    """p of the published trace, else of the final number, if this run had the page's recipe; the
    median error alone if no number is published."""
    number, diverged = published.final_number(experiment), int(run.diverged.sum())
    entry: dict[str, Any] = {"replicas": run.replicas, "diverged": diverged}
    if number is None:
        return entry | {"median": float(statistics.quantiles(run.final("mse"), (0.5,))[0])}
    position, p = statistics.position(number.value, published.values_in(run, number))
    if trace := published.printed_trace(experiment):
        losses = np.array([n.value for n in trace])
        p = statistics.trace_test(losses, published.trace_values(run, trace))
    entry |= {"test": "trace" if trace else "final"} | asdict(p)
    return entry | {"median": position.median, "ratio": position.ratio}


def sensitivity(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """How far the final number moves: the ratio of the medians, and the p-value of the two-sample
    test of Kolmogorov and Smirnov through scipy, which assumes independent samples."""
    from scipy.stats import ks_2samp

    number = published.final_number(variant.experiment)
    base = published.values_in(runs[variant.experiment], number)
    changed = published.values_in(runs[variant.key], number)
    before, after = (float(statistics.quantiles(v, (0.5,))[0]) for v in (base, changed))
    p = float(ks_2samp(*(np.nan_to_num(v, nan=np.inf) for v in (base, changed))).pvalue)
    entry = {"median": after, "ratio": after / before, "p": p}
    plausibility = _plausibility(variant.experiment, runs[variant.key])
    return entry | ({"p_published": plausibility["p"]} if number else {})
