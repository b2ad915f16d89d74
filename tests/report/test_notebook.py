"""A notebook: the examples of the docstrings, runs that show themselves, the tour."""

import doctest
import importlib
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.figure import Figure

import mlpfit
from mlpfit.judging.statistics import position

SRC = ROOT / "src"
WITH_EXAMPLES = sorted(f for f in SRC.rglob("*.py") if ">>> " in f.read_text())
SHORT = {"trainer": {"max_steps": 20}, "logger": "none"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run and an ensemble."""
    given = {"output_dir": tmp_path_factory.mktemp("fits"), **SHORT}
    return [mlpfit.fit("parabola/eight_neurons", replicas=n, **given) for n in (1, 5)]


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: file.stem)
def test_examples_of_docstrings_say_what_happens(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = ".".join(file.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert tried and not failed


def test_importing_stays_light():
    heavy = "torch", "lightning", "hydra", "pandas", "matplotlib", "scipy"
    code = f"import mlpfit, sys; print(sys.modules.keys() & set({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_run_shows_itself_with_equal_bytes(runs):
    for run in runs:
        shown = run._repr_html_()
        assert shown == mlpfit.load_run(run.path)._repr_html_() and len(shown) < 60_000
        table, _, picture = shown.partition("</table>")
        cells = [cell.text for cell in ET.fromstring(f"{table}</table>").iter("td")]
        assert cells[0] == "mean squared error"
        median = np.sort(run.metrics["mse"])[run.replicas // 2]
        assert float(cells[1].split()[0]) == pytest.approx(median, rel=1e-3)
        assert ET.fromstring(picture).tag.endswith("svg")


def test_plots_go_to_the_axes_that_are_given(runs):
    for run in runs:
        given = Figure().subplots(1, 2)
        fit, loss = run.plot(given)
        assert fit is given[0] and loss is given[1]
        drawn = loss.lines[-1].get_ydata()
        np.testing.assert_array_equal(drawn, run.history["loss"][:, 0])
        assert len(fit.collections) == (2 if run.replicas > 1 else 0)  # bands


def test_final_numbers_and_sweeps_are_pandas_frames(runs, tmp_path, command):
    frame = runs[1].to_frame()
    assert list(frame.index) == runs[1].seeds and frame.index.name == "seed"
    np.testing.assert_array_equal(frame["mse"], runs[1].metrics["mse"])
    given = ("experiment=tower/small", "trainer.max_steps=20", "logger=none")
    code, printed = command("-m", *given, "model.hidden=none,3", "hydra/launcher=basic")
    assert code == 0, printed
    sweep = mlpfit.load_sweep(next(tmp_path.glob("outputs/sweeps/tower/small/*")))
    assert list(sweep["model.hidden"]) == ["none", "3"] and list(sweep["layers"]) == [0, 1]
    assert sweep["mse_median"].dtype == float


def test_verdicts_place_the_published_numbers_among_the_replicas(tmp_path):
    run = mlpfit.fit("plane/least_squares", replicas=40, output_dir=tmp_path)
    verdicts = run.verdicts()
    last = verdicts.iloc[-1]
    place, p = position(last["published"], run.metrics["sse"])
    assert last.name.startswith("plane/least_squares:sse") and last["replicas"] == 40
    assert (last["percentile"], last["verdict"]) == (place.percentile, p.verdict)
    assert verdicts["p"].dtype == float and "departs" not in verdicts
    other = mlpfit.fit("plane/least_squares", replicas=2, target={"noise": 3}, output_dir=tmp_path)
    assert [*other.verdicts()["departs"]] == ["target.noise: 3.0, now 1.0"] * len(verdicts)
    with pytest.raises(mlpfit.RunError, match="one replica can't judge a number"):
        mlpfit.fit("plane/least_squares", output_dir=tmp_path).verdicts()


def test_a_closed_form_shows_itself_too(tmp_path):
    run = mlpfit.fit("plane/least_squares", output_dir=tmp_path)
    assert "seed " in run._repr_html_()


@pytest.mark.slow
def test_the_tour_runs_and_says_what_is_kept(tmp_path):
    import nbformat  # here, since Jupyter takes a second to load
    from tour import TOUR, executed

    kept, again = nbformat.read(TOUR, as_version=4), executed(tmp_path)
    assert TOUR.stat().st_size < 200_000 and len(again.cells) == len(kept.cells)
    told = [[output.output_type for output in cell.get("outputs", [])] for cell in again.cells]
    assert told == [[o.output_type for o in cell.get("outputs", [])] for cell in kept.cells]
    verdict = again.cells[-1].outputs[0].text  # as on the machine that kept it, but for rounding
    assert verdict.partition(":")[0] == kept.cells[-1].outputs[0].text.partition(":")[0]
    assert "typical" in verdict and "of 200 replicas" in verdict
