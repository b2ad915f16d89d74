"""What make verify calls identical, same but for rounding, and different."""

import numpy as np
import pytest
from conftest import run

from mlpfit import RunError
from mlpfit.commands.verify import compare, compare_rounded, read_reference
from mlpfit.config.compose import compose
from mlpfit.training.run import losses_from_perturbed_weights


def of(loss, final=(1.0, 2.0, 3.0)):
    return {"loss": np.array(loss), "final": np.array(final)}


LOSS, MIDDLE = np.linspace(2, 1, 200), np.arange(200) == 99
CASES = {
    "itself": (lambda loss: loss, None, "identical", "same but for rounding"),
    "last digits": (lambda loss: loss * (1 + 1e-7), 1, "different", "same but for rounding"),
    "another rate": (lambda loss: loss ** (1 + 1e-2), 1, "different", "different"),
    "one loss": (lambda loss: np.where(MIDDLE, loss * 2, loss), 100, "different", "different"),
    "no number": (lambda loss: np.where(MIDDLE, np.nan, loss), 100, "different", "different"),
    "fewer steps": (lambda loss: loss[:-1], 200, "different", "different"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_bit_counts_unless_the_engine_can_not_compute_the_run(case):
    change, first, by_bits, by_rounding = CASES[case]
    compared = compare("plane/scratch", of(change(LOSS)), of(LOSS), [])
    assert (compared.kind, compared.first) == (by_bits, first)
    rounded = compare_rounded("plane/scratch", of(change(LOSS)), of(LOSS), 200, "no compiler")
    assert rounded.kind == by_rounding and ("no compiler" in rounded.why or case == "fewer steps")


def test_only_the_steps_before_rounding_is_amplified_are_compared_without_the_engine():
    apart = of(np.where(np.arange(200) < 20, LOSS, LOSS * 1.5))
    assert compare_rounded("own/net", apart, of(LOSS), 20, "").kind == "same but for rounding"
    assert compare_rounded("own/net", apart, of(LOSS), 21, "").first == 21


def test_final_numbers_and_figures_count_to_the_bit():
    other = of(LOSS, (1.0, 2.0, np.nextafter(3.0, 4.0)))
    assert compare("plane/scratch", other, of(LOSS), []).kind == "different"
    lost = of(LOSS, (1.0, 2.0, np.nan))
    assert compare("plane/scratch", lost, lost, []).kind == "identical"
    differing = compare("plane/scratch", of(LOSS), of(LOSS), ["plane/scratch"])
    assert differing.kind == "different" and "plane/scratch" in differing.why


def test_perturbed_weights_move_the_losses_by_rounding_at_first():
    config = compose(["experiment=plane/scratch", "trainer.max_steps=5"])
    ours = losses_from_perturbed_weights(config)
    exact = losses_from_perturbed_weights(compose(["experiment=plane/scratch", "seed=1"]))
    assert ours.shape == (5, 1) and exact.shape == (200, 1)
    assert abs(ours[0] / exact[0] - 1) > 1e-3  # another seed is no rounding


def test_a_run_without_a_compiler_is_compared_before_rounding_shows(tmp_path, own):
    """The reference comes from the engine, the run to verify from Lightning's loop."""
    for arguments in (("reproduce", "own"), ("verify", "--keep", "own"), ("verify", "own")):
        done = run("mlpfit", *arguments, cwd=tmp_path, MLPFIT_PATH=own)
        assert done.returncode == 0, done.stderr
    assert "1 run: 1 identical" in done.stdout
    without = {"MLPFIT_PATH": own, "CXX": "no-such-compiler"}
    done = run("mlpfit", "verify", "own", cwd=tmp_path, **without)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 same but for rounding" in done.stdout
    assert "computed without the engine (CXX=no-such-compiler" in done.stdout


def test_a_reference_that_is_damaged_or_missing_is_named(tmp_path):
    with pytest.raises(RunError, match=r"reference\.npz is not there: restore it with git"):
        read_reference(tmp_path, "reference")
    (tmp_path / "reference.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"reference\.npz: damaged; restore it with git checkout"):
        read_reference(tmp_path, "reference")
