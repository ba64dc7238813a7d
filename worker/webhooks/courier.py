"""The courier: sends what waits for webhooks, beside a worker's work and never in its way.

Every worker has one, and needs no agreement with the others: a delivery is taken for as long as a
try may last, and whoever dies with it leaves it to the next. So a message may arrive twice, with
the same id; none is lost while the store is there.
"""

import logging
import random
import threading
import time
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from core.addresses import networks_in
from core.errors import StoreUnavailableError
from core.ids import rfc3339, utc_now
from core.log import note
from core.settings import Settings
from core.store.protocols.webhooks import ClaimedDelivery, WorkerWebhooks
from core.webhooks.delivery import MOST_TRIES, Delivery, Try, next_due_s, retry_after_s
from core.webhooks.message import body_of, headers_of, refusal_in
from worker.webhooks.sending import Reply, SendError, post

log = logging.getLogger("thalweg.worker")

AT_ONCE: Final = 16
"""Deliveries that a worker sends at a time: more than go to one receiver, or are of one owner
(`core.webhooks.delivery`), so that those who are slow hold up no other."""
LOOK_EVERY_S: Final = 1.0
LOOKUP_S: Final = 5.0
"""Seconds that the looking-up of a name may take beside a try's own time."""
PATIENCE_S: Final = 2.0
"""Seconds for which the end of a worker waits for tries under way."""
GONE: Final = 410
NO_SECRET: Final = (
    "there is no secret to sign with any more: the operator makes one with `thalweg webhooks"
    " secret add`"
)


class Send(Protocol):
    """A function that posts, as `worker.webhooks.sending.post` does."""

    def __call__(self, url: str, body: bytes, headers: dict[str, str], /) -> Reply: ...


class Courier:
    """A thread that looks every second for deliveries whose time has come, and one for each that it
    sends."""

    def __init__(self, store: WorkerWebhooks, settings: Settings, send: Send | None = None) -> None:
        self._store = store
        self._settings = settings
        self._send = send or _sender(settings)
        self._under_way: dict[threading.Thread, Delivery] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin to look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look once more, since a worker may end with its job; what is under way has a moment to
        end. What is left, another worker sends."""
        self._stopping.set()
        self._thread.join()
        self.look()
        until = time.monotonic() + PATIENCE_S
        for thread in list(self._under_way):
            thread.join(max(0.0, until - time.monotonic()))

    def look(self) -> int:
        """Begin to send what is due, as far as there is a place for it; return how many."""
        places = AT_ONCE - len(self._under_way)
        if places <= 0:
            return 0
        lease_s = 2 * self._settings.webhook_timeout_s + LOOKUP_S
        age_s, under_way = self._settings.webhook_log_age_s, list(self._under_way.values())
        try:
            secrets, claims = self._store.claim(places, lease_s, age_s, under_way)
        except StoreUnavailableError:
            return 0
        for claim in claims:
            thread = threading.Thread(
                target=self._try_and_leave, args=(claim, tuple(secrets)), name="webhook",
                daemon=True,
            )  # fmt: skip
            self._under_way[thread] = claim.delivery
            thread.start()
        return len(claims)

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = 0
            try:
                begun = self.look()
            except Exception:
                log.exception("the courier stumbled")
            if self._stopping.wait(0.05 if begun else LOOK_EVERY_S):
                return

    def _try_and_leave(self, claim: ClaimedDelivery, secrets: tuple[str, ...]) -> None:
        try:
            self.deliver(claim, secrets)
        except StoreUnavailableError:
            pass  # whoever takes it next sends it once more
        except Exception:
            log.exception("%s: its delivery failed", claim.delivery.id)
        finally:
            self._under_way.pop(threading.current_thread(), None)

    def deliver(self, claim: ClaimedDelivery, secrets: tuple[str, ...]) -> Delivery:
        """Try a delivery once, and write down what came of it."""
        delivery = claim.delivery
        began, at = time.monotonic(), utc_now()
        reply, error = self._answer(delivery, secrets, at)
        status_code = None if reply is None else reply.status
        tried = Try(
            at=rfc3339(at),
            duration_s=round(time.monotonic() - began, 3),
            status_code=status_code,
            error=error,
        )
        tries = (*delivery.tries, tried)[-MOST_TRIES:]
        after = replace(delivery, tries=tries, num_tries=delivery.num_tries + 1)
        due_in_s = None
        if error is None:
            after = replace(after, status="delivered")
        elif status_code == GONE:
            after = replace(after, status="gone")
        else:
            due_in_s = self._due_in_s(after, reply)
            after = replace(after, status="failed" if due_in_s is None else "waiting")
        self._store.settle(claim, after, due_in_s)
        _tell(after, due_in_s)
        return after

    def _answer(
        self, delivery: Delivery, secrets: tuple[str, ...], at: datetime
    ) -> tuple[Reply | None, str | None]:
        """Send it. Returns the reply, where there was one, and what was wrong."""
        if not secrets:
            return None, NO_SECRET
        try:
            body = body_of(delivery)
            headers = headers_of(delivery, body, secrets, int(at.timestamp()))
            reply = self._send(delivery.url, body, headers)
        except SendError as error:
            return None, str(error)
        except Exception:  # counted as a try, so that it ends
            log.exception("%s cannot be sent", delivery.id)
            return None, "a fault in the service; the worker's log has the details"
        if 300 <= reply.status < 400:
            return reply, f"a redirect ({reply.status}) is not followed: give the URL it leads to"
        if not 200 <= reply.status < 300:
            return reply, f"the receiver answered {reply.status}"
        return reply, refusal_in(delivery.format, reply.body)

    def _due_in_s(self, delivery: Delivery, reply: Reply | None) -> float | None:
        now = utc_now()
        asked_s = None if reply is None else retry_after_s(reply.headers, now)
        retry_s = self._settings.webhook_retry_s
        return next_due_s(delivery, now.timestamp(), asked_s, random.random(), retry_s)


def _sender(settings: Settings) -> Send:
    listed, timeout_s = networks_in(settings.webhook_allow), settings.webhook_timeout_s

    def send(url: str, body: bytes, headers: dict[str, str], /) -> Reply:
        return post(url, body, headers, listed=listed, timeout_s=timeout_s)

    return send


def _tell(delivery: Delivery, due_in_s: float | None) -> None:
    """Log a try: of the URL the origin only."""
    last = delivery.tries[-1]
    of = delivery.subject or ""
    note(
        log,
        logging.INFO if delivery.status == "delivered" else logging.WARNING,
        f"webhook {delivery.id}: {delivery.status}",
        what="webhook",
        message=delivery.id,
        webhook_event=delivery.type,
        job_id=of if of.startswith("job_") else None,
        study_id=of if of.startswith("study_") else None,
        origin=delivery.origin,
        status_code=last["status_code"],
        error=last["error"],
        tries=delivery.num_tries,
        next_try_in_s=None if due_in_s is None else round(due_in_s, 1),
    )
