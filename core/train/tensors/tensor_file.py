"""safetensors files, written piece by piece and read whole.

The library's `save` builds the whole file in memory under the interpreter's lock; the large pieces
here are views of the tensors themselves, and writing and hashing them lets the training loop run
on. Small tensors are copied together: each piece takes the interpreter's lock from the loop once
more, which costs it more than a copy of them all.
Format (the safetensors documentation): 8 bytes of length, a JSON header, the data.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from core.errors import ArtifactError

SMALL: Final = 2**17
"""Bytes of a tensor from which its own piece pays."""

_DTYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pieces(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    known: Mapping[str, bytes | memoryview] | None = None,
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file in order. The tensors must not change meanwhile.

    The widest dtypes come first, so that every tensor is aligned to its own width.

    Args:
        known: the `contents` of all tensors, where they are at hand.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = known or {name: contents(tensor) for name, tensor in tensors.items()}
    yield from joined([len(text).to_bytes(8, "little"), text, *(data[name] for name in names)])


def joined(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes in order, in fewer pieces: neighbours smaller than `SMALL` become
    one."""
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < SMALL:
            small.append(part)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield part
    if small:
        yield b"".join(small)


def raw(tensor: Tensor) -> Iterator[bytes | memoryview]:
    """Yield the tensor's bytes, row by row; nothing for an empty one."""
    if tensor.numel():
        yield contents(tensor)


def contents(tensor: Tensor) -> bytes | memoryview:
    """Return the tensor's bytes, row by row: a copy of a small one, a view of a large one. The
    tensor must not change meanwhile."""
    if tensor.numel() * tensor.element_size() < SMALL and tensor.dtype is not torch.bfloat16:
        copy: bytes = tensor.numpy(force=True).tobytes()
        return copy
    flat = tensor.detach().cpu().contiguous().view(-1)
    view: memoryview = flat.view(torch.uint8).numpy().data
    return view


def parse(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (on the CPU) and metadata of a file's bytes.

    Raises:
        ArtifactError: it is no whole safetensors file.
    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ArtifactError(f"not a whole safetensors file: {error}") from error
    return tensors, metadata
