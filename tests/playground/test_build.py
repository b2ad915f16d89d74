"""What goes into the playground's page, what is said where some is missing, how it is built."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from playground_page import FRONT, bare_page, needs_node

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import as_published
from mlpfit.data import formula
from mlpfit.data.targets import TARGETS, Target
from mlpfit.errors import RunError
from mlpfit.report import playground

made = pytest.fixture(bare_page, scope="module", name="made")


def evidence_of(made: Path) -> dict[str, Any]:
    """What the page holds."""
    page = (made / "outputs/playground.html").read_text()
    return json.loads(re.search(r'id="evidence">(.*?)</script>', page, re.S)[1])


def test_the_page_is_one_small_file_that_evaluates_no_text(made):
    page = (made / "outputs/playground.html").read_text()
    assert len(page.encode()) < 1.5 * 2**20
    assert re.search(r"\beval\(|new Function|Function\(\"", page) is None
    assert "unsafe-eval" not in page
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {"data:,", "report.html"}
    evidence = evidence_of(made)
    assert evidence["experiments"].keys() | evidence["left_out"].keys() == set(experiments())
    assert evidence["targets"].keys() >= {"formula", "line", "sine"}
    for name, why in evidence["left_out"].items():
        config = as_published(name)
        assert why == "several inputs" and config.target.dim > 1


def test_a_target_with_a_text_is_the_function_that_the_text_says():
    texts = set()
    for name in experiments():
        target = as_published(name).target
        assert playground.is_its_text(target) == (target.text is not None)
        texts.add(target.text)
    assert texts >= {target.text for target in TARGETS.values() if target.text} - {"{f}"}
    assert formula.parse("x^2")(np.array([[2.0]])) == 4


def test_a_text_that_says_another_function_is_not_believed():
    class Cube(Target, name="test_cube"):
        text = "x^2"

        def __call__(self, x):
            return x**3

    try:
        fields = {"points": 9, "inputs": "grid", "low": 0.0, "high": 2.0, "noise": 0.0}
        cube = Cube(**fields, observed=None, standardise=False, float32=False)
        assert not playground.is_its_text(cube)
        Cube.text = "x^3"
        assert playground.is_its_text(cube)
        for text in ("{slope} * x^3", "x^", "{0}"):
            Cube.text = text
            assert not playground.is_its_text(cube)
    finally:
        del TARGETS["test_cube"]


def test_what_is_missing_is_said_in_one_line(made, tmp_path):
    with pytest.raises(RunError, match=r"^no finished run under \S+: make reproduce first$"):
        playground.evidence(tmp_path)
    line = playground.missing(evidence_of(made), made / "outputs")
    assert "\n" not in line and "runs of" not in line
    assert line.startswith("ensembles of ") and line.endswith(
        "(make ensembles); the ledger (make report)"
    )


def test_a_ledger_of_another_version_is_named_in_one_line(tmp_path):
    assert playground.from_ledger(tmp_path) == ({}, [])
    (tmp_path / "ledger.json").write_text(json.dumps({"experiments": []}))
    with pytest.raises(RunError, match=r"ledger\.json: of another version .*; make report"):
        playground.from_ledger(tmp_path)


def test_a_tutorial_of_the_readers_own_is_left_out(reproduced, made, own, tmp_path):
    experiment = Path(own) / "conf/experiment/own/flat.yaml"
    experiment.write_text(
        "# @package _global_\ndefaults: [override /target: line, override /optimizer: sgd]\n"
        "name: own/flat\nquestion: How flat?\ntrainer: {max_steps: 20}\n"
    )
    shutil.copytree(reproduced[0] / "outputs/.cache", tmp_path / "outputs/.cache")
    (tmp_path / "outputs/runs").symlink_to(made / "outputs/runs")
    done = run("mlpfit", "playground", cwd=tmp_path, MLPFIT_PATH=own)
    assert (done.returncode, done.stderr) == (0, "")
    assert "runs of own/flat (make reproduce); ensembles of " in done.stdout
    left_out = evidence_of(tmp_path)["left_out"]
    assert left_out["own/ramp"] == "its function is not written as a formula"
    assert left_out["own/flat"] == "no finished run"


def test_a_damaged_run_is_left_out_with_its_reason(reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs/runs/tower", tmp_path / "runs/tower")
    (tmp_path / "runs/tower/small/data.npz").write_bytes(b"not an archive")
    shown = playground.evidence(tmp_path)
    assert "tower/small" not in shown["experiments"] and "tower/large" in shown["experiments"]
    assert "data.npz" in shown["left_out"]["tower/small"]
    assert "data.npz" in playground.missing(shown, tmp_path)
    shutil.rmtree(tmp_path / "runs/tower/large")
    with pytest.raises(RunError, match=r"data\.npz"):
        playground.evidence(tmp_path)


@needs_node
def test_the_committed_page_is_what_its_sources_build_to():
    built = subprocess.run(
        ["node", "build.mjs", "--check"], cwd=FRONT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("script", ["check", "test"])
def test_the_sources_pass_their_own_checks(script):
    done = subprocess.run(["npm", "run", script], cwd=FRONT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
