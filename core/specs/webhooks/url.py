"""The URL of a webhook: what it may be, and what of it is shown.

A URL is a secret as a rule: whoever has it can post there. So no message quotes it, and replies
show its origin.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from core.addresses import Address, Networks, is_listed, literal, refusal
from core.specs.base import Json
from core.specs.validation.errors import FieldErrorList
from core.specs.validation.limits import Limits
from core.specs.webhooks.fields import MOST_CHARACTERS, JobWebhook, StudyWebhook

_CHARACTERS: Final = re.compile(r"[!#-;=?-\[\]_a-z~]+")
"""Printable ASCII but for what no URL has: spaces, quotation marks, \\, ^, `, {, |, }, < and >."""
_ESCAPES: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABELS: Final = re.compile(r"(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*"
                            r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?")  # fmt: skip

_BRACKETED: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


class Mistake(NamedTuple):
    """A mistake in a URL; the message continues "webhook.url …"."""

    code: str
    message: str


def origin_of(url: str) -> str:
    """Return scheme, host and port: what replies show of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_shortened(url: str) -> bool:
    """Tell whether a URL is as replies show it: nothing follows its host and port."""
    return re.fullmatch(r"https?://[^/?#]*", url, re.IGNORECASE) is not None


def mistake_in(url: str, listed: Networks) -> Mistake | None:
    """Say what is wrong with a URL that is to be posted to; None: nothing that can be told before
    its name is looked up.

    Args:
        listed: networks that the operator lets webhooks reach whatever they are; http is for them
            alone.
    """
    if is_shortened(url):
        return Mistake(
            "shortened",
            "has no path: it is what replies show in the place of the whole URL. Give the whole one"
            " (with / where it has no path), or leave the spec's out by making the copy with"
            ' {"from": id, "patch": {…}}, which keeps it',
        )
    parts = _parts_of(url)
    if isinstance(parts, Mistake):
        return parts
    try:
        address = literal(parts.hostname or "")
    except ValueError:
        return Mistake("malformed", "has a host that is neither a name nor an address")
    if parts.scheme == "http" and (why := _no_http(address, listed)) is not None:
        return why
    if address is None and _is_this_machine(parts.hostname or "", listed):
        return Mistake("address_refused", f"leads to this machine; {_LIST_IT}")
    if address is not None and (what := refusal(address, listed)) is not None:
        return Mistake("address_refused", f"leads to {address}, {what}; {_LIST_IT}")
    return None


_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_LIST_IT: Final = (
    "webhooks reach public addresses, and those that the operator lists in THALWEG_WEBHOOK_ALLOW"
)


def _is_this_machine(name: str, listed: Networks) -> bool:
    """Tell whether a name can only be of loopback (RFC 6761 6.3), of which nothing is listed."""
    bare = name.lower().removesuffix(".")
    is_local = bare == "localhost" or bare.endswith(".localhost")
    return is_local and not any(is_listed(each, listed) for each in _LOOPBACK)


def _no_http(address: Address | None, listed: Networks) -> Mistake | None:
    if (address is None and listed) or (address is not None and is_listed(address, listed)):
        return None
    return Mistake(
        "https_required",
        "must begin with https://; http:// is for addresses that the operator lists in"
        " THALWEG_WEBHOOK_ALLOW",
    )


def _parts_of(url: str) -> SplitResult | Mistake:
    if len(url) > MOST_CHARACTERS:
        return Mistake("too_long", f"must have at most {MOST_CHARACTERS:,} characters")
    if _CHARACTERS.fullmatch(url) is None or _ESCAPES.search(url):
        return Mistake(
            "malformed",
            "must be a URL in ASCII, without spaces: write a name as xn--…, and other characters"
            " percent-encoded",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Mistake("malformed", "must be a URL such as https://example.org/hooks/1")
    if parts.scheme not in {"http", "https"}:
        return Mistake("malformed", "must begin with https://")
    if "@" in parts.netloc:
        return Mistake(
            "userinfo",
            "must not hold a user or password before its host: put a secret into path or query",
        )
    if "#" in url:
        return Mistake("malformed", "must not have a fragment (#…), which is never sent")
    if "%" in parts.netloc:
        return Mistake("malformed", "must not name a zone (%…) of an address")
    bracketed = _BRACKETED.fullmatch(parts.netloc)
    is_host = bracketed or _LABELS.fullmatch(parts.netloc.partition(":")[0])
    if port == 0 or parts.netloc.endswith(":") or not is_host:
        return Mistake(
            "malformed", "must have a host, and a port from 1 to 65535 where it names one"
        )
    return parts


def check_webhook(
    webhook: JobWebhook | StudyWebhook, limits: Limits, faults: FieldErrorList
) -> None:
    """Check a webhook as it is posted. What was stored, and is read again, was accepted before, and
    its URL is shortened."""
    mistake = None if limits.stored else mistake_in(webhook.url, limits.webhook_allow)
    if mistake is not None:
        faults.add("webhook.url", mistake.code, f"webhook.url {mistake.message}")
    if len(set(webhook.events)) < len(webhook.events):
        twice = next(each for each in webhook.events if webhook.events.count(each) > 1)
        faults.add(
            "webhook.events", "repeated", f"webhook.events names {twice} twice: name it once"
        )


def shown_spec(spec: Json) -> Json:
    """Return a job's or study's spec as it is stored and shown: of its webhook's URL the origin."""
    webhook = spec.get("webhook")
    if webhook is None:
        return spec
    return {**spec, "webhook": {**webhook, "url": origin_of(webhook["url"])}}


def whole_spec(spec: Json, url: str | None) -> Json:
    """Return a stored spec with its webhook's whole URL, for a copy to be made of it."""
    webhook = spec.get("webhook")
    if webhook is None or url is None:
        return spec
    return {**spec, "webhook": {**webhook, "url": url}}
