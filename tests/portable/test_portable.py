"""The quick half of ``make portable``: what this machine can be made to look like in seconds."""

import shutil
from contextlib import ExitStack
from functools import reduce
from itertools import islice
from pathlib import Path

import kernels
import pytest
import torch
import whole
from bits import compare, recipes_file
from kernels import written
from machines import here, narrower

from mlpfit.engine import compiler

SEEDS = 2
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="no C++ compiler here"
)


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


@pytest.fixture(scope="module")
def calls():
    """The calls in either precision, and the folder of their files."""
    cases = list(kernels.problems(quick=True))
    with ExitStack() as stack:
        parts = {real: [c for c in cases if f" {real} " in c.name] for real in kernels.PRECISIONS}
        yield {real: (part, stack.enter_context(written(part))) for real, part in parts.items()}


@needs_compiler
@pytest.mark.parametrize("build", kernels.quick_builds(), ids=str)
@pytest.mark.parametrize("real", ["float", "double"])
def test_kernels_have_the_same_bits_from_every_compiler(build, real, calls):
    if build.missing:
        pytest.skip(build.missing)
    cases, folder = calls[real]
    result = kernels.run(build, cases, folder)
    assert result.differing == ()
    assert result.equal == len(cases) > 0 or not build.runs_here


@needs_compiler
def test_a_process_that_flushes_subnormal_numbers_gets_the_same_bits(calls, monkeypatch):
    def flushing(self, call):
        run = kernel(self, call)

        def flushed(pointer):
            assert torch.set_flush_denormal(True)
            try:
                run(pointer)
            finally:
                torch.set_flush_denormal(False)

        return flushed

    if not torch.set_flush_denormal(False):
        pytest.skip("torch can't flush subnormal numbers on this processor")
    kernel = kernels.Recorder._kernel
    monkeypatch.setattr(kernels.Recorder, "_kernel", flushing)
    cases = {case.name: case for part, _ in calls.values() for case in part}
    for again in islice(kernels.problems(quick=True), 16):
        assert again.expected == cases[again.name].expected, again.name


@pytest.mark.slow
@needs_compiler
def test_a_command_leaves_the_same_bytes_on_another_machine(tmp_path):
    others = [*narrower()[:1], *whole.compilers(tmp_path)[:1]]
    command = ["experiment=parabola/eight_neurons", "trainer.max_steps=30", "output_dir=out"]
    reference = whole.left_by(here(), command, None)
    assert {Path(file).name for file in reference.digests} >= {"history.npz", "metrics.json"}
    assert others, "nothing to compare with"
    machine = reduce(whole.both, others)
    assert whole.left_by(machine, command, reference).differing == ()
