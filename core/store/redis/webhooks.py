"""Deliveries of webhooks, and the secrets that sign them, on Redis: the API's side, a courier's in
a worker, and that of the command line."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import delivery_not_found
from core.ids import MESSAGE_PREFIX, new_id, rfc3339, utc_now
from core.specs.base import Json
from core.specs.webhooks.fields import TEST_EVENT, Format
from core.store.calls.codec import Fields, columns_of, dumps, fields_of
from core.store.calls.list import matching_ids
from core.store.calls.nouns import hash_in, record_key
from core.store.connection.client import AsyncClient, SyncClient, call_script, command
from core.store.protocols.types import JobFilter
from core.store.protocols.webhooks import ClaimedDelivery, DeliveryPage, Secret
from core.webhooks.delivery import (
    MOST_OF_OWNER,
    MOST_TO_ORIGIN,
    MOST_TRIES,
    Delivery,
    DeliveryStatus,
)
from core.webhooks.message import new_secret

_COLUMNS: Final = columns_of(Delivery)
_COPY: Final = "of:"
_JSON: Final = frozenset({"labels", "error", "result", "num_runs"})
"""Fields of the copy that hold JSON."""
MOST_ENDED: Final = 100_000
"""Deliveries that have ended and stay in the log."""
_SECRETS: Final = "webhook:secrets"
_MADE: Final = "webhook:secrets:made"


def decode_delivery(fields: Fields) -> Delivery:
    """Read the record in a message's hash."""
    data: Json = {}
    for key, value in fields.items():
        if key.startswith(_COPY):
            name = key.removeprefix(_COPY)
            data[name] = json.loads(value) if name in _JSON else value.decode() or None
    known = {name: read(fields[key]) for key, (name, read) in _COLUMNS.items() if key in fields}
    return Delivery(**known, data=data, once="once" in fields)


class AsyncRedisWebhooks:
    """The `core.store.protocols.webhooks.ApiWebhooks` on one Redis server."""

    def __init__(self, link: AsyncClient) -> None:
        self._link = link

    async def has_secret(self) -> bool:
        return bool(await self._link.call(command("EXISTS", self._link.key(_SECRETS))))

    async def get(self, id_: str) -> Delivery:
        answer = await self._link.call(command("HGETALL", record_key(self._link.key(), id_)))
        if not answer:
            raise delivery_not_found(id_)
        return decode_delivery(hash_in(answer))

    async def list(
        self,
        statuses: Sequence[DeliveryStatus],
        of: Mapping[str, str],
        limit: int,
        after_id: str | None,
    ) -> DeliveryPage:
        labels = tuple(of.items())
        where = JobFilter(statuses=tuple(statuses), labels=labels)
        ids = await matching_ids(self._link.call, MESSAGE_PREFIX, where, limit, after_id)
        namespace = self._link.key()
        reads = [command("HGETALL", record_key(namespace, id_)) for id_ in ids[:limit]]
        answers = await self._link.calls(reads) if reads else []
        found = tuple(decode_delivery(hash_in(answer)) for answer in answers if answer)
        return DeliveryPage(found, len(ids) > limit)

    async def send_trial(self, url: str, format_: Format, owner: str | None) -> Delivery:
        call = call_script("try_webhook", TEST_EVENT, url, format_, owner or "")
        return decode_delivery(hash_in(await self._link.call(call)))

    async def redeliver(self, id_: str) -> Delivery:
        match await self._link.call(call_script("redeliver", id_)):
            case [b"ok", record]:
                return decode_delivery(fields_of(record))
            case _:
                raise delivery_not_found(id_)


class RedisWebhooks:
    """The `core.store.protocols.webhooks.WorkerWebhooks` on one Redis server."""

    def __init__(self, link: SyncClient) -> None:
        self._link = link
        self._num_passed = 0
        """Number of due ones that the next look passes over: none of them could be taken."""

    def claim(
        self, most: int, lease_s: float, age_s: float, under_way: Sequence[Delivery] = ()
    ) -> tuple[Sequence[str], Sequence[ClaimedDelivery]]:
        times = (most, round(1000 * lease_s), round(1000 * age_s), MOST_ENDED)
        held = Counter(share for each in under_way for share in each.shares)
        words = (*times, MOST_TO_ORIGIN, MOST_OF_OWNER, self._num_passed)
        shares = (word for pair in held.items() for word in pair)
        answer = self._link.call(call_script("claim_messages", *words, *shares))
        self._num_passed, count, *rest = answer
        claims = []
        for flat in rest[count:]:
            fields = fields_of(flat)
            claims.append(ClaimedDelivery(decode_delivery(fields), int(fields["token"])))
        return [each.decode() for each in rest[:count]], claims

    def settle(self, claim: ClaimedDelivery, delivery: Delivery, due_in_s: float | None) -> bool:
        due_ms = "" if due_in_s is None else round(1000 * due_in_s)
        tries = dumps(list(delivery.tries[-MOST_TRIES:]))
        words = (delivery.id, claim.token, delivery.status, due_ms, delivery.num_tries, tries)
        answer: Any = self._link.call(call_script("settle_message", *words))
        return bool(answer[0] == b"ok")


class RedisSecrets:
    """The secrets that sign messages, as operators make and revoke them."""

    def __init__(self, url: str, namespace: str) -> None:
        self._link = SyncClient(url, namespace, "thalweg-webhooks")

    def disconnect(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._link.disconnect()

    def add(self) -> tuple[Secret, str]:
        """Make a secret, and return it; from now on it signs."""
        text = new_secret()
        made = Secret(new_id("whs"), rfc3339(utc_now()))
        self._link.calls(
            [
                command("HSET", self._link.key(_MADE), made.id, made.created_at),
                command("HSET", self._link.key(_SECRETS), made.id, text),
            ]
        )
        return made, text

    def list(self) -> Sequence[Secret]:
        """List the secrets, the oldest first; not what they are."""
        ids, made = self._link.calls(
            [
                command("HKEYS", self._link.key(_SECRETS)),
                command("HGETALL", self._link.key(_MADE)),
            ]
        )
        times = hash_in(made) if made else {}
        names = sorted(each.decode() for each in ids)
        return [Secret(name, times.get(name, b"").decode()) for name in names]

    def revoke(self, id_: str) -> bool:
        """Take a secret away; False: there is none with this id."""
        gone, _ = self._link.calls(
            [
                command("HDEL", self._link.key(_SECRETS), id_),
                command("HDEL", self._link.key(_MADE), id_),
            ]
        )
        return bool(gone)
