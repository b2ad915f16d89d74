"""Atomic writing of files: a reader sees the old content or all of the new."""

import csv
import errno
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

MAX_BYTES = 2**32  # of a file that is read whole
MAX_VALUES = 10**6  # of a YAML file, counted as often as they are referred to
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, ten times as fast


class _Loader(_SafeLoader):  # type: ignore[misc,valid-type]
    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        """As ever, but of two equal keys the first is not dropped in silence."""
        pairs, seen = node.value if isinstance(node, yaml.MappingNode) else (), set()
        for key in (key for key, _ in pairs if isinstance(key, yaml.ScalarNode)):
            if (name := (key.tag, key.value)) in seen and key.value != "<<":
                raise yaml.MarkedYAMLError(f"found duplicate key {key.value}", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Bytes of a regular file, or of one that a link leads to. Raises OSError for anything else (a
    pipe or a device might never end) and for a file of more than ``limit`` bytes."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"over {limit} bytes", str(path))
        return file.read()


def plain_yaml(content: bytes, limit: int = MAX_VALUES) -> Any:
    """A YAML file in UTF-8 of texts, numbers, lists and dicts. Raises ValueError, with what is
    wrong, for anything else, also if it refers to itself or multiplies by references."""
    try:
        plain = yaml.load(content.decode("utf-8"), _Loader)
        _count_values(plain, 0, 0, limit)
        return plain
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start})") from None
    except (yaml.YAMLError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        what = "nested too deeply, or refers to itself" if deep else " ".join(str(error).split())
        raise ValueError(what) from None


def _count_values(value: Any, count: int, depth: int, limit: int) -> int:
    """Number of values in this one and before it."""
    if depth > 100:
        raise RecursionError
    if (count := count + 1) > limit:
        raise ValueError(f"has more than {limit} values")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                raise ValueError(f"{key!r}: is no plain key")
            count = _count_values(item, count, depth + 1, limit)
    elif isinstance(value, list):
        for item in value:
            count = _count_values(item, count, depth + 1, limit)
    elif not isinstance(value, str | int | float | bool | None):
        raise ValueError(f"{value!r}: is not text or a number")
    return count


def write_file(path: Path, content: bytes) -> None:
    """Write a temporary file in the same folder and rename it; creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with naming_file(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Put the file's name into an OSError that has none, as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        del error.filename2
        raise


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV with these columns; other keys of the rows are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue().encode())


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As numpy.savez, but with the same bytes from every Python version, whose zip headers
    differ."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with naming_file(path):
        try:
            with zipfile.ZipFile(temporary, "w") as parts:
                for name, values in arrays.items():
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
                    parts.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
