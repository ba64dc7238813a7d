"""Moved to `core.spec.structure`."""

from core.spec.structure import (
    CPU_STACK_BYTES,
    GPU_STACK_BYTES,
    NOT_FUSED,
    bytes_per_run,
    fusable,
    groups,
    stacks,
    structure_key,
)

__all__ = [
    "CPU_STACK_BYTES",
    "GPU_STACK_BYTES",
    "NOT_FUSED",
    "bytes_per_run",
    "fusable",
    "groups",
    "stacks",
    "structure_key",
]
