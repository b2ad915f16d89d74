"""The quick half of ``make portable``: narrower vector units on this machine."""

import pytest
from bits import compare, recipes_file
from machines import here, narrower

SEEDS = 2


@pytest.fixture(scope="module")
def computed():
    with recipes_file() as recipes:
        yield recipes, compare(here(), recipes, SEEDS, None)


@pytest.mark.parametrize("machine", narrower(), ids=lambda machine: machine.name)
def test_rows_weights_and_statistics_have_the_same_bits_without_vector_units(machine, computed):
    recipes, reference = computed
    assert reference.error == "" and reference.hashes
    comparison = compare(machine, recipes, SEEDS, reference)
    assert comparison.error == ""
    assert comparison.hashes.keys() == reference.hashes.keys()
    assert comparison.differing == ()
