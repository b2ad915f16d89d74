"""Other recipes: named by tutorials, composed, and what they tell."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlpfit.commands.ensembles import variant_configs
from mlpfit.config.catalogue import tutorials
from mlpfit.config.compose import as_published, compose
from mlpfit.errors import ConfigError
from mlpfit.judging.comparisons import power, tables
from mlpfit.judging.variants import Variant, check_tutorial, configs, recipe_changes, variants


@pytest.mark.parametrize("tutorial", ["tower", "plane", "gradient", "restoration", "parabola"])
def test_variants_are_what_hydra_makes_of_their_overrides(tutorial, tmp_path):
    named = variants(tutorial)
    assert len({variant.key for variant in named}) == len(named) > 0
    for variant in named[:3] + named[-3:]:
        config = variant.config(tmp_path)
        place = [f"output_dir={config.output_dir}", f"replicas={variant.replicas}"]
        composed = compose([f"experiment={variant.experiment}", *variant.overrides, *place])
        assert config == composed
        published = as_published(variant.experiment)
        assert config.replica_seeds[0] == published.seed  # so that seeds can be paired
        assert config.recipe() != published.recipe()


def test_each_change_is_one_change():
    config = as_published("plane/sequential")
    assert recipe_changes(config) == {
        "learning rate x 0.8": ["optimizer.lr=0.0008"],
        "learning rate x 1.25": ["optimizer.lr=0.00125"],
        "learning rate x 2": ["optimizer.lr=0.002"],
        "half the units": ["model.hidden=16"],
        "initial weights normal": ["model.init=normal"],
        "noise x 1.5": ["target.noise=1.5"],
        "10 % fewer rows": ["target.points=180"],
    }
    assert list(recipe_changes(as_published("plane/least_squares"))) == [
        "noise x 1.5",
        "10 % fewer rows",
    ]


def run(seed, shift):
    """Stands in for an ensemble of plane/sequential: losses that fall, the last as the sum."""
    rng = np.random.default_rng(seed)
    steps = np.arange(10, 201, 10)
    loss = (
        np.exp(-steps[:, None] / 100) + rng.normal(shift, 0.1, 400) + rng.normal(0, 0.01, (20, 400))
    )
    data = {"x": np.zeros((400, 200, 3)), "y": np.zeros((400, 200, 1))}
    data_of_steps = {"batch_size": None, "order": "full"}
    config = {"loss": "mse", "name": "plane/sequential", "data": data_of_steps}
    return SimpleNamespace(
        history={"step": steps, "loss": loss},
        data=data,
        metrics={"sse": 200 * loss[-1]},
        config=config,
    )


@pytest.mark.parametrize("shift, low, high", [(0, 0.03, 0.2), (1, 0.99, 1)])
def test_what_is_unchanged_is_noticed_in_a_tenth_what_is_far_off_always(shift, low, high):
    variant = Variant("power", "plane/sequential", "shifted", (), 400)
    noticed = power(variant, {"plane/sequential": run(0, 0), variant.key: run(1, shift)})
    assert all(low <= test.share <= high for test in (noticed.final, noticed.trace))


def test_without_variants_the_tables_are_empty_and_a_damaged_file_is_named(sixth):
    assert tables({}, []) == {"power": [], "assumptions": [], "sensitivity": []}
    assert tutorials()[-1].name == "sixth" and variants("sixth") == []
    (sixth / "variants.yaml").write_text("replicas: 5\npowers: {}\n")
    with pytest.raises(
        ConfigError, match=r"variants\.yaml: powers: no such key; did you mean power\?"
    ):
        variants("sixth")


@pytest.fixture
def own_variants(own, monkeypatch):
    """Writes variants.yaml of a tutorial of the user's."""
    monkeypatch.setenv("MLPFIT_PATH", own)
    return lambda text: (Path(own) / "variants.yaml").write_text(text)


def test_variants_of_one_recipe_share_one_folder(own_variants, tmp_path):
    own_variants(
        "replicas: 5\npower: {ramp: null}\nclaims:\n"
        "  fast: {experiment: ramp, overrides: [optimizer.lr=0.02]}\n"
        "  fast in words: {experiment: ramp, overrides: [optimizer.lr=2e-2]}\n"
        "  more seeds: {experiment: ramp, overrides: [optimizer.lr=0.02], replicas: 6}\n"
    )
    found = configs("own", tmp_path)
    assert len(found) == len(variants("own"))
    shared = {key: config.folder for key, config in found.items() if config.optimizer.lr == 0.02}
    assert shared["own/ramp:fast"] == shared["own/ramp:fast_in_words"]
    assert shared["own/ramp:more_seeds"] != shared["own/ramp:fast"]
    assert len({*shared.values()}) == 2
    folders = [config.folder for config in variant_configs(["own/ramp"])]
    assert len({*folders}) == len(folders) < len(found)


def test_two_variants_of_one_name_are_refused(own_variants):
    own_variants(
        "replicas: 5\nclaims:\n  a b: {experiment: ramp, overrides: [optimizer.lr=0.02]}\n"
        "  a-b: {experiment: ramp, overrides: [optimizer.lr=0.03]}\n"
    )
    with pytest.raises(ConfigError, match=r"own/ramp:a_b: there are two"):
        check_tutorial("own")
