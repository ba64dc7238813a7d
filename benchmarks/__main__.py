"""`python -m benchmarks [NAME …]`: run the named figures, or all, and print one table."""

import argparse
from collections.abc import Callable

from benchmarks import accept, client, durability, imports, latency, rows, steps, studies
from benchmarks.table import Figure, show

FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "imports": imports.measure,
    "rows": rows.measure,
    "accept": accept.measure,
    "latency": latency.measure,
    "steps": steps.measure,
    "durability": durability.measure,
    "studies": studies.measure,
    "client": client.measure,
}


def main() -> None:
    """Measure and print; the exit status does not depend on the figures (machines are noisy)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FIGURES], help="figures to measure")
    names = parser.parse_args().names or list(FIGURES)
    show([figure for name in names for figure in FIGURES[name]()])


if __name__ == "__main__":
    main()
