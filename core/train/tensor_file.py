"""safetensors files, written piece by piece and read whole.

The library's `save` builds the whole file in memory under the interpreter's lock; the pieces here
are views of the tensors themselves, and writing and hashing them lets the training loop run on.
Format (the safetensors documentation): 8 bytes of length, a JSON header, the data.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from core.errors import ArtifactError

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
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file in order. The tensors must not change meanwhile.

    The widest dtypes come first, so that every tensor is aligned to its own width.
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
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield from raw(tensors[name])


def raw(tensor: Tensor) -> Iterator[memoryview]:
    """The tensor's bytes, row by row; nothing for an empty one."""
    flat = tensor.detach().cpu().contiguous().view(-1)
    if flat.numel():
        yield flat.view(torch.uint8).numpy().data


def parse(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and metadata of a file's bytes.

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
