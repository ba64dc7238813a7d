"""Entries of a zip, read with limits as they stream: what a header promises is not believed."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from core.uploads.contents import RefusedFile, quoted

MOST_ENTRIES: Final = 200_000
MOST_RATIO: Final = 100
"""Most bytes that a byte of a file may expand to, where it expands to many."""
ALWAYS_BYTES: Final = 100 * 2**20
ALWAYS_DECODED_BYTES: Final = 2**30
"""Bytes to which the images of any zip, and the rows of any Parquet file, may expand."""
PIECE_BYTES: Final = 2**20


class Archive:
    """A zip file, open for reading.

    Attributes:
        num_bytes: of the zip.
        files: its entries that are files, in order.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises `RefusedFile` for what is no zip and for entries that may not be read."""
        self.num_bytes = path.stat().st_size
        self._expanded = 0
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
            with path.open("rb") as file:
                begins = file.read(4) == b"PK\x03\x04"
            raise RefusedFile(
                "cut_file" if begins else "cannot_be_read",
                "The file begins as a zip and ends too early. Upload it again, whole."
                if begins
                else f"The file is no zip: {error}. Save it as one, or send its own media type.",
            ) from None
        try:
            self.files = self._checked()
        except RefusedFile:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _checked(self) -> list[zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MOST_ENTRIES:
            raise RefusedFile(
                "too_many_entries",
                f"The zip has {len(infos):,} entries, and at most {MOST_ENTRIES:,} are read. Upload"
                " fewer, or the arrays as NPZ.",
            )
        seen: set[str] = set()
        for info in infos:
            _check_entry(info)
            if info.filename in seen:
                raise RefusedFile(
                    "duplicate_entry",
                    f"Two entries are named {quoted(info.filename)}. Rename one of them.",
                    entry=info.filename,
                )
            seen.add(info.filename)
        files = [info for info in infos if not info.is_dir()]
        self._check_ratio(sum(info.file_size for info in files), None)
        return files

    def pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the bytes of an entry, as many as its header says.

        Raises:
            RefusedFile: it is damaged, or all that was read expands to too much.
        """
        num_bytes = 0
        with self.opened(info) as file:
            while piece := self.read_from(file, info, PIECE_BYTES):
                num_bytes += len(piece)
                yield piece
        if num_bytes != info.file_size:
            raise _damaged(info.filename, f"{num_bytes} bytes where {info.file_size} are promised")

    def read(self, info: zipfile.ZipInfo, most_bytes: int) -> bytes:
        """Return an entry's bytes, at most so many. Raises `RefusedFile`."""
        if info.file_size > most_bytes:
            raise RefusedFile(
                "image_too_large",
                f"Entry {quoted(info.filename)} has {info.file_size:,} bytes, and at most"
                f" {most_bytes:,} are read.",
                entry=info.filename,
            )
        return b"".join(self.pieces(info))

    @contextmanager
    def opened(self, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        """Open an entry; read from it with `read_from`."""
        try:
            file = self._zip.open(info)
        except (*_ERRORS, RuntimeError) as error:
            raise _damaged(info.filename, str(error)) from None
        with file:
            yield file

    def read_from(self, file: IO[bytes], info: zipfile.ZipInfo, size: int) -> bytes:
        """Read at most `size` bytes of an entry. Raises `RefusedFile`."""
        try:
            piece = file.read(size)
        except _ERRORS as error:
            raise _damaged(info.filename, str(error)) from None
        self._expanded += len(piece)
        self._check_ratio(self._expanded, info.filename)
        return piece

    def _check_ratio(self, expanded: int, entry: str | None) -> None:
        refuse_expansion(self.num_bytes, expanded, ALWAYS_BYTES, entry)


def refuse_expansion(
    num_bytes: int, expanded: int, always: int = ALWAYS_DECODED_BYTES, entry: str | None = None
) -> None:
    """Refuse a file of so many bytes that expands to many more. Raises `RefusedFile`.

    Args:
        always: bytes to which any file may expand.
    """
    most = max(always, MOST_RATIO * num_bytes)
    if expanded > most:
        raise RefusedFile(
            "zip_bomb",
            f"The {num_bytes:,} bytes of the file expand to {expanded:,} or more, and at most"
            f" {most:,} are read. Save it with less compression, or upload it in parts.",
            entry=entry,
        )


_ERRORS: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = info.filename
    parts = name.replace("\\", "/").split("/")
    if (
        name.startswith(("/", "\\"))
        or ".." in parts
        or ":" in parts[0]
        or "\0" in info.orig_filename
    ):
        raise RefusedFile(
            "unsafe_name",
            f"Entry {quoted(name)} has a name that leads out of its folder. Name entries by plain"
            " relative paths such as cats/1.png.",
            entry=name,
        )
    kind = info.external_attr >> 16
    if stat.S_ISLNK(kind) or (stat.S_IFMT(kind) and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))):
        raise RefusedFile(
            "unsafe_entry",
            f"Entry {quoted(name)} is a link or a device, not a file. Replace it by the file.",
            entry=name,
        )
    if info.flag_bits & 0x1:
        raise RefusedFile(
            "unsafe_entry",
            f"Entry {quoted(name)} is encrypted. Make the zip without a password.",
            entry=name,
        )


def _damaged(entry: str, why: str) -> RefusedFile:
    return RefusedFile(
        "cannot_be_read",
        f"Entry {quoted(entry)} is damaged: {why}. Make the zip again.",
        entry=entry,
    )
