"""What make verify calls identical, within tolerance and different."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT

from mlpfit import RunError, sealed
from mlpfit.commands.verify import changed_files, compare, read_reference
from mlpfit.judging.published import amplifies_rounding


def of(loss, final=(1.0, 2.0, 3.0)):
    return {"loss": np.array(loss), "final": np.array(final)}


LOSS, MIDDLE = np.linspace(2, 1, 200), np.arange(200) == 99
CASES = {
    "itself": (lambda loss: loss, "identical", "identical"),
    "last digits": (lambda loss: loss * (1 + 1e-7), "different", "within tolerance"),
    "another rate": (lambda loss: loss ** (1 + 1e-2), "different", "different"),
    "one loss": (lambda loss: np.where(MIDDLE, loss * 1000, loss), "different", "different"),
    "no number": (lambda loss: np.where(MIDDLE, np.nan, loss), "different", "different"),
    "fewer steps": (lambda loss: loss[:-1], "different", "different"),
}


@pytest.mark.parametrize("case", CASES)
def test_rounding_is_granted_to_other_machines_only(case):
    change, alike, elsewhere = CASES[case]
    assert compare("plane/scratch", of(change(LOSS)), of(LOSS), 0, alike=True).kind == alike
    assert compare("plane/scratch", of(change(LOSS)), of(LOSS), 0, alike=False).kind == elsewhere


def test_a_figure_that_differs_counts_on_the_same_machine():
    assert compare("plane/scratch", of(LOSS), of(LOSS), 1, alike=True).kind == "different"


def test_sensitive_recipes_begin_alike_and_stay_within_a_factor():
    name = "gradient/sine_network"
    assert amplifies_rounding(name) and not amplifies_rounding("plane/scratch")
    apart = np.where(np.arange(200) < 20, LOSS, LOSS * 1.5)
    assert compare(name, of(apart), of(LOSS), 0, alike=False).kind == "within tolerance"
    for other in (
        LOSS * 1.5,
        np.where(np.arange(200) < 20, LOSS, LOSS * 4),
        np.where(LOSS < 1.1, np.nan, LOSS),
    ):
        assert compare(name, of(other), of(LOSS), 0, alike=False).kind == "different"
    lost = of(LOSS * 1.0001, (1.0, 2.0, np.nan))
    assert compare(name, lost, of(LOSS), 0, alike=False).kind == "different"
    first = compare(name, of(apart), of(LOSS), 0, alike=True)
    assert (first.kind, first.first) == ("different", 21)


def test_what_is_kept_is_named_when_it_changes(tmp_path):
    outputs = tmp_path / "outputs"
    shutil.copytree(
        ROOT / "outputs", outputs, ignore=shutil.ignore_patterns("runs", "ensembles", ".*", "ready")
    )
    kept, made = read_reference(outputs)
    assert len(kept) == 14 and changed_files(outputs, made["files"]) == []
    (outputs / "figures/plane/distribution.svg").write_text("other")
    (outputs / "ledger.csv").unlink()
    assert changed_files(outputs, made["files"]) == ["figures/plane/distribution.svg", "ledger.csv"]
    file = outputs / "reference.npz"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"reference\.npz: not as it was written"):
        read_reference(outputs)
    content = json.loads((outputs / "reference.json").read_bytes())
    content["machine"]["threads"] = 7
    (outputs / "reference.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"reference\.json: not as it was written"):
        read_reference(outputs)


def test_sealed_files_know_themselves(tmp_path):
    file = tmp_path / "x.json"
    file.write_bytes(sealed.json_bytes({"a": [1, 2.5], "b": None}))
    assert sealed.read_json(file, "") == {"a": [1, 2.5], "b": None}
    file.write_text(file.read_text().replace("2.5", "2.6"))
    with pytest.raises(RunError, match="not as it was written; do that"):
        sealed.read_json(file, "do that")
    svg = sealed.svg_bytes(b"<svg></svg>\n")
    assert sealed.is_whole(svg)
    assert not sealed.is_whole(svg[:-1]) and not sealed.is_whole(b"x" + svg)
