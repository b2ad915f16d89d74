"""Laws of the targets and their rows."""

from typing import Any

import numpy as np
import pytest
from conftest import run, tutorial_folder

from mlpfit.config.catalogue import CONF, experiments
from mlpfit.config.compose import as_published, compose
from mlpfit.data import elementary
from mlpfit.data.datamodule import draw
from mlpfit.data.streams import streams
from mlpfit.data.targets import Rows
from mlpfit.errors import ConfigError


def rows(experiment: str, seed: int, *overrides: str):
    changed = [f"experiment={experiment}", *overrides]
    config = compose(changed) if overrides else as_published(experiment)
    return draw(seed=seed, steps=config.steps, **config.sampling)[0]


def test_tower_has_its_levels_and_steps_at_one_and_two():
    drawn = rows("tower/small", 0)
    assert drawn.x.shape == (301, 1)
    np.testing.assert_allclose(drawn.x[:, 0], 0.01 * np.arange(301), atol=1e-12)
    expected = np.select([np.arange(301) < 100, np.arange(301) < 200], [0.3, 0.8], 0.4)
    np.testing.assert_array_equal(drawn.y[:, 0], expected)


def test_parabola_draws_the_points_of_numpys_global_seed():
    np.random.seed(19)
    x = np.random.uniform(-5, 5, 100)
    drawn = rows("parabola/eight_neurons", 19)
    np.testing.assert_array_equal(drawn.x[:, 0], x)
    np.testing.assert_array_equal(drawn.y[:, 0], x * x)


def test_restoration_stores_x_and_y_in_single_precision():
    drawn = rows("restoration/narrow", 1234)
    x = np.linspace(-3, 3, 1024, dtype=np.float32)
    np.testing.assert_array_equal(drawn.x[:, 0], x)
    np.testing.assert_array_equal(
        drawn.y[:, 0], (2 * np.sin(x.astype(float)) + 5).astype(np.float32)
    )


@pytest.mark.parametrize(
    "one, other",
    [
        ("plane/scratch", "plane/sequential"),
        ("plane/scratch", "plane/least_squares"),
        ("gradient/line_by_hand", "gradient/line_autograd"),
        ("gradient/sine_by_hand", "gradient/sine_network"),
    ],
)
def test_experiments_on_the_same_data_share_rows_at_every_seed(one: str, other: str):
    for seed in (0, 1, 7):
        np.testing.assert_array_equal(rows(one, seed).x, rows(other, seed).x)
        np.testing.assert_array_equal(rows(one, seed).y, rows(other, seed).y)
    assert not np.array_equal(rows(one, 0).y, rows(one, 1).y)


def test_standardised_rows_have_mean_0_and_sample_deviation_1_and_can_be_taken_back():
    drawn = rows("gradient/line_by_hand", 3)
    both = np.hstack([drawn.x, drawn.y])
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(both.std(0, ddof=1), 1)
    raw_x = drawn.pool_x[:, 0] * drawn.scale[0] + drawn.center[0]
    np.testing.assert_allclose(raw_x, np.linspace(-10, 10, 100), atol=1e-12)
    raw_truth = drawn.pool_truth[:, 0] * drawn.scale[1] + drawn.center[1]
    np.testing.assert_allclose(raw_truth, 2 * raw_x + 3, atol=1e-12)


def test_observed_rows_are_different_rows_of_the_pool():
    drawn = rows("gradient/sine_network", 5)
    assert drawn.x.shape == (20, 1)
    assert len(np.unique(drawn.x)) == 20
    assert np.isin(drawn.x, drawn.pool_x).all()


def test_noise_has_the_deviation_asked_for_and_0_means_none():
    many = rows("plane/scratch", 0, "target.points=20000", "target.noise=3.0")
    assert np.std(many.y - many.pool_truth) == pytest.approx(3.0, rel=0.03)
    np.testing.assert_allclose(
        (v := rows("plane/scratch", 0, "target.noise=0")).y, v.pool_truth, rtol=1e-6
    )


NUMPYS: dict[str, Any] = {
    "spawned": lambda seed: np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0]),
    "libraries": np.random.RandomState,
    "legacy": np.random.RandomState,
}


