"""Other recipes than the published one, and what they tell: mlpfit ensembles --variants

``variants.yaml`` in a tutorial's folder may hold

replicas      of each variant that says nothing else
power         experiment ("tower/small" or "small") -> replicas or null: would a change of the
              recipe (``changes``) be noticed?
sensitivity   experiment -> replicas or null: do precision, generator or order of rows matter?
assumptions   list of question, experiment, ours (what we chose), others (choice -> overrides):
              where the page is silent or its text damaged
claims        name -> experiment, overrides, replicas: what a claim or slip compares with

and the ledger then

power         tutorial, experiment, change, replicas, final and trace: share (with low, high) of the
              changed replicas whose p among the published recipe's is below 0.1
assumptions   tutorial, experiment, question, choices: choice, ours, replicas, diverged, median and,
              where numbers are published, test (trace or final), P and ratio (published number over
              median); likeliest
sensitivity   tutorial, experiment, change, replicas, median, ratio to that of the recipe, p (that
              both have one distribution), p_published (as in assumptions)
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

BASE = 1000  # replicas of the published recipe that a changed one is held against
KINDS = ("power", "sensitivity", "assumptions", "claims")


@dataclass(frozen=True)
class Variant:
    """One recipe: an experiment with overrides; label says what differs, question what is asked."""

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
        """Its name among the ensembles: restoration/wide:10000_steps."""
        return f"{self.experiment}:{self.slug}"

    def config(self, outputs: Path) -> Config:
        """Its config, to be trained under outputs/variants/. Only what chooses a file of conf/
        ("optimizer=sgd") takes Hydra, whose composing is slow."""
        from omegaconf import OmegaConf

        place = {"output_dir": f"{outputs}/variants/{self.slug}", "replicas": self.replicas}
        plain: Any = as_published(self.experiment).plain()
        with as_config_error(f"variant {self.key}"):
            if any(isinstance(plain.get(o.partition("=")[0]), dict) for o in self.overrides):
                plain = compose([f"experiment={self.experiment}", *self.overrides]).plain()
            else:
                changed = OmegaConf.create(plain, flags={"struct": True})
                changed.merge_with_dotlist(list(self.overrides))
                plain = OmegaConf.to_container(changed)
            return parse(plain | place)


def variants(tutorial: str) -> list[Variant]:
    """All that the tutorial's variants.yaml names. Raises ConfigError in one line for a damaged
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
    replicas, owner = content["replicas"], catalogue.tutorial(tutorial)

    def full_name(experiment: str) -> str:
        return catalogue.existing(owner.full_name(experiment), f"{owner.folder}/variants.yaml")

    for kind, options in (("power", changes), ("sensitivity", arithmetic)):
        for experiment, own in dict(content.get(kind) or {}).items():
            name = full_name(experiment)
            for label, overrides in options(as_published(name)).items():
                yield Variant(kind, name, label, tuple(overrides), own or replicas)
    for entry in content.get("assumptions") or []:
        name = full_name(entry["experiment"])
        for label, overrides in entry["others"].items():
            yield Variant(
                *("assumptions", name, label, tuple(overrides), entry.get("replicas", replicas)),
                *(entry["question"], entry["ours"]),
            )
    for label, entry in (content.get("claims") or {}).items():
        name = full_name(entry["experiment"])
        own = entry.get("replicas", replicas)
        yield Variant("claims", name, label, tuple(entry["overrides"]), own)


def changes(config: Config) -> dict[str, list[str]]:
    """What a test should notice: label -> overrides."""
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


def arithmetic(config: Config) -> dict[str, list[str]]:
    """What should not matter: label -> overrides."""
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
    """Those variants that have been trained, by key. Raises RunError for one of another recipe."""
    runs = {}
    for variant in (variant for tutorial in tutorials for variant in variants(tutorial)):
        config = variant.config(outputs)
        try:
            run = load_run(config.folder)
        except RunError:
            continue
        other = differences(run.identity["recipe"], config.recipe())
        if other := [d for d in other if not d.startswith(INCIDENTAL)]:
            raise RunError(f"{config.folder}: another recipe ({'; '.join(other)}); make evidence")
        runs[variant.key] = run
    return runs


