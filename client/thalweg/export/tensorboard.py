"""Histories as TensorBoard's event files.

An event file is a sequence of records (TFRecord: length, masked CRC-32C of the length, content,
masked CRC-32C of the content), each of them an `Event` in Protocol Buffers' encoding. Of its fields
these are written: 1 `wall_time` (double), 2 `step` (int64), 3 `file_version` (string), 5 `summary`,
which has for each scalar a field 1 `value` with 1 `tag` (string) and 2 `simple_value` (float).
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thalweg.history import AXES

if TYPE_CHECKING:
    from thalweg.history import History

_POLYNOMIAL: Final = 0x82F63B78
"""CRC-32C (Castagnoli), bits reversed."""


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE: Final = _table()


def checksum(content: bytes) -> int:
    """Return the masked CRC-32C of a record."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """Return a record of an event file."""
    length = struct.pack("<Q", len(content))
    sums = struct.pack("<I", checksum(length)), struct.pack("<I", checksum(content))
    return length + sums[0] + content + sums[1]


def varint(value: int) -> bytes:
    """Return an integer in Protocol Buffers' encoding; a negative one takes ten bytes."""
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def text(field: int, content: bytes) -> bytes:
    """Return a field whose value is bytes."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def write(histories: "Mapping[str, History]", folder: Path, at: float | None = None) -> Path:
    """Write the histories of one job into an event file; return it.

    Each series with a number a row becomes the tag `KIND/SERIES`. `at`: the time of the first row,
    in seconds since 1970; left out: now. With the series `time_s` rows have their own times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time() if at is None else at
    path = folder / f"events.out.tfevents.{int(began)}.thalweg.{os.getpid()}.{time.time_ns()}"
    with path.open("xb") as file:
        stamp = b"\x09" + struct.pack("<d", began)
        file.write(record(stamp + text(3, b"brain.Event:2")))
        for kind, history in histories.items():
            file.writelines(_rows(kind, history, began))
    return path


def _rows(kind: str, history: "History", began: float) -> list[bytes]:
    columns = {name: values for name, values in history.columns().items() if name not in AXES}
    if "step" not in history or not columns:
        return []
    steps = history["step"].tolist()
    times = history["time_s"].tolist() if "time_s" in history else [0.0] * len(steps)
    # Summary.Value: the tag, and a float behind the key 0x15 (field 2, four bytes).
    heads = [text(1, f"{kind}/{name}".encode()) + b"\x15" for name in columns]
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    found = []
    for step, at, row in zip(steps, times, rows, strict=True):
        summary = b"".join(
            text(1, head + struct.pack("<f", _single(value)))
            for head, value in zip(heads, row, strict=True)
        )
        head = b"\x09" + struct.pack("<d", began + at) + b"\x10" + varint(step)
        found.append(record(head + text(5, summary)))
    return found


def _single(value: float) -> float:
    """Return a number that a float of four bytes can hold: what is too large becomes infinite."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value
