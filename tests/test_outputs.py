"""About the outputs that the repository keeps, as they are committed: they are those of this code,
bit for bit, on any machine. The working tree's own outputs/ are not looked at."""

import io

import numpy as np
from conftest import committed

from mlpfit.commands.verify import FINAL, numbers
from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import compose
from mlpfit.runs.run import load_run


def test_the_reference_is_that_of_this_code(reproduced):
    with np.load(io.BytesIO(committed("outputs/reference.npz"))) as file:
        kept = {name: file[name] for name in file.files}
    assert {name.rpartition("/")[0] for name in kept} == set(experiments())
    for name in experiments():
        ours = numbers(load_run(reproduced[0] / "outputs/runs" / name))
        assert ours["loss"].shape == (compose([f"experiment={name}"]).steps,)
        assert ours["final"].shape == (len(FINAL),)
        for key, values in ours.items():
            assert np.array_equal(values, kept[f"{name}/{key}"], equal_nan=True), (name, key)


def test_figures_and_results_are_those_of_this_code(reproduced):
    outputs = reproduced[0] / "outputs"
    drawn = sorted(outputs.glob("figures/*/*.svg"))
    assert len(drawn) > len(experiments())
    for file in [*drawn, outputs / "results.csv"]:
        path = file.relative_to(reproduced[0])
        assert file.read_bytes() == committed(str(path)), path


def test_readme_has_the_results():
    table = committed("README.md").decode().partition("<!-- results -->")[2]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == experiments()
