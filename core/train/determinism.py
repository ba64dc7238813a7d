"""Random numbers and threads that follow from the spec alone, never from what ran before or beside.

Every draw has a generator of its own, keyed by (seed, purpose, index), so that a run which is cut
and resumed, or which another worker takes over, draws the same numbers without having to know how
many were consumed before.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Purpose = Literal[
    "init", "order", "dropout", "start", "split", "data", "rotation", "slice", "probe",
    "initial_loss", "augment",
]  # fmt: skip
"""Purpose of a draw. Its index: `init` the parameter's number, `order` the epoch, `dropout`
and `augment` the step, `start`, `split`, `data`, `rotation` and `initial_loss` (its dropout) 0.
`split`, `data` and `rotation` have seeds of their own in the spec (`split_seed`, the generator's
`seed`, `rotation_seed`); the rest use the job's. `probe` makes the seed of the runs before the run,
which look for a rate: 0 the range test, 1 the race."""


def key(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Return a 64-bit seed that depends on all three (BLAKE2b of their text).

    torch's CPU generator (MT19937) uses the low 32 bits of a seed, its CUDA generator all 64.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(seed: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for the draws of `purpose` number `index`."""
    return torch.Generator().manual_seed(key(seed, purpose, index))


def set_deterministic(threads: int) -> None:
    """Make torch in this process use exactly `threads` threads and deterministic kernels only.

    The process must have been started with `OMP_DYNAMIC=FALSE` and `MKL_DYNAMIC=FALSE`, and for
    CUDA with `CUBLAS_WORKSPACE_CONFIG=:4096:8`.
    """
    torch.set_num_threads(threads)
    # `use_deterministic_algorithms` sets the same switch, and imports the compiler: 1.4 s.
    torch.set_deterministic_debug_mode("error")
    # Else this mode also fills every new tensor with NaN before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the block on one thread: for what is shared by jobs with different thread counts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
