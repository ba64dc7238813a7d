"""Files of weights in safetensors' format; the stored form is the file itself."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from core.uploads.contents import MOST_COLUMNS, Column, Contents, RefusedFile, quoted

_TORCH_NAMES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_EXPONENTS: Final[dict[str, tuple[str, int]]] = {
    "F64": ("<u8", 0x7FF << 52),
    "F32": ("<u4", 0xFF << 23),
    "F16": ("<u2", 0x1F << 10),
    "BF16": ("<u2", 0xFF << 7),
}
"""Floats as whole numbers of the same bits, and the bits that are all 1 in NaN and infinities."""
_BITS: Final = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
}
MOST_HEADER_BYTES: Final = 100_000_000
_PIECE: Final = 2**18


def store_weights(path: Path, target: Path) -> Contents:
    """Check a file of weights and copy it to `target`.

    Raises:
        RefusedFile: its header does not describe its bytes, or a weight is not finite.
    """
    header = _header(path)
    header.pop("__metadata__", None)
    if not header:
        raise RefusedFile("no_rows", "The file has no tensors. Save some with safetensors.")
    if len(header) > MOST_COLUMNS:
        raise RefusedFile(
            "too_many_columns",
            f"The file has {len(header):,} tensors, and at most {MOST_COLUMNS:,} are read.",
        )
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        columns = tuple(_column(file, start, name, entry) for name, entry in header.items())
    shutil.copyfile(path, target)
    return Contents("weights", None, columns, path.stat().st_size)


def _header(path: Path) -> dict[str, Any]:
    """Return the header, which the library has found to describe the file."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _refusal(str(error), _blamed(path)) from None
    with path.open("rb") as file:
        text = file.read(int.from_bytes(file.read(8), "little"))
    try:
        return dict(json.loads(text, object_pairs_hook=_unique))
    except ValueError as error:
        raise _refusal(str(error), (None, False)) from None


def _blamed(path: Path) -> tuple[str | None, bool]:
    """Return the first tensor whose bytes are not as its header says, and whether it is that the
    file ends too early."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size:
            return None, length <= MOST_HEADER_BYTES
        text = file.read(length)
    try:
        header = json.loads(text)
        entries = [(n, *e["data_offsets"], e) for n, e in header.items() if n != "__metadata__"]
        at = 0
        for name, begin, end, entry in sorted(entries, key=lambda each: each[1:3]):
            bits = _BITS.get(entry["dtype"], 8 * (end - begin))
            if begin != at or 8 * (end - begin) != bits * int(
                np.prod(entry["shape"], dtype=object)
            ):
                return name[:200], False
            at = end
            if 8 + length + end > size:
                return name[:200], True
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # it is no header at all
    return None, False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(each for each in names if names.count(each) > 1)
        raise RefusedFile(
            "duplicate_column", f"Two tensors are named {quoted(name)}.", column=name[:200]
        )
    return found


def _column(file: Any, start: int, name: str, entry: dict[str, Any]) -> Column:
    kind = entry["dtype"]
    if kind not in _TORCH_NAMES:
        raise RefusedFile(
            "unsupported_type",
            f"Tensor {quoted(name)} is of the type {kind}; weights are one of"
            f" {', '.join(_TORCH_NAMES)}.",
            column=name,
        )
    if kind in _EXPONENTS:
        dtype, mask = _EXPONENTS[kind]
        begin, end = entry["data_offsets"]
        file.seek(start + begin)
        left = (end - begin) // np.dtype(dtype).itemsize
        while left:
            bits = np.fromfile(file, dtype, min(left, _PIECE))
            if not len(bits):
                raise _refusal("it ends too early", (name, True))
            left -= len(bits)
            if bool(((bits & np.array(mask, bits.dtype)) == mask).any()):
                raise RefusedFile(
                    "not_finite",
                    f"Tensor {quoted(name)} has a weight that is NaN or infinite, and nothing can"
                    " be trained from it. Save the weights of a run that did not diverge.",
                    column=name,
                )
    return Column(name, _TORCH_NAMES[kind], tuple(entry["shape"]))


def _refusal(why: str, blamed: tuple[str | None, bool]) -> RefusedFile:
    column, cut = blamed
    named = "" if column is None else f" (tensor {quoted(column)})"
    return RefusedFile(
        "cut_file" if cut else "cannot_be_read",
        f"The file is no valid safetensors file: {why[:200]}{named}. "
        + ("It is cut; save it again." if cut else "Save it with safetensors' own functions."),
        column=column,
    )
