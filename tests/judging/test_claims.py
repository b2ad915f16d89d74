"""Predicates over replicas, and tutorials that leave parts out."""

from types import SimpleNamespace

import numpy as np
import pytest

from mlpfit import RunError, load_run
from mlpfit.config.catalogue import tutorials
from mlpfit.data.datamodule import draw
from mlpfit.errors import ConfigError
from mlpfit.judging import claims, ledger, published
from mlpfit.judging.claims import Claim, Slip, always_falls, best_line_mse, less, ratio
from mlpfit.judging.quantities import r2
from mlpfit.judging.rows import plain
from mlpfit.training.train import train


def replicas(mse, diverged=None, seeds=None):
    """Stands in for an ensemble where only final numbers are read."""
    mse = np.array(mse, dtype=float)
    lost = np.zeros(len(mse), dtype=bool) if diverged is None else np.array(diverged)
    final = np.where(lost, np.inf, mse)
    seeds = list(range(len(mse))) if seeds is None else seeds
    return SimpleNamespace(
        final=lambda name: final, diverged=lost, replicas=len(mse), seeds=seeds, config={}
    )


def test_an_order_is_strict_and_seed_by_seed():
    runs = {"a": replicas([1, 2, 3]), "b": replicas([2, 2, 2]), "c": replicas([3, 3, 3])}
    assert less("mse", "a", "b", "c")(runs).tolist() == [True, False, False]


def test_a_smaller_ensemble_is_held_against_the_same_seeds_of_a_larger_one():
    runs = {"a": replicas([1, 5, 1, 1]), "b": replicas([2, 2])}
    assert less("mse", "a", "b")(runs).tolist() == [True, False]
    assert ratio("mse", "b", "a")(runs).tolist() == [2, 0.4]
    with pytest.raises(RunError, match="seeds differ"):
        less("mse", "a", "c")(runs | {"c": replicas([2, 2], seeds=[7, 8])})


@pytest.mark.parametrize("holds", [lambda runs: np.ones(3, bool), less("mse", "a", "b")])
def test_a_claim_fails_where_a_run_it_looks_at_has_diverged(holds):
    runs = {
        "a": replicas([1, 1, 1], [False, True, False]),
        "b": replicas([2] * 3, [False] * 2 + [True]),
    }
    claim = Claim("a claim", "a measure", ("a", "b"), holds)
    assert claim.per_replica(runs, holds).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "holds, message",
    [
        (lambda runs: runs["a"].final("mse"), "gives float64 of shape"),
        (lambda runs: np.ones(2, bool), r"shape \(2,\); must be a truth value for each of 3"),
        (lambda runs: runs["b"].final("mse") > 0, "b: name it among its experiments, a"),
    ],
)
def test_a_predicate_of_another_kind_is_refused(holds, message):
    runs = ledger.Compared({"a": replicas([1, 1, 1])})
    with pytest.raises(ValueError, match=message):
        Claim("a claim", "a measure", ("a",), holds).per_replica(runs, holds)


@pytest.mark.parametrize("interval, message", [(600, "fewer than two"), (30, "are not kept")])
def test_losses_that_are_not_there_are_no_claim(interval, message):
    kept = np.array([1, *range(20, 1001, 20)])
    run = SimpleNamespace(history={"step": kept, "loss": np.ones((len(kept), 3))})
    with pytest.raises(ValueError, match=message):
        always_falls("a", interval)({"a": run})
    assert not always_falls("a", 40)({"a": run}).any()


