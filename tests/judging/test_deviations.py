"""What a page does and we don't: named in its file, shown beside the verdicts."""

from pathlib import Path

import pytest

from mlpfit.errors import ConfigError
from mlpfit.judging import ledger, published
from mlpfit.report.table import footnotes


@pytest.fixture
def page(own, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    return lambda text: (Path(own) / "published.yaml").write_text(text)


def test_deviations_of_a_page_and_of_an_experiment_are_in_the_ledger(page):
    page(
        "author: A\ntitle: T\ndeviations:\n  - No seed is set.\n"
        "  - {experiment: ramp, what: Its rows are not printed.}\n"
    )
    rows = ledger.ledger({}, ["own"])["deviations"]
    assert rows == [
        {"tutorial": "own", "experiment": None, "what": "No seed is set."},
        {"tutorial": "own", "experiment": "own/ramp", "what": "Its rows are not printed."},
    ]


def test_a_deviation_of_an_unknown_experiment_is_refused(page):
    page("author: A\ntitle: T\ndeviations: [{experiment: ramq, what: Nothing.}]\n")
    with pytest.raises(ConfigError, match=r"deviations: experiment=own/ramq: "):
        published.check_page("own")


def test_experiments_get_the_marks_of_their_deviations_and_equal_ones_one_note():
    rows = [
        {"tutorial": "a", "experiment": None, "what": "No seed."},
        {"tutorial": "b", "experiment": "b/y", "what": "No rows."},
        {"tutorial": "b", "experiment": None, "what": "No seed."},
    ]
    marks, notes = footnotes(["a/x", "b/x", "b/y"], {"deviations": rows})
    one, two = "<sup>1</sup>", "<sup>2</sup>"
    assert marks == {"a/x": one, "b/x": one, "b/y": one + two}
    assert notes == f"{one} No seed. {two} No rows."
    assert footnotes(["a/x"], None) == ({"a/x": ""}, "")
