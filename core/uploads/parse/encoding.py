"""Bytes of a text file, checked as they are read."""

import codecs
import re
from array import array
from typing import BinaryIO, Final

from core.uploads.contents import RefusedFile

_BLANK: Final = re.compile(rb"\n(?=\r?\n)")
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_TEXTS: Final = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip or an Excel file",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x93NUMPY": "an array of NumPy's",
    b"%PDF": "a PDF",
    b"SQLite": "a database",
}
"""First bytes of files that are sent as texts by mistake."""
MOST_BLANK_LINES: Final = 1_000_000


class CheckedText:
    """A file whose bytes are read on and found to be UTF-8 without NUL bytes. A byte order mark at
    its start is passed over.

    Attributes:
        num_lines: line ends so far.
        num_quotes: `"` so far.
        blank_lines: numbers of the lines that are blank, outside quotes, from 1.
        tail: the last bytes so far.
    """

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._at_start = True
        self.num_lines = 0
        self.num_quotes = 0
        self.blank_lines: array[int] = array("q")
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; none at the end of the file.

        Raises:
            RefusedFile: they are not UTF-8, or hold a NUL byte.
        """
        data = self._file.read(size)
        if self._at_start:
            data = self._begin(data, size)
        self._check(data)
        self._note(data)
        return data

    def _begin(self, data: bytes, size: int) -> bytes:
        self._at_start = False
        for magic, name in _NO_TEXTS.items():
            if data.startswith(magic):
                raise RefusedFile(
                    "cannot_be_read",
                    f"The file is no text: it begins as {name} does. Send it unpacked, or with its"
                    " own media type.",
                )
        if data.startswith(_UTF_16) or _is_utf_16(data[:1024]):
            raise RefusedFile(
                "wrong_encoding",
                "Row 1: the file is UTF-16, not UTF-8. Save it as UTF-8.",
                row=1,
            )
        if data.startswith(codecs.BOM_UTF8):
            data = data[3:] or self._file.read(size)
        self.tail = b"\n"  # so that a blank first line is one
        return data

    def _check(self, data: bytes) -> None:
        if b"\0" in data:
            self._refuse(data, data.index(b"\0"), "holds a NUL byte. Remove it")
        if data.isascii() and not self._decoder.getstate()[0]:
            return
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            if not data:
                row = self.num_lines + 1
                message = (
                    f"Row {row}, the last one, ends within a character: the file is cut, or is not"
                    " UTF-8. Upload it again, whole and as UTF-8."
                )
                raise RefusedFile("cut_file", message, row=row) from None
            at = min(error.start, len(data) - 1)
            byte = error.object[error.start]
            self._refuse(
                data,
                at,
                f"is not UTF-8 (byte 0x{byte:02x}). Save the file as UTF-8; it may be Latin-1 or"
                " Windows-1252",
            )

    def _refuse(self, data: bytes, at: int, why: str) -> None:
        row = self.num_lines + data[:at].count(b"\n") + 1
        before = data[max(0, at - 20) : at].rpartition(b"\n")[2]
        near = before + data[at : at + 20].partition(b"\n")[0]
        shown = repr(near.decode("utf-8", "backslashreplace").strip())
        raise RefusedFile("wrong_encoding", f"Row {row}, near {shown}, {why}.", row=row)

    def _note(self, data: bytes) -> None:
        if not data:
            return
        window = self.tail[-2:] + data
        if b"\n\n" in window or b"\n\r\n" in window:
            self._note_blank(window, len(window) - len(data))
        self.num_lines += data.count(b"\n")
        self.num_quotes += data.count(b'"')
        self.tail = data[-8:] if len(data) >= 8 else (self.tail + data)[-8:]

    def _note_blank(self, window: bytes, known: int) -> None:
        line = self.num_lines - window[:known].count(b"\n") + 1
        quotes = self.num_quotes - window[:known].count(b'"')
        at = 0
        for match in _BLANK.finditer(window):
            line += window.count(b"\n", at, match.end())
            quotes += window.count(b'"', at, match.end())
            at = match.end()
            new = not self.blank_lines or line > self.blank_lines[-1]
            if quotes % 2 == 0 and new and len(self.blank_lines) < MOST_BLANK_LINES:
                self.blank_lines.append(line)


def _is_utf_16(head: bytes) -> bool:
    """Tell whether every second byte is NUL, as in Latin text in UTF-16."""
    return len(head) >= 4 and any(
        half.count(0) > 0.4 * len(half) for half in (head[::2], head[1::2])
    )
