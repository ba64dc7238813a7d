"""Limits of what this service allows one job, or one study, to ask for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.addresses import Networks, networks_in

if TYPE_CHECKING:
    from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits that a spec is held against (`core.settings` describes them).

    Attributes:
        webhook_allow: networks that webhooks may reach whatever they are.
        stored: the spec, or the one that it was made from, was accepted before: what has been
            refused only since then is left as it is.
    """

    max_parameters: int = 200_000_000
    max_memory_bytes: int = 8 * 2**30
    max_history_bytes: int = 512 * 2**20
    max_samples: int = 10_000_000
    max_study_runs: int = 10_000
    max_study_steps: int = 1_000_000_000
    stored: bool = False
    webhook_allow: Networks = ()

    @classmethod
    def of(cls, settings: "Settings") -> "Limits":
        """Return the limits that the settings name."""
        return cls(
            max_parameters=settings.max_parameters,
            max_memory_bytes=settings.max_memory_bytes,
            max_history_bytes=settings.max_history_bytes,
            max_samples=settings.max_samples,
            max_study_runs=settings.max_study_runs,
            max_study_steps=settings.max_study_steps,
            webhook_allow=networks_in(settings.webhook_allow),
        )


NO_LIMITS: Final = Limits(*(2**63,) * 6, stored=True)
"""Limits of what was accepted before."""
