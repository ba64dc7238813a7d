"""The calls about deliveries of webhooks: the API's (async), and a courier's in a worker (sync)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.specs.webhooks.fields import Format
from core.webhooks.delivery import Delivery, DeliveryStatus


@dataclass(frozen=True)
class DeliveryPage:
    deliveries: tuple[Delivery, ...]
    has_more: bool


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that a courier is to try; `token` fences what it writes of it."""

    delivery: Delivery
    token: int


@dataclass(frozen=True)
class Secret:
    """A secret that signs messages, but for what it is."""

    id: str
    created_at: str


class ApiWebhooks(Protocol):
    """The API's side. Every call may raise `StoreUnavailableError`; what names a delivery raises
    `NotFoundError` where there is none."""

    async def has_secret(self) -> bool:
        """Tell whether there is any secret to sign with."""
        ...

    async def get(self, id_: str, /) -> Delivery: ...
    async def list(
        self,
        statuses: Sequence[DeliveryStatus],
        of: Mapping[str, str],
        limit: int,
        after_id: str | None,
    ) -> DeliveryPage:
        """List deliveries, the newest first.

        Args:
            of: what each must have: `of`, a job or study, and `owner`.
        """
        ...

    async def send_trial(self, url: str, format_: Format, owner: str | None) -> Delivery:
        """Have a trial sent, once."""
        ...

    async def redeliver(self, id_: str) -> Delivery:
        """Have a delivery tried again at once, whatever has become of it, and then for as long as a
        new one."""
        ...


class WorkerWebhooks(Protocol):
    """A courier's side. Calls raise `StoreUnavailableError`."""

    def claim(
        self, most: int, lease_s: float, age_s: float, under_way: Sequence[Delivery] = ()
    ) -> tuple[Sequence[str], Sequence[ClaimedDelivery]]:
        """Take deliveries whose time has come; nobody else has them for `lease_s`, and then
        somebody tries again. Returns the secrets that sign, too. Those that have ended `age_s` ago
        are forgotten.

        Args:
            under_way: what the caller has already: together with it no receiver, and no owner, has
                more than its share (`MOST_TO_ORIGIN`, `MOST_OF_OWNER`).
        """
        ...

    def settle(self, claim: ClaimedDelivery, delivery: Delivery, due_in_s: float | None) -> bool:
        """Write what came of a try: status and tries as `delivery` has them, and where it waits, in
        how many seconds it is due. False, and nothing done, where another has it by now."""
        ...
