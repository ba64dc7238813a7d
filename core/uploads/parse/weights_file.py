"""Files of weights in safetensors' format; the stored form is the file itself."""

import json
import re
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
"""Floats as they are stored: their bits as whole numbers, and the bits that are all 1 in NaN and infinities."""
_PIECE: Final = 2**18


def store_weights(path: Path, target: Path) -> Contents:
    """Check a file of weights and copy it to `target`.

    Raises:
        RefusedFile: its header does not describe its bytes, or a weight is not finite.
    """
    header = _header(path)
    header.pop("__metadata__", None)
    if not header:
        raise RefusedFile("no_rows", "The file has no tensors.")
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
        raise _refusal(str(error)) from None
    with path.open("rb") as file:
        text = file.read(int.from_bytes(file.read(8), "little"))
    try:
        return dict(json.loads(text, object_pairs_hook=_unique))
    except ValueError as error:
        raise _refusal(str(error)) from None


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
                raise _refusal("it ends too early")
            left -= len(bits)
            if bool(((bits & np.array(mask, bits.dtype)) == mask).any()):
                raise RefusedFile(
                    "not_finite",
                    f"Tensor {quoted(name)} has a weight that is NaN or infinite, and nothing can"
                    " be trained from it. Save the weights of a run that did not diverge.",
                    column=name,
                )
    return Column(name, _TORCH_NAMES[kind], tuple(entry["shape"]))


def _refusal(why: str) -> RefusedFile:
    named = re.search(r'(?:InvalidOffset|InvalidTensor|TensorNotFound)\("?([^")]*)', why)
    cut = "MetadataIncompleteBuffer" in why or "too early" in why
    return RefusedFile(
        "cut_file" if cut else "cannot_be_read",
        f"The file is no valid safetensors file: {why[:200]}. "
        + ("It may be cut; save it again." if cut else "Save it with safetensors' own functions."),
        column=named[1] if named else None,
    )
