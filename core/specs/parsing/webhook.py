"""The body of `POST /v1/webhooks/test`: where a trial is sent."""

from core.errors import FieldError, InvalidInputError
from core.specs.base import Spec
from core.specs.parsing.body import read_as
from core.specs.validation.limits import Limits
from core.specs.webhooks.fields import Format, Url
from core.specs.webhooks.url import mistake_in


class WebhookTrial(Spec):
    """The body of `POST /v1/webhooks/test`."""

    url: Url
    """The whole URL, as in a job's `webhook`."""
    format: Format = "standard"
    """The form of the message, as in a job's `webhook`."""


def parse_trial(body: bytes, limits: Limits) -> WebhookTrial:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, value, mistakes = read_as(WebhookTrial, body)
    if asked is None and not isinstance(value, dict):  # it may be the URL: it is not quoted
        message = 'the body must be an object such as {"url": "https://example.org/hooks/1"}'
        raise InvalidInputError([FieldError("", "object_type", message)])
    url = value.get("url") if asked is None else asked.url
    known = any(error.param == "url" for error in mistakes)
    if isinstance(url, str) and not known and (wrong := mistake_in(url, limits.webhook_allow)):
        mistakes = [*mistakes, FieldError("url", wrong.code, f"url {wrong.message}")]
    if mistakes:
        raise InvalidInputError(mistakes)
    assert asked is not None
    return asked
