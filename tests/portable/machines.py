"""Machines that this one can be made to look like, and what a command of theirs begins with."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARM = ROOT / "outputs/.cache/portable/arm64"
DEBIAN = (  # what Debian's Python needs; bookworm has 3.11
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "zlib1g"),
    *("libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libgcc-s1", "libstdc++6"),
    *("libuuid1", "libcrypt1"),
)
VECTOR_UNITS = ("AVX512", "X86_V4")  # how the names of numpy's AVX-512 paths begin


@dataclass(frozen=True)
class Machine:
    """A way to run Python: command, variables added to the environment, and the features of the
    processor that numpy must not use (empty where another processor is emulated)."""

    name: str
    python: tuple[str, ...] = (sys.executable,)
    environment: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    emulated: bool = False

    def run(self, *arguments: str, timeout: float, folder: Path | None = None) -> str:
        """What the Python program prints, in this folder. Raises RuntimeError with its error."""
        environment = {**os.environ, **self.environment}
        command = [*self.python, *arguments]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr.strip()[-600:]}")
        return done.stdout


def here() -> Machine:
    return Machine("as it is")


def narrower() -> list[Machine]:
    """This machine with the vector paths of numpy, torch, OpenBLAS, MKL and the C library off, as
    far as it has them."""
    units = dispatched()
    wide = tuple(unit for unit in units if unit.startswith(VECTOR_UNITS))
    machines = []
    if wide:
        libraries = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        machines.append(_without("without AVX-512", wide, "avx2", "Haswell", libraries))
    if platform.machine() == "x86_64":
        tunables = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4,-AVX"
        libraries = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
        libraries |= {"GLIBC_TUNABLES": tunables}
        machines.append(_without("without AVX", units, "default", "Prescott", libraries))
        machines.append(_without("OpenBLAS for Sandy Bridge", (), "default", "Sandybridge", {}))
    return machines


def _without(
    name: str, units: Sequence[str], torch: str, openblas: str, libraries: dict[str, str]
) -> Machine:
    variables = {"ATEN_CPU_CAPABILITY": torch, "OPENBLAS_CORETYPE": openblas} | libraries
    if units:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(units)
    return Machine(name, environment=variables, without=tuple(units))


@cache
def dispatched() -> tuple[str, ...]:
    """The vector units that this numpy, by its own names, has code for and finds here."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return tuple(name for name in __cpu_dispatch__ if __cpu_features__[name])


def emulated() -> tuple[list[Machine], list[str]]:
    """Other processors under qemu-user, and why one can't be had."""
    machines, missing = [], []
    for name, processor in (
        ("Intel Haswell (qemu)", "Haswell"),
        ("Intel Nehalem (qemu)", "Nehalem"),
    ):
        if (qemu := shutil.which("qemu-x86_64")) and platform.machine() == "x86_64":
            command = (qemu, "-cpu", processor, str(Path(sys.executable).resolve()))
            path = os.pathsep.join(filter(None, sys.path[1:]))
            machines.append(Machine(name, command, {"PYTHONPATH": path}, emulated=True))
        else:
            missing.append(f"{name}: no qemu-x86_64 here (Debian: qemu-user)")
    try:
        machines.append(arm())
    except (RuntimeError, OSError) as error:
        missing.append(f"Arm, 64 bits (qemu): {error}")
    return machines, missing


def arm() -> Machine:
    """Debian's Python and PyPI's numpy for arm64 under qemu-aarch64, unpacked into ARM. Raises
    RuntimeError with the reason if they can't be had."""
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        raise RuntimeError("no qemu-aarch64 here (Debian: qemu-user)")
    if sys.version_info[:2] != (3, 11):
        raise RuntimeError("Debian's Python is 3.11, this one is another")
    if not (ARM / "complete").exists():
        shutil.rmtree(ARM, ignore_errors=True)
        _fetch_arm()
        (ARM / "complete").touch()
    pure = [path for path in sys.path[1:] if path.endswith("site-packages")]
    variables = {"PYTHONPATH": os.pathsep.join([str(ARM / "site"), str(ROOT / "src"), *pure])}
    python = (qemu, "-L", str(ARM / "root"), str(ARM / "root/usr/bin/python3.11"))
    return Machine("Arm, 64 bits (qemu)", python, variables, emulated=True)


def _fetch_arm() -> None:
    from importlib.metadata import version

    for folder in ("debs", "apt/state/lists/partial", "apt/cache/archives/partial", "root", "site"):
        (ARM / folder).mkdir(parents=True)
    options = [f"Dir::State={ARM}/apt/state", f"Dir::Cache={ARM}/apt/cache"]
    options += ["APT::Architecture=arm64", "APT::Architectures::=arm64"]
    options += ["Dir::State::status=/dev/null", "APT::Sandbox::User=root"]
    apt = ["apt-get", "-q", *(part for option in options for part in ("-o", option))]
    _shell(*apt, "update")
    _shell(*apt, "download", *DEBIAN, folder=ARM / "debs")
    for package in sorted((ARM / "debs").glob("*.deb")):
        _shell("dpkg", "-x", str(package), str(ARM / "root"))
    platforms = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
    packages = [f"{name}=={version(name)}" for name in ("numpy", "pydantic-core")]
    tags = [part for name in platforms for part in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", *tags]
    _shell(*pip, "--target", str(ARM / "site"), *packages)


def _shell(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])}: {done.stderr.strip()[-300:]}")
