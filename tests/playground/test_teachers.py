"""The page for teachers: its links open the playground in a state that it accepts, its commands are
accepted by mlpfit."""

import re
import shlex

import pytest
from conftest import ROOT
from playground_page import bare_page, opened, visit, watched

from mlpfit.config.catalogue import ready_sweep
from mlpfit.config.compose import compose

TEXT = (ROOT / "docs/teachers.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\(\.\./outputs/playground\.html(#\S+?)\)(?=[ ,.\n])", TEXT)
COMMANDS = [
    line for block in re.findall(r"```\n(.*?)```", TEXT, re.S) for line in block.splitlines()
]


made = pytest.fixture(bare_page, scope="module", name="made")
tab = pytest.fixture(opened, scope="module", name="tab")
page = pytest.fixture(watched, name="page")


def test_five_experiments_have_a_link_a_command_and_what_to_look_for():
    assert len(LINKS) == len(COMMANDS) == TEXT.count("**Look for:**") == 5
    assert TEXT.count("playground.html#") == 5


@pytest.mark.parametrize("link", LINKS)
def test_a_link_opens_the_playground_as_it_says(link, made, page):
    visit(page, made, link)
    assert page.is_hidden("#problem")
    given = dict(pair.split("=", 1) for pair in link[1:].split("&"))
    assert page.input_value("#set-experiment") == given["experiment"]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_accepted(line):
    name, *given = shlex.split(line)
    assert name == "mlpfit"
    given = [override for override in given if override != "-m"]
    if given[0].startswith("sweep="):
        assert ready_sweep(given[0].removeprefix("sweep=")).question
        return
    compose([re.sub(r"^([\w.]+=[\d.]+),.*", r"\1", override) for override in given])
