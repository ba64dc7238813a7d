"""Extraction of weights from a file that holds more: of one run from those of many, or of a step
from what training goes on from. Only their bytes are read.

The stacked file is a safetensors file (8 bytes of length, a JSON header, the data) whose tensors
`<checkpoint>.<name>` have the runs along their first axis; what comes out is the plain safetensors
file that the run would have written alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.artifacts.base import JobArtifacts, OpenArtifact
from core.errors import ArtifactError
from core.formats import RESUME, WEIGHTS, check_file

_FIRST_READ: Final = 64 * 2**10
"""Holds the header of most files."""
_PIECE_BYTES: Final = 4 * 2**20
_MOST_HEADER_BYTES: Final = 100_000_000
"""The format's own limit."""


@dataclass(frozen=True)
class _Part:
    """A tensor's row: where its bytes lie in the file, and what it is."""

    name: str
    dtype: str
    shape: list[int]
    start: int
    length: int


def open_row(
    artifacts: JobArtifacts, name: str, row: int, checkpoint: str, metadata: Mapping[str, str]
) -> OpenArtifact:
    """Open the weights `checkpoint` of the run at `row`, as a file of their own.

    Args:
        name: of the stacked artifact.
        metadata: of the run; they go before those of the stacked file, which all its runs share.

    Raises:
        NotFoundError: there is no such artifact.
        ArtifactError: it cannot be read, is damaged, or has no such row. Reading raises it too.
    """
    header, data_start = read_header(artifacts, name)
    shared = header.pop("__metadata__", {})
    check_file(shared.get("thalweg_weights"), WEIGHTS, f"{name} holds weights")
    try:
        parts = [
            _part(key.removeprefix(f"{checkpoint}."), entry, row, data_start)
            for key, entry in header.items()
            if key.startswith(f"{checkpoint}.")
        ]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _damaged(name) from error
    if not parts:
        raise _damaged(name)
    # In the stacked file's order: widest numbers first, so that all stay aligned.
    parts.sort(key=lambda part: part.start)
    head = _head(parts, {**shared, **metadata})
    size = len(head) + sum(part.length for part in parts)
    return OpenArtifact(size, _pieces(artifacts, name, head, parts), lambda: None)


def open_resumed(artifacts: JobArtifacts, name: str, like: str, step: int) -> OpenArtifact:
    """Open the weights in a resume checkpoint, as a file of their own.

    Args:
        name: of the checkpoint, whose metadata say which tensor holds which weight.
        like: name of a file of weights of the same job, whose metadata hold of these too.
        step: of the checkpoint.

    Raises:
        NotFoundError: there is no such artifact.
        ArtifactError: it cannot be read, or is damaged. Reading raises it too.
    """
    header, data_start = read_header(artifacts, name)
    shared = read_header(artifacts, like)[0].get("__metadata__", {})
    try:
        saved = header["__metadata__"]
        check_file(saved["thalweg_resume"], RESUME, f"{name} holds a resume checkpoint")
        parts = []
        for weight, place in json.loads(saved["state"])["weights"]["dict"]:
            entry = header[place["tensor"]]
            begin, end = entry["data_offsets"]
            start = data_start + begin
            parts.append(_Part(weight, entry["dtype"], entry["shape"], start, end - begin))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(name) from error
    parts.sort(key=lambda part: part.start)
    head = _head(parts, {**shared, "step": str(step), "checkpoint": str(step)})
    size = len(head) + sum(part.length for part in parts)
    return OpenArtifact(size, _pieces(artifacts, name, head, parts), lambda: None)


def read_header(artifacts: JobArtifacts, name: str) -> tuple[dict[str, Any], int]:
    """Read the header of a safetensors file, and where its data begin. Raises `NotFoundError` and
    `ArtifactError`."""
    first = artifacts.read_range(name, 0, _FIRST_READ)
    end = 8 + int.from_bytes(first[:8], "little")
    if not 8 < end <= _MOST_HEADER_BYTES:
        raise _damaged(name)
    if len(first) < end:
        first += artifacts.read_range(name, len(first), end - len(first))
    try:
        header = json.loads(first[8:end])
    except ValueError as error:
        raise _damaged(name) from error
    if not isinstance(header, dict):
        raise _damaged(name)
    return header, end


def _part(name: str, entry: Mapping[str, Any], row: int, data_start: int) -> _Part:
    runs, *shape = entry["shape"]
    begin, end = entry["data_offsets"]
    if not 0 <= row < runs or (end - begin) % runs:
        raise ValueError(f"no row {row}")
    length = (end - begin) // runs
    return _Part(name, entry["dtype"], shape, data_start + begin + row * length, length)


def _head(parts: list[_Part], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for part in parts:
        header[part.name] = {
            "dtype": part.dtype,
            "shape": part.shape,
            "data_offsets": [offset, offset + part.length],
        }
        offset += part.length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(artifacts: JobArtifacts, name: str, head: bytes, parts: list[_Part]) -> Iterator[bytes]:
    yield head
    for part in parts:
        for offset in range(0, part.length, _PIECE_BYTES):
            wanted = min(_PIECE_BYTES, part.length - offset)
            piece = artifacts.read_range(name, part.start + offset, wanted)
            if len(piece) < wanted:
                raise _damaged(name)
            yield piece


def _damaged(name: str) -> ArtifactError:
    return ArtifactError(f"{name} does not hold these weights: it is damaged.")
