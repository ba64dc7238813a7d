"""Schemas of the replies about deliveries of webhooks."""

from typing import Annotated

from pydantic import Field

from api.http.schemas import Counter, Page, Time, View
from core.ids import JOB_PREFIX, MESSAGE_PREFIX, STUDY_PREFIX, pattern_of
from core.specs.webhooks.fields import Format
from core.webhooks.delivery import DeliveryStatus


class DeliveryAttempt(View):
    """An attempt to deliver a message."""

    at: Time
    duration_s: float
    """Seconds until it was over."""
    status_code: int | None
    """Status of the receiver's reply; null where there was none."""
    error: str | None
    """The reason why the message counts as not delivered; null: it is."""


class DeliveryLinks(View):
    self: str
    job: str | None
    """The job that it tells of."""
    study: str | None
    """The study that it tells of."""


class WebhookDelivery(View):
    """A message to a webhook, and what came of it."""

    id: Annotated[str, Field(pattern=pattern_of(MESSAGE_PREFIX))]
    """Id of the message, which every attempt sends as `webhook-id`."""
    status: DeliveryStatus
    """`waiting` for its next attempt; `delivered`; `failed` (nobody tries it any more), or `gone`:
    the receiver answered 410, and gets no more of this job or study."""
    event: str
    """The event, such as `job.succeeded`; `webhook.test` of a trial."""
    job_id: Annotated[str, Field(pattern=pattern_of(JOB_PREFIX))] | None
    """The job; null of a study and of a trial."""
    study_id: Annotated[str, Field(pattern=pattern_of(STUDY_PREFIX))] | None
    """The study; null of a job and of a trial."""
    url: str
    """Scheme, host and port of the URL; the rest of it may be a secret."""
    format: Format
    """The form of the message."""
    created_at: Time
    """The time of the event."""
    next_attempt_at: Time | None
    """The time of the next attempt; null once none is to come."""
    num_attempts: Counter
    """Attempts so far."""
    attempts: list[DeliveryAttempt]
    """The last 20 attempts, the oldest first."""
    links: DeliveryLinks


class WebhookDeliveryPage(Page):
    data: list[WebhookDelivery]
