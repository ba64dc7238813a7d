"""Columns as CSV and as Parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from thalweg.history import missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK: int = 100_000
"""Rows that are made text at once."""


def write_csv(columns: "Mapping[str, NDArray[Any]]", path: Path) -> None:
    """Write a line of names, then a line for each row, as the service's own CSV has them."""
    with path.open("wb") as file:
        stream_csv(columns, file)


def stream_csv(columns: "Mapping[str, NDArray[Any]]", file: BinaryIO) -> None:
    """Write CSV into an open file. Numbers are the shortest text that reads back as the same."""
    file.write(",".join(columns).encode() + b"\r\n")
    length = len(next(iter(columns.values()))) if columns else 0
    for start in range(0, length, BLOCK):
        block = [_words(column[start : start + BLOCK]) for column in columns.values()]
        lines = map(",".join, zip(*block, strict=True))
        file.write("".join(f"{line}\r\n" for line in lines).encode())


def _words(column: "NDArray[Any]") -> list[str]:
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    texts = [repr(number) for number in column.tolist()]
    return [words.get(text, text) for text in texts]


def write_parquet(columns: "Mapping[str, NDArray[Any]]", path: Path) -> None:
    """Write a Parquet file, by PyArrow. Raises `ThalwegError` where that is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise missing("parquet") from error
    pq.write_table(pa.table(dict(columns)), path)
