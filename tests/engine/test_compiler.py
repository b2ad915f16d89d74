"""Compilation of the kernels: compilers, caches, damage."""

import shutil
import subprocess
import sys

import pytest

from mlpfit.engine import compiler

SOURCE = 'extern "C" __attribute__((visibility("default"))) int answer() { return %d; }\n'


@pytest.fixture(autouse=True)
def no_memory_of_earlier_tests(monkeypatch):
    compiler._load.cache_clear()
    compiler._version.cache_clear()
    monkeypatch.delenv(compiler.CACHE, raising=False)
    yield
    compiler._load.cache_clear()
    compiler._version.cache_clear()


def answer(folder, number=42) -> int:
    return compiler.load(SOURCE % number, folder).answer()


def test_the_compiler_is_a_command_with_arguments(monkeypatch, tmp_path):
    if shutil.which("ccache") is None:
        pytest.skip("no ccache")
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path / "ccache"))
    monkeypatch.setenv("CXX", "ccache g++")
    assert compiler.compiler() == ["ccache", "g++"]
    assert answer(tmp_path) == 42


def test_an_argument_of_the_compiler_can_not_make_results_inexact(monkeypatch, tmp_path):
    """-ffast-math would take x == x for true."""
    monkeypatch.setenv("CXX", f"{compiler.compiler()[0]} -ffast-math -ffp-contract=fast")
    source = (
        'extern "C" __attribute__((visibility("default"))) int nan(double x) { return x != x; }'
    )
    library = compiler.load(source, tmp_path)
    library.nan.argtypes = [compiler.ctypes.c_double]
    assert library.nan(float("nan")) == 1


@pytest.mark.parametrize(
    "given, problem",
    [
        ("/nonexistent", "CXX=/nonexistent: there is no such program"),
        ("no-such-compiler -O3", "CXX=no-such-compiler -O3: there is no such program"),
        ("g++ 'open", "CXX=g++ 'open can't be read"),
        ("false", "false fails"),
    ],
)
def test_a_compiler_that_does_not_work_is_named_in_one_line(monkeypatch, tmp_path, given, problem):
    monkeypatch.setenv("CXX", given)
    with pytest.raises(compiler.NoCompiler) as error:
        answer(tmp_path)
    assert str(error.value).startswith(problem) and "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.so"))


def test_what_the_compiler_says_is_in_the_line(tmp_path):
    with pytest.raises(compiler.NoCompiler, match="error") as error:
        compiler.load("int answer( {", tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_path_may_hold_what_a_shell_would_read(tmp_path):
    folder = tmp_path / "a b'c\"d $FOO `x`"
    assert answer(folder) == 42
    assert [file.suffix for file in folder.iterdir()] == [".so"]


def test_the_folder_of_the_environment_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv(compiler.CACHE, str(tmp_path / "theirs"))
    assert answer(tmp_path / "ours") == 42
    assert not (tmp_path / "ours").exists() and list((tmp_path / "theirs").glob("*.so"))


@pytest.mark.parametrize("damage", [b"", b"no library", None])
def test_a_damaged_library_is_compiled_again(tmp_path, damage):
    """In a process of its own, since a library that is loaded must not change."""
    script = f"""
import sys
from pathlib import Path
from mlpfit.engine import compiler
print(compiler.load({SOURCE % 42!r}, Path(sys.argv[1])).answer())
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "42\n"
    (library,) = tmp_path.glob("*.so")
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 3] if damage is None else damage)
    done = subprocess.run(run, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert library.stat().st_size == len(whole)


def test_another_source_is_another_library(tmp_path):
    assert (answer(tmp_path, 1), answer(tmp_path, 2)) == (1, 2)
    assert len(list(tmp_path.glob("*.so"))) == 2


def test_two_processes_may_compile_at_once(tmp_path):
    script = f"""
import sys
from pathlib import Path
from mlpfit.engine import compiler
print(compiler.load({SOURCE % 7!r}, Path(sys.argv[1])).answer())
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["7\n", "7\n"]
    assert len(list(tmp_path.iterdir())) == 1
