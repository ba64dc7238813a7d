"""A temporary file for what is parsed, since a file's rows come in blocks and the stored form wants
each column whole."""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BUFFER_BYTES: Final = 16 * 2**20
LEAST_PIECE_BYTES: Final = 4096


class Spill:
    """Streams of bytes in one file, each put to in pieces and read back in order.

    A piece has a form, a small number by which its reader tells how the bytes are meant; pieces of
    one form that follow each other may come back as one. Pieces are kept in memory until there are
    `BUFFER_BYTES` (more for very many streams), so that each stream is read in long stretches.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._end = 0
        self._waiting: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._num_waiting = 0
        self._index: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))

    def put(self, stream: int, form: int, data: bytes) -> None:
        """Append a piece to a stream."""
        if not data:
            return
        self._waiting[stream].append((form, data))
        self._num_waiting += len(data)
        if self._num_waiting > max(BUFFER_BYTES, LEAST_PIECE_BYTES * len(self._waiting)):
            self._flush()

    def read(self, stream: int) -> Iterator[tuple[int, bytes]]:
        """Yield form and bytes of a stream's pieces, in order."""
        index = self._index[stream]
        for at in range(0, len(index), 3):
            form, start, length = index[at : at + 3]
            self._file.seek(start)
            yield form, self._file.read(length)
        yield from self._waiting[stream]

    def drop(self, stream: int) -> None:
        """Forget what a stream holds."""
        self._num_waiting -= sum(len(data) for _, data in self._waiting.pop(stream, ()))
        self._index.pop(stream, None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _flush(self) -> None:
        for stream, pieces in self._waiting.items():
            index = self._index[stream]
            at = 0
            while at < len(pieces):
                form, end = pieces[at][0], at
                while end < len(pieces) and pieces[end][0] == form:
                    end += 1
                data = b"".join(data for _, data in pieces[at:end])
                write_all(self._file.fileno(), data)
                index.extend((form, self._end, len(data)))
                self._end += len(data)
                at = end
        self._waiting.clear()
        self._num_waiting = 0


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes at the file's end."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]
