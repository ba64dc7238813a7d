"""Time to import the API, in fresh interpreters, and proof that it brings no torch."""

import subprocess
import sys
from statistics import median

from benchmarks.table import Figure

PROGRAM = """
import sys, time
begin = time.perf_counter()
import api.asgi
took = time.perf_counter() - begin
assert "torch" not in sys.modules
print(took)
"""


def measure() -> list[Figure]:
    """Median of seven interpreters, after one that fills the file cache."""
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(8)
    ][1:]
    return [
        Figure(
            name="import api.asgi (no torch in it)",
            ours=f"{median(times):.2f} s",
            reference=f"slowest {max(times):.2f} s",
            value=median(times),
            goal=1.0,
            unit="s",
        )
    ]
