"""Plain texts, for models of language."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.uploads.contents import Column, Contents
from core.uploads.layout import Tensor, write_stored
from core.uploads.parse.encoding import CheckedText

_PIECE_BYTES = 2**20


def store_text(path: Path, target: Path) -> Contents:
    """Check a text and write its stored form: its bytes, without a byte order mark.

    Raises:
        RefusedFile: it is not UTF-8, or holds a NUL byte.
    """
    seen = np.zeros(0x110000, np.bool_)
    num_characters = num_bytes = 0
    with path.open("rb") as file:
        text = CheckedText(file)
        rest = b""
        while piece := text.read(_PIECE_BYTES):
            num_bytes += len(piece)
            whole, rest = _whole_characters(rest + piece)
            points = np.frombuffer(whole.decode().encode("utf-32-le"), np.uint32)
            seen[points] = True
            num_characters += len(points)
        num_lines = text.num_lines + (not text.tail.endswith(b"\n"))

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            again = CheckedText(file)
            while piece := again.read(_PIECE_BYTES):
                yield piece

    contents = Contents(
        "text",
        num_lines,
        (Column("text", "text"),),
        0,
        num_characters=num_characters,
        num_distinct_characters=int(seen.sum()),
        num_text_bytes=num_bytes,
    )
    return write_stored(target, contents, [Tensor("0", np.dtype(np.uint8), (num_bytes,), pieces)])


def _whole_characters(data: bytes) -> tuple[bytes, bytes]:
    """Cut UTF-8 bytes before a character that does not end in them."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:  # begins a character of 2, 3 or 4 bytes
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return (data[:-back], data[-back:]) if length > back else (data, b"")
    return data, b""