@pytest.mark.parametrize("order", ["sequential", "shuffle"])
@pytest.mark.parametrize("loss", ["mse", "sse", "half_mse"])
def test_losses_of_batches_are_those_of_their_rows(order, loss, quick):
    """A rate of next to nothing: the weights stay, so each loss is that of the step's own rows."""
    batches = [f"data.order={order}", "data.batch_size=16", "optimizer=sgd", "optimizer.lr=1e-30"]
    given = ["model.hidden=3", "target.points=50", "trainer.max_steps=9", f"loss={loss}"]
    config = quick("experiment=tower/small", *batches, *given)
    train(config)
    run = load_run(config.folder)
    _, batches = draw(seed=0, steps=9, **config.sampling)
    (numbers,) = batches.numbers().swapaxes(0, 1)
    errors = (run.predict(run.data["x"]) - run.data["y"])[0, :, 0]
    for step, rows in enumerate(numbers, start=1):
        squares = errors[rows[rows >= 0]] ** 2
        for quantity, expected in (("mse", squares.mean()), ("sse", squares.sum())):
            number = published.Number("tower/small", quantity, "before", "", step, 1.0)
            np.testing.assert_allclose(published.values_in(run, number), expected, rtol=1e-4)


def test_a_constant_may_be_called_like_a_list_that_is_there(sixth):
    claims_py = "from mlpfit.judging.claims import Slip\nSLIP = Slip('text')\nSLIPS = [SLIP]\n"
    (sixth / "claims.py").write_text(claims_py)
    assert [slip.what for slip in claims.entries("sixth", "SLIPS")] == ["text"]


def test_diverged_replicas_count_in_the_share_and_the_spread():
    runs = {"a": replicas([1, 1, 1, 1], [False, False, False, True])}
    claim = Claim("a claim", "a measure", ("a",), lambda runs: runs["a"].final("mse") > 0)
    entry = plain(ledger.judge_claim(claim, runs, "tower"))
    assert (entry["holds"], entry["replicas"]) == (3, 4) and entry["whose"] == "we asked"
    slip = Slip("slip", "measure", ("a",), lambda runs: runs["a"].final("mse"))
    spread = plain(ledger.judge_slip(slip, runs, ""))
    assert (spread["diverged"], spread["replicas"], spread["p95"]) == (1, 4, None)
    assert spread["median"] == spread["mean"] == 1


@pytest.mark.parametrize(
    "holding, replicas_, column",
    [
        (1000, 1000, "holds in nearly every seed"),
        (955, 1000, "holds in most seeds"),  # the interval reaches below 95 %
        (510, 1000, "luck of the draw"),  # and here below one half
        (100, 1000, "holds in fewer than half of the seeds"),
        (10, 1000, "holds in nearly no seed"),
        (3, 3, "luck of the draw"),  # three seeds tell little
    ],
)
def test_the_interval_of_a_share_decides_its_column(holding, replicas_, column):
    runs = {"a": replicas(np.ones(replicas_))}
    claim = Claim("", "", ("a",), lambda runs: np.arange(replicas_) < holding)
    entry = plain(ledger.judge_claim(claim, runs, "tower"))
    assert entry["column"] == column and entry["low"] <= entry["share"] <= entry["high"]


def test_an_identity_has_no_interval():
    claim = Claim("", "", ("a",), lambda runs: np.ones(3, bool), identity=True)
    entry = plain(ledger.judge_claim(claim, {"a": replicas([1, 1, 1])}, "tower"))
    assert entry["low"] is None and entry["column"] == "holds by construction"


def test_the_pages_own_seed_is_told_apart_from_the_share():
    runs = {"a": replicas([1, 2, 3], seeds=[1234, 1235, 1236])}
    claim = Claim("", "", ("a",), lambda runs: runs["a"].final("mse") < 2)
    assert plain(ledger.judge_claim(claim, runs, "restoration"))["own_seed"] == {
        "seed": 1234,
        "holds": True,
    }
    assert "own_seed" not in plain(ledger.judge_claim(claim, runs, "tower"))  # the page has none


def test_losses_that_rise_once_do_not_always_fall():
    history = {"step": np.array([1, 10, 15, 20]), "loss": np.array([[9, 3, 4, 2], [9, 3, 4, 3]]).T}
    runs = {"a": SimpleNamespace(history=history)}
    assert always_falls("a", 10)(runs).tolist() == [True, False]