def tables(runs: Ensembles) -> dict[str, list[dict[str, Any]]]:
    """power, assumptions and sensitivity for the ledger."""
    named = [(t.name, variant) for t in catalogue.tutorials() for variant in variants(t.name)]
    there = [(tutorial, variant) for tutorial, variant in named if variant.key in runs]
    by_kind = {kind: [pair for pair in there if pair[1].kind == kind] for kind in KINDS}
    return {
        "power": [_head(*pair) | detection(pair[1], runs) for pair in by_kind["power"]],
        "assumptions": assumptions(by_kind["assumptions"], runs),
        "sensitivity": [_head(*pair) | shift(pair[1], runs) for pair in by_kind["sensitivity"]],
    }


def _head(tutorial: str, variant: Variant) -> dict[str, Any]:
    head = {"tutorial": tutorial, "experiment": variant.experiment}
    return head | {"change": variant.label, "replicas": variant.replicas}


def detection(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """In which share of the changed replicas the final number and the trace would be noticed."""
    base, changed = runs[variant.experiment], runs[variant.key]
    p_values = {}
    if number := published.final(variant.experiment):
        among, values = (published.measured(run, number) for run in (base, changed))
        p_values["final"] = statistics.p_values(values, among[:BASE])
    if trace := published.trace(variant.experiment):
        among, values = (published.traces(run, trace) for run in (base, changed))
        tails = statistics.trace_tails(values, among[:BASE])
        p_values["trace"] = (1 + tails) / (1 + len(among[:BASE]))
    return {test: _share_below(p) for test, p in p_values.items()}


def _share_below(p: np.ndarray) -> dict[str, float]:
    share = statistics.share(int((p < statistics.TYPICAL).sum()), len(p))
    return dict(zip(("share", "low", "high"), share, strict=True))


def assumptions(named: list[tuple[str, Variant]], runs: Ensembles) -> list[dict[str, Any]]:
    """What the published numbers say of each choice, ours and the others."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for tutorial, variant in named:
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
        judged = [choice for choice in entry["choices"] if "p" in choice]
        entry["likeliest"] = max(judged, key=lambda c: c["p"])["choice"] if judged else None
    return list(entries.values())


def _plausibility(experiment: str, run: Run) -> dict[str, Any]:
    """p of what is published if this were the recipe: of the trace, else of the final number; of an
    experiment without numbers the median error alone."""
    number, diverged = published.final(experiment), int(run.diverged.sum())
    entry: dict[str, Any] = {"replicas": run.replicas, "diverged": diverged}
    if number is None:
        return entry | {"median": float(statistics.quantiles(run.final("mse"), (0.5,))[0])}
    place, p = statistics.position(number.value, published.measured(run, number))
    if trace := published.trace(experiment):
        p = statistics.trace_test(np.array([n.value for n in trace]), published.traces(run, trace))
    entry |= {"test": "trace" if trace else "final"} | asdict(p)
    return entry | {"median": place.median, "ratio": place.ratio}


def shift(variant: Variant, runs: Ensembles) -> dict[str, Any]:
    """How far the final number moves: the ratio of the medians, and the p-value of the two-sample
    test of Kolmogorov and Smirnov through scipy, which takes the samples for independent."""
    from scipy.stats import ks_2samp

    number, base = published.final(variant.experiment), runs[variant.experiment]
    both = [published.measured(run, number) for run in (base, runs[variant.key])]
    before, after = (float(statistics.quantiles(values, (0.5,))[0]) for values in both)
    p = float(ks_2samp(*(np.nan_to_num(values, nan=np.inf) for values in both)).pvalue)
    entry = {"median": after, "ratio": after / before, "p": p}
    plausible = _plausibility(variant.experiment, runs[variant.key])
    return entry | ({"p_published": plausible["p"]} if number else {})