@pytest.mark.parametrize("experiment", experiments())
def test_rows_are_those_of_numpys_generators_and_functions(experiment, monkeypatch):
    """Equal where they are stored as float32. In float64 a sine differs by less than one ulp, and
    the noise that is added to it rounds once more; standardising divides by the deviation, with
    which the rows grow and the errors, too."""
    config = as_published(experiment)
    for seed in (config.replica_seeds[0], 0, 1, 2):
        ours = config.target.rows(streams(seed, config.streams).data)
        with monkeypatch.context() as patch:
            patch.setattr(elementary, "sin", np.sin)
            numpys = config.target.rows(NUMPYS[config.streams](seed))
        for name in Rows.__dataclass_fields__:
            if getattr(ours, name) is None:  # rows of a split, which there is not
                continue
            drawn, expected = getattr(ours, name), getattr(numpys, name)
            exact = config.target.float32 and name in ("x", "y", "pool_x", "pool_y")
            bound = 0 if exact else 4 * 2.0**-52 * np.abs(expected).max()
            np.testing.assert_allclose(drawn, expected, rtol=0, atol=bound)


def test_one_point_is_enough():
    assert rows("parabola/eight_neurons", 0, "target.points=1").x.shape == (1, 1)


def test_spawned_streams_do_not_disturb_each_other():
    ours, theirs = streams(0, "spawned"), streams(0, "spawned")
    theirs.data.normal(size=1000)
    np.testing.assert_array_equal(ours.weights.normal(size=5), theirs.weights.normal(size=5))
    assert streams(0, "spawned").data.normal() != streams(1, "spawned").data.normal()


def test_a_function_that_fails_is_named_in_one_line():
    from mlpfit.data.targets import TARGETS, Target

    fields = {
        "points": 5,
        "inputs": "grid",
        "low": 0.0,
        "high": 1.0,
        "noise": 0.0,
        "observed": None,
        "standardise": False,
        "float32": True,
    }
    wrong = {
        "has shape (5,); it must be (5, 1)": lambda x: x[:, 0],
        "not finite at x = [0.0]": np.log,
        "ZeroDivisionError: ": lambda x: 1 // 0,
    }
    for message, function in wrong.items():
        kind = type(
            "Wrong", (Target,), {"__call__": lambda self, x, f=function: f(x)}, name="wrong"
        )
        try:
            with pytest.raises(ConfigError) as error:
                kind(**fields).rows(np.random.default_rng(0))
        finally:
            del TARGETS["wrong"]
        assert message in str(error.value) and str(error.value).startswith("target wrong: ")


MINE = """import sys
from dataclasses import dataclass
from mlpfit.data.targets import Target

@dataclass(frozen=True, kw_only=True)
class Mine(Target, name="mine"):
    {field}

    def __call__(self, x):
        {body}
"""


@pytest.mark.parametrize(
    "targets, words",
    [
        ("exit(0)", "targets.py: SystemExit: 0"),
        (MINE.format(field="pass", body="sys.exit(0)"), "target mine: SystemExit: 0"),
        (MINE.format(field="pass", body="return x[:, 0]"), "target mine: f(x) has shape (100,)"),
        (
            MINE.format(field="def problem(self): return 1 // 0", body="return x"),
            "target mine: ZeroDivisionError",
        ),
    ],
)
def test_a_users_target_that_fails_is_refused_before_anything_is_created(targets, words, tmp_path):
    line = (CONF / "target/line.yaml").read_text().replace("name: line", "name: mine")
    files = {
        "targets.py": targets,
        "conf/target/mine.yaml": line.replace("intercept: 3.0\n", "").replace("slope: 2.0\n", ""),
        "conf/experiment/own/x.yaml": "# @package _global_\ndefaults: [override /target: mine]\n"
        "name: own/x\nquestion: why\ntrainer: {max_steps: 5}\n",
    }
    own = tutorial_folder(tmp_path / "own", files)
    (tmp_path / "here").mkdir()
    done = run("mlpfit", "experiment=own/x", cwd=tmp_path / "here", MLPFIT_PATH=own)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert words in done.stderr
    assert list((tmp_path / "here").iterdir()) == []
