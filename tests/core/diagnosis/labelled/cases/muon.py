"""Muon, whose updates all have about the same length: rates from 10⁻⁴ to 10² of the best one."""

from collections.abc import Iterator

from tests.core.diagnosis.labelled.case import TOO_LARGE, Case, Json, supervised, synthetic

STEPS = 300


def cases() -> Iterator[Case]:
    """The best rate by the last training losses was found on a grid, by training once."""
    problems: list[tuple[str, Json | str, list[int], float]] = [
        ("digits", "digits", [32], 0.02),
        ("spirals", synthetic("spirals", 1, num_samples=600, noise=0.05), [32, 32], 0.02),
        ("circles", synthetic("circles", 5, num_samples=500), [16], 0.05),
        ("moons", synthetic("moons", 4, num_samples=500), [16], 0.03),
    ]
    for name, data, hidden, best in problems:
        for power in (0, -1, -3, -4, 2):
            label, why, also = _expected(power, best)
            optimizer = {"kind": "muon", "lr": best * 10.0**power}
            yield Case(
                f"Muon on {name} at 1e{power} of the best rate",
                "Muon",
                label,
                why,
                supervised(data, hidden, optimizer, STEPS),
                also,
            )


def _expected(power: int, best: float) -> tuple[str, str, frozenset[str]]:
    """The label, its argument, and what the argument leaves open."""
    rate = best * 10.0**power
    if power > 0:
        why = f"Each update has singular values near {rate:g}, the first weights near 1: one update"
        return "oscillating", f"{why} replaces them, and the next one does so again.", TOO_LARGE
    if power <= -3:
        why = f"{STEPS} updates with singular values near {rate:g} move the weights by at most"
        return "too_slow", f"{why} {STEPS * rate:.2g} of the several that are needed.", frozenset()
    why = "The best rate or a tenth of it: the loss falls well."
    return "healthy", why, frozenset({"converged"})
