"""The stored form of a checked file: one safetensors file, in which each column lies by itself.

A job's start reads the columns that it needs from a memory map, or by ranges from an object store;
no text is parsed again. Of weights the stored form is the uploaded file itself.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.uploads.contents import Contents


class StoredFile:
    """A stored form, open for reading.

    Attributes:
        contents: what the check found (it stands in the file too).
    """

    contents: Contents

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file of this machine; arrays are then views of a memory map, read-only."""
        raise NotImplementedError

    @classmethod
    def from_ranges(cls, read: Callable[[int, int], bytes]) -> Self:
        """Open by a function that reads `length` bytes from `start` on (`JobArtifacts.read_range`
        with a name, say); it may return fewer, but at least one."""
        raise NotImplementedError

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return rows `start` to `stop` (all) of a column, as `Dtype` says that it is stored, with
        the column's shape after the first axis. A column of texts: an array of objects `str`.

        Raises:
            KeyError: there is no such column.
        """
        raise NotImplementedError

    def columns(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return these columns, each whole."""
        return {name: self.column(name) for name in names}

    def matrix(
        self, names: Sequence[str], dtype: DTypeLike = np.float32, rows: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return columns of shape () as the columns of one new matrix, row by row in memory;
        `rows` picks rows by index, in this order. Missing values are NaN (codes of categories and
        of bools included).

        Raises:
            KeyError: there is no such column.
            ValueError: it is text, or its rows are arrays.
        """
        raise NotImplementedError

    def text(self) -> bytes:
        """Return the UTF-8 bytes of a text, without a byte order mark, else as they were."""
        raise NotImplementedError

    def preview(self, num_rows: int) -> list[dict[str, Any]]:
        """Return the first rows as JSON has them: column -> value; categories as their names, dates
        as ISO 8601 texts, missing values as None, images and arrays as nested lists; of a text its
        lines."""
        raise NotImplementedError


def read_columns(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return whole columns of a stored form on this machine: views of a memory map, read-only."""
    return StoredFile.open(path).columns(names)
