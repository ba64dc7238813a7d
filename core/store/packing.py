"""JSON of a record, compressed with what all records have in common left out.

Rules of the diagnosis with their sources, defaults of a spec, names: two thirds of a record at rest
are the same in each. zlib takes words for what went before (RFC 1950, a preset dictionary), and its
header says by their checksum which they were. A file of words stays as it is for as long as there
are stores; a better one gets the next number (`scripts/packing_words.py`).
"""

import zlib
from functools import cache
from importlib.resources import files
from typing import Final

from core.errors import NewerFormatError

PACKED_FROM: Final = 256
"""Bytes from which on a text is compressed."""
MOST_PACKED: Final = 2**16
"""Bytes of a spec up to which it is compressed: a longer one has data in it, which has little in
common with any other and would keep a request waiting."""
CHECKSUMS: Final = (0x17C28A04,)
"""Of `words/1.txt` and so on; the last is what texts are packed by."""
_ZLIB: Final = b"x"
"""First byte of what zlib writes at any level with its usual window, and of no JSON."""
_PRESET: Final = 0x20
"""Bit of the second byte: words went before, and their checksum follows."""


def packed(text: bytes, most: int | None = None) -> bytes:
    """Compress a text of JSON, unless it is short, or longer than `most`."""
    if len(text) < PACKED_FROM or (most is not None and len(text) > most):
        return text
    packer = _packer().copy()
    return packer.compress(text) + packer.flush()


def unpacked(data: bytes) -> bytes:
    """Return the text that `packed` was given; JSON as it is, and what earlier versions compressed
    without words, too. Raises `NewerFormatError` for words of a later version."""
    if data[:1] != _ZLIB:
        return data
    if not data[1] & _PRESET:
        return zlib.decompress(data)
    checksum = int.from_bytes(data[2:6], "big")
    if checksum not in CHECKSUMS:
        raise NewerFormatError(
            "A record is packed by words that this version of Thalweg does not have: start the"
            " newer version that wrote it."
        )
    reader = zlib.decompressobj(zdict=words(1 + CHECKSUMS.index(checksum)))
    return reader.decompress(data) + reader.flush()


@cache
def words(number: int) -> bytes:
    """Return the words of this number."""
    return files("core.store").joinpath("words", f"{number}.txt").read_bytes()


@cache
def _packer() -> "zlib._Compress":
    """Make what packs: copied for each text, since words take ten times as long to be taken in."""
    return zlib.compressobj(zdict=words(len(CHECKSUMS)))
