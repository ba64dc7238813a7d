"""Samples of a job's process: a row now and then of what it uses, as the store keeps them."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SERIES: Final = ("time_s", "cpu_percent", "memory_bytes", "device_percent", "device_memory_bytes")
"""Columns of a sample. `time_s`: seconds of training."""
Samples = Sequence[Sequence[float | None]]
"""Rows of `SERIES`. None: not known."""


def samples_name(job_id: str) -> str:
    """Return the name of a job's samples."""
    return f"{job_id}:system"


def pack_samples(rows: Samples) -> list[bytes]:
    """Write rows as the store has them: NaN is what is not known."""
    return [
        np.array([math.nan if each is None else each for each in row], dtype="<f8").tobytes()
        for row in rows
    ]


def unpack_samples(found: Sequence[bytes]) -> dict[str, NDArray[np.float64]]:
    """Read columns by their names; NaN: not known."""
    table = np.frombuffer(b"".join(found), dtype="<f8").reshape(-1, len(SERIES))
    return {name: table[:, place] for place, name in enumerate(SERIES)}
