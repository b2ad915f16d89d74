"""Rows of a CSV file beside a tutorial's other files.

Every replica has the same rows; its seed decides which of them are observed, their split, their
order and the initial weights.
"""

import io
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge

from mlpfit.data.targets import Source, check_classes
from mlpfit.errors import ConfigError, allowed, one_line
from mlpfit.files import read_file

MAX_BYTES = 2**26  # of a file: 64 MiB


@dataclass(frozen=True, kw_only=True)
class Table(Source, name="csv"):
    """Rows of a CSV file with a header.

    file         path, relative to the tutorial's folder
    x, y         names of the columns of inputs and outputs, or one name
    classes      number of classes, if y is one column of classes: their numbers from 0 on, or their
                 names, which are then numbered in alphabetical order; null: y are numbers
    separator    of columns
    observed     rows sampled without replacement for training; null: all
    standardise  columns of the training rows get mean 0 and standard deviation 1
    float32      x and y are rounded to float32, as in a script that stores them as float32
    """

    file: str
    x: str | tuple[str, ...]
    y: str | tuple[str, ...]
    classes: Annotated[int, Ge(2)] | None  # type: ignore[misc]
    separator: str
    observed: Annotated[int, Ge(1)] | None
    standardise: bool
    float32: bool

    is_endless: ClassVar[bool] = False

    def within(self, folder: Path) -> Self:
        """The same target, with its file found in this folder, unless the path is absolute."""
        self.__dict__["path"] = folder / self.file
        return self

    @cached_property
    def path(self) -> Path:
        """Where the file is: from the working directory, if :meth:`within` names no folder."""
        return Path(self.file)

    def files(self) -> list[Path]:
        return [self.path]

    @property
    def dim(self) -> int:  # type: ignore[override]
        return len(_names(self.x))

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return len(_names(self.y))

    @property
    def points(self) -> int:  # type: ignore[override]
        return len(self._columns[0])

    def problem(self) -> str | None:
        inputs, outputs = _names(self.x), _names(self.y)
        for key, names in (("x", inputs), ("y", outputs)):
            if not names:
                return f"target.{key}=[]: must name a column of {self.file}"
        if twice := [name for name in (*inputs, *outputs) if (*inputs, *outputs).count(name) > 1]:
            return f"target.x, target.y: name {twice[0]} twice"
        if len(self.separator) != 1:
            return f"target.separator={self.separator!r}: must be one character"
        if self.observed is not None and self.observed > self.points:
            given = f"target.observed={self.observed}"
            return f"{given} must be at most the {self.points} rows of {self.file}"
        return super().problem()

    def _all_rows(self, rng: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = self._columns
        return x, y, y

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        """x (m, d) and y (m, o). Raises ConfigError in one line for whatever is wrong."""
        import pandas  # here, since it takes half a second

        given = f"target.file={self.file}"
        try:
            content = read_file(self.path, MAX_BYTES)
        except OSError as error:
            problem = "is a folder" if self.path.is_dir() else error.strerror
            raise ConfigError(f"{given}: {self.path}: {problem}; it must be a CSV file") from None
        except ValueError as error:
            raise ConfigError(f"{given}: {error}") from None
        try:
            # As texts, which numpy then reads: correctly rounded, and the same everywhere.
            options: Any = {"dtype": str, "keep_default_na": False, "skipinitialspace": True}
            frame = pandas.read_csv(io.BytesIO(content), sep=self.separator, **options)
        except (ValueError, UnicodeDecodeError) as error:  # pandas's errors are ValueErrors
            raise ConfigError(f"{given}: is no CSV file ({one_line(error)})") from None
        frame.columns = frame.columns.str.strip()
        for key, names in (("x", _names(self.x)), ("y", _names(self.y))):
            for name in names:
                if name not in frame.columns:
                    raise ConfigError(
                        f"target.{key}: {self.file} has no column {name}; "
                        f"{allowed(name, frame.columns)}"
                    )
        if frame.empty:
            raise ConfigError(f"{given}: has no rows below its header")
        x = [self._numbers(name, frame[name]) for name in _names(self.x)]
        y = [self._numbers(name, frame[name]) for name in _names(self.y)]
        inputs, outputs = (self._round(np.stack(columns, axis=1)) for columns in (x, y))
        check_classes(f"target.y: column {self.y} of {self.file}", outputs, self.classes)
        return inputs, outputs

    def _numbers(self, name: str, column: Any) -> np.ndarray:
        """The numbers of a column. Raises ConfigError that names the first row without one."""
        texts = [text.strip() if isinstance(text, str) else "" for text in column]
        if "" in texts:
            where = f"row {texts.index('') + 1}, column {name}"
            raise ConfigError(
                f"target.file={self.file}: {where}: is empty; fill it or drop the row"
            )
        wrong = [number for number, text in enumerate(texts) if not _is_number(text)]
        if not wrong:
            return np.array([float(text) for text in texts])
        if self.classes is None or name not in _names(self.y):
            where = f"row {wrong[0] + 1}, column {name}"
            raise ConfigError(
                f"target.file={self.file}: {where}: {texts[wrong[0]]!r} is no finite number"
            )
        names = sorted(set(texts))
        if len(names) != self.classes:
            some = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
            given = f"target.classes={self.classes}"
            raise ConfigError(f"{given}: column {name} of {self.file} has {len(names)}, {some}")
        return np.searchsorted(names, texts).astype(float)


def _names(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
