"""Variants of the published recipes, for comparison: mlpfit ensembles --variants

``variants.yaml`` in a tutorial's folder defines replicas and perhaps the others:

replicas      of each variant, unless it has its own number
power         experiment ("tower/small" or "small") -> replicas or null: would a change of the
              recipe (``recipe_changes``) be noticed?
sensitivity   experiment -> replicas or null: do precision, generator or order of rows matter?
assumptions   list of question, experiment, ours (our choice), others (choice -> overrides): what
              the page leaves open
claims        name -> experiment, overrides, replicas: what a claim or slip compares with, there
              called "experiment:name" with _ for what is no letter, digit or dot

Variants of a tutorial whose recipes turn out the same are trained once.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlpfit.config import catalogue
from mlpfit.config.checking import Section, read_yaml
from mlpfit.config.compose import as_one_line, as_published, compose
from mlpfit.config.schema import Config, Count, parse
from mlpfit.errors import ConfigError, allowed, as_config_error, naming
from mlpfit.judging import claims, published
from mlpfit.runs.run import SEEDS, differences

KINDS = ("power", "sensitivity", "assumptions", "claims")


@dataclass(frozen=True)
class Variant:
    """An experiment with overrides. label: what differs; question, ours: only of an assumption."""

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
        from omegaconf.errors import OmegaConfBaseException

        own = {"output_dir": f"{outputs}/variants/{self.slug}", "replicas": self.replicas}
        published_recipe = as_published(self.experiment)
        plain: Any = published_recipe.plain()
        with as_config_error(f"variant {self.key}"), naming(f"variant {self.key}"):
            if any(isinstance(plain.get(o.partition("=")[0]), dict) for o in self.overrides):
                plain = compose([f"experiment={self.experiment}", *self.overrides]).plain()
            else:
                changed = OmegaConf.create(plain, flags={"struct": True})
                try:
                    changed.merge_with_dotlist(list(self.overrides))
                except OmegaConfBaseException as error:
                    raise ValueError(as_one_line(error, self.overrides)) from error
                plain = OmegaConf.to_container(changed)
            config = parse(plain | own)
            differing = differences(published_recipe.recipe(), config.recipe())
            if all(difference.startswith(SEEDS) for difference in differing):
                raise ValueError(f"{', '.join(self.overrides)}: changes nothing")
            return config


@dataclass(frozen=True)
class Assumption(Section):
    """An entry of ``assumptions`` in the file."""

    question: str
    experiment: str
    ours: str
    others: dict[str, tuple[str, ...]]
    replicas: Count | None = None


@dataclass(frozen=True)
class ClaimRecipe(Section):
    """An entry of ``claims`` in the file."""

    experiment: str
    overrides: tuple[str, ...]
    replicas: Count | None = None


@dataclass(frozen=True)
class File(Section):
    """variants.yaml."""

    replicas: Count
    power: dict[str, Count | None] = field(default_factory=dict)
    sensitivity: dict[str, Count | None] = field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()
    claims: dict[str, ClaimRecipe] = field(default_factory=dict)


def variants(tutorial: str) -> list[Variant]:
    """All variants in the tutorial's variants.yaml. Raises ConfigError in one line for a damaged
    file."""
    file = catalogue.tutorial(tutorial).folder / "variants.yaml"
    if not file.is_file():
        return []
    return list(_read(tutorial, read_yaml(File, file)))


def configs(tutorial: str, outputs: Path) -> dict[str, Config]:
    """The config of every variant of the tutorial by its key. Those whose recipes turn out the same
    share the first one's, and so its folder and its training."""
    first: dict[str, Config] = {}
    by_key = {}
    for variant in variants(tutorial):
        config = variant.config(outputs)
        recipe = json.dumps(config.recipe() | {"name": ""}, sort_keys=True)
        by_key[variant.key] = first.setdefault(recipe, config)
    return by_key


def check_tutorial(tutorial: str) -> None:
    """Raises ConfigError in one line if a file of the tutorial that judging reads is damaged, or
    names an experiment, a quantity, a step or a variant that does not exist."""
    published.check_page(tutorial)
    keys: dict[str, Variant] = {}
    for variant in variants(tutorial):
        other = keys.setdefault(variant.key, variant)
        if other.overrides != variant.overrides or other.replicas != variant.replicas:
            given = f"{tutorial}/variants.yaml: {variant.key}"
            raise ConfigError(f"{given}: there are two; give one another name")
    compared = [e for entry in claims.all_entries(tutorial) for e in entry.experiments]
    if unknown := [name for name in compared if ":" in name and name not in keys]:
        problem = f"no such variant; {allowed(unknown[0], keys)}"
        raise ConfigError(f"{tutorial}/claims.py: {unknown[0]}: {problem}")


def _read(tutorial: str, content: File) -> Iterator[Variant]:
    default, owner = content.replicas, catalogue.tutorial(tutorial)

    def full_name(experiment: str) -> str:
        file = f"{owner.folder}/variants.yaml"
        return catalogue.check_experiment(owner.full_name(experiment), file)

    for kind, recipes in (("power", recipe_changes), ("sensitivity", numerical_changes)):
        for experiment, replicas in getattr(content, kind).items():
            name = full_name(experiment)
            for label, changes in recipes(as_published(name)).items():
                yield Variant(kind, name, label, tuple(changes), replicas or default)
    for asked in content.assumptions:
        name, replicas = full_name(asked.experiment), asked.replicas or default
        for label, overrides in asked.others.items():
            question = (asked.question, asked.ours)
            yield Variant("assumptions", name, label, overrides, replicas, *question)
    for label, own in content.claims.items():
        name, replicas = full_name(own.experiment), own.replicas or default
        yield Variant("claims", name, label, own.overrides, replicas)


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
    if config.steps:
        other = "torch" if config.model.init == "normal" else "normal"
        recipes[f"initial weights {other}"] = [f"model.init={other}"]
    noise = target.get("noise", 0)  # rows of a file have none of their own
    if isinstance(noise, str):
        recipes["noise x 1.5"] = [f"target.noise='1.5 * ({noise})'"]
    elif noise:
        recipes["noise x 1.5"] = [f"target.noise={1.5 * noise:g}"]
    is_mesh = target.get("inputs") == "grid" and config.target.dim > 1
    any_number = target["observed"] is None and "points" in target and not is_mesh
    rows = "points" if any_number else "observed"
    recipes["10 % fewer rows"] = [f"target.{rows}={round(0.9 * config.target.rows_observed)}"]
    return recipes


def numerical_changes(config: Config) -> dict[str, list[str]]:
    """Changes of precision, generator and order, which should not matter: label -> overrides."""
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
