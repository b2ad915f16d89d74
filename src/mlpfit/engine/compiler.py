"""Compilation of the kernels by the machine's C++ compiler.

A compiled kernel is cached under a name that is a hash of its source, the command, the compiler's
version and the processor, so that none is ever loaded that another machine, compiler or version of
this package made.
"""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from mlpfit.errors import RunError, one_line

KERNELS = Path(__file__).parent / "kernels"
CACHE = "MLPFIT_KERNEL_CACHE"  # environment variable: folder of compiled kernels
COMPILERS = ("g++", "clang++", "c++")
# Without contraction only what the source calls fma() is one: all compilers then compute the same
# bits, at any level of optimisation. No flag of ours or of the user's may allow more than that.
# Symbols are hidden, since the loader takes those of equal names in two kernels for one.
FLAGS = (
    "-std=c++17",
    "-fno-math-errno",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-Wno-psabi",
)
# Last, so that they hold. The second one also keeps g++ from linking code that flushes subnormal
# numbers in the whole process.
EXACT = ("-fno-fast-math", "-fno-unsafe-math-optimizations", "-ffp-contract=off")


class NoCompiler(RunError):
    """The kernels can't be compiled; the message says why, in a clause."""


def compiler() -> list[str]:
    """The command of the C++ compiler: the variable CXX, split as a shell does, else the first one
    found. Raises NoCompiler."""
    given = os.environ.get("CXX", "").strip()
    try:
        command = shlex.split(given)
    except ValueError as error:
        raise NoCompiler(f"CXX={given} can't be read ({error})") from None
    if command:
        if shutil.which(command[0]) is None:
            raise NoCompiler(f"CXX={given}: there is no such program")
        return command
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise NoCompiler(f"there is no C++ compiler ({', '.join(COMPILERS)}, or name one in CXX)")


def load(source: str, folder: Path, level: str = "-O2") -> ctypes.CDLL:
    """The library of this source, compiled unless the folder of the cache has it. Raises NoCompiler
    if there is no compiler or if it fails."""
    return _load(source, cache_folder(folder), level)


def cache_folder(default: Path) -> str:
    """The folder of compiled kernels: the one named in MLPFIT_KERNEL_CACHE, or this one."""
    return os.path.abspath(os.environ.get(CACHE) or default)


@functools.cache
def _load(source: str, folder: str, level: str) -> ctypes.CDLL:
    command = compiler()
    native = [f"-m{_native_option()}=native"]
    flags = [*FLAGS, level, *native, *EXACT]
    content = [source, *command, *flags, _version(tuple(command)), _processor()]
    digest = hashlib.sha256("\0".join(content).encode("utf-8", "surrogateescape")).hexdigest()
    library = _cached(Path(folder), digest[:32])
    if library is None:
        library = _compile(source, [*command, *flags], Path(folder), digest[:32])
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:  # for instance a folder whose files may not be executed
        raise NoCompiler(f"compiled kernels can't be loaded ({one_line(error)[:200]})") from None


def _cached(folder: Path, name: str) -> Path | None:
    """The library of this name, unless it is missing or damaged: loading half a file would kill the
    process. Its name ends with a hash of its content."""
    for library in sorted(folder.glob(f"{name}-*.so")):
        if library.name == _file_name(name, library.read_bytes()):
            return library
    return None


def _file_name(name: str, content: bytes) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _compile(source: str, command: list[str], cache: Path, name: str) -> Path:
    """Compile into a temporary folder in the cache and rename the library: others see all or
    nothing.

    The compiler runs in that folder on names of ours, so nothing in the folder's own path (a space,
    a quote, a dollar) reaches a shell behind CXX.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".compiling-") as folder:
        (Path(folder) / "kernel.cpp").write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [*command, "kernel.cpp", "-o", "kernel.so", "-lm"],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise NoCompiler(f"{command[0]} can't be run ({error.strerror})") from None
        built = Path(folder) / "kernel.so"
        if done.returncode or not built.is_file():
            lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
            first = next((line for line in lines if "error" in line.lower()), lines[0])
            raise NoCompiler(f"{command[0]} fails ({first.strip()[:200]})")
        library = cache / _file_name(name, built.read_bytes())
        os.replace(built, library)
    return library


def _native_option() -> str:
    """The option that names the processor: on Arm GCC and clang take -mcpu=native."""
    return "arch" if re.search("86|amd64", platform.machine().lower()) else "cpu"


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    except OSError as error:
        raise NoCompiler(f"{command[0]} can't be run ({error.strerror})") from None
    return done.stdout


@functools.cache
def _processor() -> str:
    """Name and instruction sets of the processor, on which "native" depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted(x for x in lines if x.startswith(("model name", "flags", "Features"))))


# Of each library of kernels, beside those that all share. They are compiled apart, since a command
# seldom needs all: the wide ones alone take four seconds.
HEADERS = {"narrow": ("shallow", "narrow"), "wide": ("wide",), "evaluate": ("evaluate",)}


def source(real: str, *libraries: str, constants: dict[str, object] | None = None) -> str:
    """C++ source for ``real`` "float" or "double" of these libraries of HEADERS or, with the
    constants of one problem, of the narrow kernel specialised for it."""
    return _source(real, libraries, tuple((constants or {}).items()))


@functools.cache  # it is asked for at every call of a kernel
def _source(
    real: str, libraries: tuple[str, ...], constants: tuple[tuple[str, object], ...]
) -> str:
    own = ["narrow"] if constants else [name for of in libraries for name in HEADERS[of]]
    defined = [f"#define {name} {value}" for name, value in constants]
    names = ["common", "activations", "update", *own]
    texts = [(KERNELS / f"{name}.h").read_text(encoding="utf-8") for name in names]
    return "\n".join([f"using real = {real};", *defined, *texts])
