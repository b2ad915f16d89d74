"""The quick half of ``make portable``: what this machine can be made to look like in seconds."""

import shutil
from functools import reduce
from itertools import islice
from pathlib import Path

import kernels
import pytest
import torch
import whole
from bits import compare, recipes_file
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
def calls(tmp_path_factory):
    cache = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiler.CACHE, str(cache))
        cases = list(kernels.problems(quick=True))
    with kernels.written(cases) as folder:
        yield cases, folder


@needs_compiler
@pytest.mark.parametrize("build", kernels.quick_builds(), ids=str)
def test_kernels_have_the_same_bits_from_every_compiler(build, calls):
    if build.missing:
        pytest.skip(build.missing)
    cases, folder = calls
    result = kernels.run(build, cases, folder)
    assert result.differing == ()
    assert result.equal == len(cases) or not build.runs_here


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
    for case, again in zip(calls[0], islice(kernels.problems(quick=True), 16), strict=False):
        assert again.expected == case.expected, case.name


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
