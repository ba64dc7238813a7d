"""JSON of a record, compressed with what all records have in common left out.

Rules of the diagnosis with their sources, defaults of a spec, names: two thirds of a record at rest
are the same in each. zlib takes words for what went before (a preset dictionary). A file of words
stays as it is for as long as there are stores; a better one gets the next number
(`scripts/packing_words.py`).

A packed text is the number of its words, in one byte, and a raw stream of DEFLATE (RFC 1951):
zlib's own header has their checksum instead, and to compute that takes longer than all the rest.
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
NEWEST: Final = 1
"""Number of the words that texts are packed by."""
_FIRST_OF_TEXT: Final = 0x20
"""Smallest first byte of JSON; smaller ones are numbers of words."""
_ZLIB: Final = b"x"
"""First byte of what zlib writes at any level with its usual window, and of no JSON."""
_RAW: Final = -15
"""The widest window, without zlib's header."""


def packed(text: bytes, most: int | None = None) -> bytes:
    """Compress a text of JSON, unless it is short, or longer than `most`."""
    if len(text) < PACKED_FROM or (most is not None and len(text) > most):
        return text
    packer = _packer().copy()
    return b"%c%b%b" % (NEWEST, packer.compress(text), packer.flush())


def unpacked(data: bytes) -> bytes:
    """Return the text that `packed` was given; JSON as it is, and what earlier versions compressed
    by zlib alone, too. Raises `NewerFormatError` for words of a later version."""
    if data[:1] == _ZLIB:
        return zlib.decompress(data)
    if not data or data[0] >= _FIRST_OF_TEXT:
        return data
    if data[0] > NEWEST:
        raise NewerFormatError(
            f"A record is packed by words {data[0]}, which this version of Thalweg does not have:"
            " start the newer version that wrote it."
        )
    return zlib.decompressobj(_RAW, words(data[0])).decompress(memoryview(data)[1:])


@cache
def words(number: int) -> bytes:
    """Return the words of this number."""
    return files("core.store").joinpath("words", f"{number}.txt").read_bytes()


@cache
def _packer() -> "zlib._Compress":
    """Make what packs: copied for each text, since words take ten times as long to be taken in."""
    return zlib.compressobj(wbits=_RAW, zdict=words(NEWEST))
