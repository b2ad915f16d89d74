"""Every composed sentence, in all its forms; ``pytest -s`` prints them, to be read."""

import re

import pytest
from sentences import all_forms

from mlpfit.config.catalogue import tutorials
from mlpfit.judging import claims, words

FORMS = list(dict.fromkeys(all_forms()))
BROKEN = {
    "a missing number": r"\b(None|nan|inf)\b",
    "two spaces": r"  ",
    "a space before a comma": r" [,.;:]",
    "two stops": r"\.\.|;;|,,|\.;",
    "one of many": r"\b(1|one) (seeds|runs|numbers|claims|entries)\b",
    "brackets without content": r"\(\s*\)",
    "a word twice": r"\b([a-z]{2,}) \1\b",
}


def test_every_form_is_a_whole_sentence():
    for name, text in FORMS:
        print(f"{name:<16} {text}")
        for what, pattern in BROKEN.items():
            assert not re.search(pattern, text), f"{what}: {text}"
        assert text.count("(") == text.count(")") and text.count("“") == text.count("”")


def test_a_share_is_never_rounded_to_none_or_all():
    for share in (1e-5, 0.0004, 0.9996, 1 - 1e-5):
        for digits in (0, 1):
            said = words.percent(share, digits)
            assert float(re.search(r"[\d.]+", said)[0]) not in (0, 100), said
    assert (words.percent(0), words.percent(1)) == ("0.0 %", "100.0 %")


def test_every_slip_says_what_it_does():
    for tutorial in tutorials():
        for slip in claims.entries(tutorial.name, "SLIPS"):
            assert slip.measure if slip.effect else slip.consequence, slip.what
            assert slip.what.endswith(".")


def test_what_may_be_expected_of_several_runs_is_the_chance_of_the_smallest():
    rows = [{"experiment": f"own/{k}", "p": p} for k, p in enumerate((0.5, 0.06, 0.9))]
    said = words.family({"experiments": rows})
    chance = 1 - (1 - 0.06) ** 3
    assert "three" in said and "0.06 (own/1)" in said and f"{100 * chance:.0f} %" in said
    assert words.family({"experiments": rows[:1]}) == ""


@pytest.mark.parametrize("share, said", [(0, "none"), (0.004, "fewer than one"), (0.82, "82")])
def test_a_percentile_is_a_count_of_a_hundred(share, said):
    assert words.hundred(share) == said
