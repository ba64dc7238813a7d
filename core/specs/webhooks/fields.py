"""The webhook of a job or a study: where word of it is sent, of which events, and in which form."""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from core.specs.base import Spec

JobEvent = Literal[
    "job.started", "job.succeeded", "job.failed", "job.cancelled", "job.diverged",
    "job.verdict_changed", "job.target_reached",
]  # fmt: skip
StudyEvent = Literal[
    "study.started", "study.succeeded", "study.failed", "study.cancelled", "study.target_reached"
]
TEST_EVENT: Final = "webhook.test"
"""The event of a trial."""
Format = Literal["standard", "slack", "discord", "feishu", "dingtalk", "wecom"]

JOB_EVENTS: Final[tuple[JobEvent, ...]] = get_args(JobEvent)
STUDY_EVENTS: Final[tuple[StudyEvent, ...]] = get_args(StudyEvent)
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

MOST_CHARACTERS: Final = 2_048
Url = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class Webhook(Spec):
    """Fields that the webhooks of jobs and of studies have."""

    url: Url
    """The whole URL that is posted to, https. Replies show its origin only."""
    format: Format = "standard"
    """`standard` is JSON as Standard Webhooks has it; the others are messages as these chats take
    them."""


class JobWebhook(Webhook):
    """The webhook of a job."""

    events: Annotated[tuple[JobEvent, ...], Field(min_length=1, max_length=len(JOB_EVENTS))] = (
        "job.succeeded",
        "job.failed",
        "job.cancelled",
    )
    """Events of which word is sent. Default: each end. `job.diverged` and `job.target_reached` come
    beside `job.succeeded`."""


class StudyWebhook(Webhook):
    """The webhook of a study."""

    events: Annotated[tuple[StudyEvent, ...], Field(min_length=1, max_length=len(STUDY_EVENTS))] = (
        "study.succeeded",
        "study.failed",
        "study.cancelled",
    )
    """Events of which word is sent. Default: each end. `study.target_reached` comes beside
    `study.succeeded`, where the metric has a target and the best configuration reaches it."""
