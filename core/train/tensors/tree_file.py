"""Files of nested values with tensors: safetensors and JSON with a checksum, never pickle."""

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from torch import Tensor

from core.errors import ArtifactError
from core.formats import TASK, check_file
from core.train.tensors.tensor_file import parse, pieces, raw
from core.train.tensors.tree import Tree, flatten, unflatten


def encode(tree: Tree, kind: str, about: str = "") -> Iterator[bytes | memoryview]:
    """Return the file's bytes; the tree's tensors must not change meanwhile.

    Args:
        kind: what sort of file it is.
        about: what it belongs to; `decode` wants the same.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(flatten(tree, "", tensors))
    head = {"thalweg_population": str(TASK), "kind": kind, "about": about, "state": text}
    return pieces(tensors, {**head, "sha256": _digest(head, tensors)})


def decode(data: bytes, kind: str, device: str, about: str = "") -> Tree:
    """Return what `encode` was given, tensors on `device` where they were on one.

    Raises:
        ArtifactError: damaged, of a newer format, or another file than was expected.
    """
    tensors, metadata = parse(data)
    head = {name: metadata.get(name, "") for name in _HEAD}
    if not head["thalweg_population"] or head["kind"] != kind:
        raise ArtifactError(f"no {kind}")
    check_file(head["thalweg_population"], TASK, kind)
    if head["about"] != about:
        raise ArtifactError(f"a {kind} of another task")
    if metadata.get("sha256") != _digest(head, tensors):
        raise ArtifactError(f"damaged {kind}: its checksum does not hold")
    return unflatten(json.loads(head["state"]), tensors, device)


_HEAD: Final = ("thalweg_population", "kind", "about", "state")


def _digest(head: dict[str, str], tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256(json.dumps([head[name] for name in _HEAD]).encode())
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        for piece in raw(tensors[name]):
            found.update(piece)
    return found.hexdigest()
