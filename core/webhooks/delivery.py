"""The record of a delivery: one message to one webhook, and what came of it.

The store makes it in the script that makes its event come true, so that none is lost and none made
twice. It waits until a courier has posted it, and is tried again for a day. The message is the same
each time, its id too: a receiver that gets it twice can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Final, Literal, TypedDict, get_args

from core.ids import time_text
from core.jobs import APART, NUMBER, TEXT, Stored
from core.specs.base import Json
from core.specs.webhooks.fields import Format
from core.specs.webhooks.url import origin_of

DeliveryStatus = Literal["waiting", "delivered", "failed", "gone"]
"""`gone`: the receiver answered 410, and wants no more of this job or study."""
DELIVERY_STATUSES: Final[tuple[DeliveryStatus, ...]] = get_args(DeliveryStatus)

MOST_TO_ORIGIN: Final = 8
"""Deliveries that a courier sends to one scheme, host and port at a time."""
MOST_OF_OWNER: Final = 12
"""Deliveries of one owner that a courier sends at a time."""
MOST_TRIES: Final = 20
"""Tries that the log of a delivery keeps: the last."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 4 * 3_600.0
FACTOR: Final = 4.0
JITTER: Final = 0.2
"""Share by which a pause is drawn longer or shorter."""


class Try(TypedDict):
    """A try to deliver, as the log has it: `status_code` is the reply's, None where there was
    none; `error` says what went wrong, None: it was delivered."""

    at: str
    duration_s: float
    status_code: int | None
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """All that is stored of a delivery. As of `core.jobs.JobRecord`, this is the one place that
    names its fields.

    Attributes:
        id: of the message, the same in each try.
        type: the event, such as `job.succeeded`.
        url: whole; replies show its origin.
        since_ms: milliseconds since 1970 from which the time counts in which it is tried.
        subject: the job or study; None of a trial.
        owner: of the job or study; None: it has none.
        data: the record of the job or study at the event, as far as the message tells it.
        tries: the last of them; `num_tries` counts all.
        due_ms: when it is tried next; None once it has ended.
        once: it is tried once: a trial.
        version: grows with every change of the record.
    """

    id: Annotated[str, TEXT]
    status: Annotated[DeliveryStatus, TEXT]
    type: Annotated[str, TEXT]
    url: Annotated[str, TEXT] = field(repr=False)
    format: Annotated[Format, Stored("text", key="form")]
    created_at: Annotated[str, TEXT]
    since_ms: Annotated[int, NUMBER]
    subject: Annotated[str | None, TEXT] = None
    owner: Annotated[str | None, TEXT] = None
    data: Annotated[Json, APART] = field(default_factory=dict)
    tries: Annotated[tuple[Try, ...], Stored("list")] = ()
    num_tries: Annotated[int, NUMBER] = 0
    due_ms: Annotated[int | None, NUMBER] = None
    once: Annotated[bool, APART] = False
    version: Annotated[int, NUMBER] = 0

    @property
    def terminal(self) -> bool:
        """Tell whether nobody tries it any more."""
        return self.status != "waiting"

    @property
    def origin(self) -> str:
        """Scheme, host and port of its URL."""
        return origin_of(self.url)

    @property
    def shares(self) -> tuple[str, ...]:
        """The names of those whose share of a courier's places it counts to: its receiver's, its
        owner's."""
        to = f"to {self.origin.lower()}"
        return (to,) if self.owner is None else (to, f"of {self.owner}")

    @property
    def next_try_at(self) -> str | None:
        """The time of the next try."""
        return time_text(self.due_ms)


def pause_s(num_tries: int, draw: float) -> float:
    """Return the time to wait after so many tries: 2 s, then four times as long each time, up to
    four hours. `draw`: from 0 to 1, so that those that failed together do not come together
    again."""
    base = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * FACTOR ** min(num_tries - 1, 10))
    return base * (1 + JITTER * (2 * draw - 1))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read a reply's `Retry-After`, in seconds or as a date; None where there is none that can be
    read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def next_due_s(
    delivery: Delivery, now_s: float, asked_s: float | None, draw: float, retry_s: float
) -> float | None:
    """Return in how many seconds a delivery whose try has failed is tried again; None: no more.

    The last try is at the end of the time; one that the receiver asks to be later is not made.

    Args:
        delivery: the try that failed included.
        now_s: seconds since 1970.
        asked_s: what the reply's `Retry-After` says.
        retry_s: for how long it is tried.
    """
    left_s = delivery.since_ms / 1000 + retry_s - now_s
    if delivery.once or left_s <= 0 or (asked_s or 0.0) > left_s:
        return None
    return max(asked_s or 0.0, min(pause_s(delivery.num_tries, draw), left_s))
