"""Sources of uploads: files, bytes and frames, with media type and size."""

import base64
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

from thalweg.errors import ThalwegError, UnsendableError


class PandasFrame(Protocol):
    """A frame of pandas, which need not be installed."""

    def to_parquet(self, *arguments: Any, **options: Any) -> Any:
        """Write it as Parquet."""


class PolarsFrame(Protocol):
    """A frame of Polars, which need not be installed."""

    def write_parquet(self, *arguments: Any, **options: Any) -> Any:
        """Write it as Parquet."""


Uploadable: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | BinaryIO | PandasFrame | PolarsFrame
)
"""Values that can be uploaded: a path, bytes, a file open for reading in binary, or a frame."""
MEDIA_TYPES: Final = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".pq": "application/vnd.apache.parquet",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".npz": "application/x-npz",
    ".zip": "application/zip",
    ".txt": "text/plain",
    ".safetensors": "application/x-safetensors",
}
"""Endings of files, and what they hold."""
PARQUET: Final = MEDIA_TYPES[".parquet"]
CHUNK_BYTES: Final = 256 * 1024


class Source:
    """Bytes to be uploaded.

    Attributes:
        name: the file's name without its ending; None where it has none.
        media_type: what it holds.
        size: the number of bytes; None where it is not known.
        repeatable: whether it can be read again.
    """

    def __init__(
        self, read: Callable[[], Iterator[bytes]], name: str, media_type: str | None
    ) -> None:
        self.name = Path(name).stem[:200] or None
        self.media_type = media_type or media_type_of(name)
        self.size: int | None = None
        self.repeatable = True
        self._read = read

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning. Raises `UnsendableError` where its size has changed."""
        left = self.size
        for chunk in self._read():
            if left is not None:
                left -= len(chunk)
                if left < 0:
                    break
            yield chunk
        if left:
            raise UnsendableError(
                f"{self.name or 'What is uploaded'} changed its size while it was read: upload it"
                " again"
            )


def media_type_of(name: str) -> str:
    """Return the media type of a file by its ending. Raises `UnsendableError`."""
    ending = Path(name).suffix.lower()
    if ending in MEDIA_TYPES:
        return MEDIA_TYPES[ending]
    said = f"{name} has no ending" if name else "What these bytes are is not known"
    if ending:
        said = f"{name}: no file that can be uploaded ends in {ending}"
    raise UnsendableError(
        f"{said}: give a file that ends in {', '.join(MEDIA_TYPES)}, or name the media type"
        ' (media_type="text/csv", --type text/csv)'
    )


def source_of(data: Any, media_type: str | None) -> Source:
    """Return what is to be uploaded: of a path, bytes, a file open for reading, or a frame of
    pandas or Polars.

    Raises `UnsendableError` for anything else, `OSError` for a file that is not there.
    """
    if isinstance(data, str | os.PathLike):
        return _of_path(Path(data), media_type)
    if isinstance(data, bytes | bytearray | memoryview):
        return _of_bytes(bytes(data), "", media_type)
    if hasattr(data, "write_parquet") or hasattr(data, "to_parquet"):
        return _of_bytes(parquet(data), "", PARQUET)
    if hasattr(data, "read"):
        return _of_file(data, media_type)
    raise UnsendableError(
        f"{type(data).__name__} cannot be uploaded: give a path, bytes, a file open for reading, or"
        " a frame of pandas or Polars"
    )


def parquet(frame: Any) -> bytes:
    """Return a frame as Parquet; the index of pandas is left out."""
    buffer = io.BytesIO()
    try:
        if hasattr(frame, "write_parquet"):
            frame.write_parquet(buffer)
        else:
            frame.to_parquet(buffer, index=False, engine="pyarrow")
    except ImportError as error:
        raise ThalwegError(
            "Frames of pandas are uploaded as Parquet: pip install 'thalweg[parquet]'"
        ) from error
    except (TypeError, ValueError) as error:
        raise UnsendableError(f"The frame cannot be written as Parquet: {error}") from error
    return buffer.getvalue()


def _of_bytes(content: bytes, name: str, media_type: str | None) -> Source:
    def read() -> Iterator[bytes]:
        for start in range(0, len(content), CHUNK_BYTES):
            yield content[start : start + CHUNK_BYTES]

    made = Source(read, name, media_type)
    made.size = len(content)
    return made


def _of_path(path: Path, media_type: str | None) -> Source:
    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    with path.open("rb") as file:  # so that one that cannot be read is told before anything is sent
        kind = os.fstat(file.fileno())
    made = Source(read, path.name, media_type)
    if stat.S_ISREG(kind.st_mode):
        made.size = kind.st_size
    else:
        made.repeatable = False
    return made


def _of_file(file: Any, media_type: str | None) -> Source:
    if isinstance(file, io.TextIOBase):
        raise UnsendableError("The file is open as text: open it with 'rb'")
    seekable = getattr(file, "seekable", lambda: False)()
    begin = file.tell() if seekable else 0

    def read() -> Iterator[bytes]:
        if seekable:
            file.seek(begin)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk

    name = getattr(file, "name", "")
    named = isinstance(name, str) and not name.startswith("<")  # as `<stdin>`
    made = Source(read, Path(name).name if named else "", media_type)
    made.repeatable = seekable
    if seekable:
        made.size = file.seek(0, io.SEEK_END) - begin
        file.seek(begin)
    return made


def digest_header(sha256: bytes) -> str:
    """Return a checksum as `Content-Digest` has it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"