def test_every_claim_says_where_it_stands_and_looks_at_runs_there_are():
    from mlpfit.config.catalogue import experiments
    from mlpfit.judging.variants import variants

    for tutorial in tutorials():
        known = {*experiments(), *(variant.key for variant in variants(tutorial.name))}
        entries = [e for kind in ("CLAIMS", "JOINT") for e in claims.entries(tutorial.name, kind)]
        slips = [s for s in claims.entries(tutorial.name, "SLIPS") if s.effect is not None]
        for entry in (*entries, *slips):
            assert entry.experiments and set(entry.experiments) <= known, entry
        assert all(c.where is None or c.where.strip() for c in entries if isinstance(c, Claim))
        assert len({c.claim for c in entries if isinstance(c, Claim)}) == len(
            claims.entries(tutorial.name, "CLAIMS")
        )


def test_the_best_function_of_nine_pieces_is_what_least_squares_finds():
    from mlpfit.tutorials.parabola.claims import best_rms

    x = np.linspace(-5, 5, 9001)
    for pieces in (1, 4, 9):
        hats = np.maximum(0, x[:, None] - np.linspace(-5, 5, pieces + 1)[:-1])
        design = np.hstack([np.ones_like(x)[:, None], hats])
        left = x**2 - design @ np.linalg.lstsq(design, x**2, rcond=None)[0]
        assert np.sqrt((left**2).mean()) == pytest.approx(best_rms(pieces), rel=2e-3)


def test_the_best_line_is_numpys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 30, 1))
    data = {"x": x, "y": y}
    expected = []
    for a, b in zip(x[..., 0], y[..., 0], strict=True):
        residuals = b - np.polyval(np.polyfit(a, b, 1), a)
        expected.append((residuals**2).mean())
    np.testing.assert_allclose(best_line_mse(SimpleNamespace(data=data)), expected)
    squares = ((y - y.mean(1, keepdims=True)) ** 2).sum((1, 2))
    run = SimpleNamespace(data=data, metrics={"sse": squares})
    np.testing.assert_allclose(r2(run), 0, atol=1e-12)  # a constant explains nothing


def test_a_tutorial_may_leave_everything_out(sixth):
    assert published.tutorial("sixth").numbers == ()
    assert published.tutorial("sixth").citation() == ""
    assert published.last_number("sixth/first") is None
    assert claims.entries("sixth", "CLAIMS") == [] and claims.findings("sixth") == []


def test_a_damaged_file_of_published_numbers_is_named_in_one_line(sixth):
    (sixth / "published.yaml").write_text("numbers: [{experiment: sixth/first, steps: [1]}]")
    with pytest.raises(ConfigError, match=r"published\.yaml: ") as error:
        published.tutorial("sixth")
    assert "\n" not in str(error.value)


def test_a_text_with_a_control_character_is_refused_where_it_is_read(sixth):
    (sixth / "published.yaml").write_text('author: A\ntitle: "red \\e[31m"\n')
    with pytest.raises(ConfigError, match=r"published\.yaml: title: .*\\x1b, which is not text"):
        published.tutorial("sixth")
    (sixth / "claims.py").write_text(
        "from mlpfit.judging.claims import Slip\nSLIPS = [Slip('a bell \\a')]\n"
    )
    with pytest.raises(ConfigError, match=r"claims\.py: 'a bell \\x07': character 8 of 8 is"):
        claims.check_claims("sixth")


def test_a_number_without_a_run_must_say_why(sixth):
    (sixth / "published.yaml").write_text(
        "numbers: [{experiment: sixth/first, quantity: mse, update: after, convention: '',"
        " steps: [null], values: [1.0]}]"
    )
    with pytest.raises(ConfigError, match=r"sixth/first: there are none$"):
        ledger.ledger({}, ["sixth"])
