"""The message of a delivery: its body in each format, and its signature.

Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks (version 1.0). Slack:
docs.slack.dev, "Sending messages using incoming webhooks" and "Formatting message text". Discord:
docs.discord.com, "Execute webhook" and "Allowed mentions object". Feishu, DingTalk, WeCom: what
open.feishu.cn, open.dingtalk.com and developer.work.weixin.qq.com say of robots of groups.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final, assert_never

from core.specs.base import Json
from core.specs.webhooks.fields import Format
from core.webhooks.delivery import Delivery

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
LONGEST_TEXT: Final = 400
"""Characters of a message to a chat: WeCom takes 2,048 bytes, which is less than all others."""
LONGEST_NAME: Final = 80
MOST_LABELS: Final = 5
_SHARED: Final = (
    "name", "labels", "parent_id", "result", "error", "created_at", "started_at", "finished_at"
)  # fmt: skip
_OF_JOBS: Final = ("status", "outcome", "verdict", *_SHARED)
_OF_STUDIES: Final = ("status", "num_runs", *_SHARED)
"""Fields of the record that a message tells; null where it has none."""


def new_secret() -> str:
    """Return a fresh secret to sign with: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a message as Standard Webhooks has it: `v1,` and HMAC-SHA256 in base64.

    Raises `ValueError`: the secret is none.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64") from None
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers_of(
    delivery: Delivery, body: bytes, all_secrets: Iterable[str], timestamp: int
) -> dict[str, str]:
    """Return the headers of a try; all secrets sign, so that one can be replaced by another while
    both are known."""
    signatures = (signature(each, delivery.id, timestamp, body) for each in all_secrets)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Thalweg-Webhooks/1",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def body_of(delivery: Delivery) -> bytes:
    """Write the body; it follows from the record alone, so that each try sends the same."""
    text = escaped(delivery.format, _words(delivery))
    found: Json
    match delivery.format:
        case "standard":
            found = {
                "type": delivery.type,
                "timestamp": delivery.created_at,
                "data": data_of(delivery),
            }
        case "slack":
            found = {
                "text": text,
                "mrkdwn": False,
                "link_names": False,
                "unfurl_links": False,
                "unfurl_media": False,
            }
        case "discord":
            found = {"content": text, "allowed_mentions": {"parse": []}, "flags": 4}
        case "feishu":
            found = {"msg_type": "text", "content": {"text": text}}
        case "dingtalk":
            found = {
                "msgtype": "text",
                "text": {"content": text},
                "at": {"atMobiles": [], "atUserIds": [], "isAtAll": False},
            }
        case "wecom":
            lists: Json = {"mentioned_list": [], "mentioned_mobile_list": []}
            found = {"msgtype": "text", "text": {"content": text, **lists}}
        case _:
            assert_never(delivery.format)
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def data_of(delivery: Delivery) -> Json:
    """Return what a standard message says of a job or study, in strict JSON: what is not finite is
    a word."""
    if delivery.subject is None:
        return {"id": None, "message": "A trial: nothing happened."}
    is_study = delivery.subject.startswith("study_")
    names = _OF_STUDIES if is_study else _OF_JOBS
    if delivery.type == "job.verdict_changed":
        names = (*names, "previous_verdict")
    told = {name: delivery.data.get(name) for name in names}
    links = {"self": f"/v1/{'studies' if is_study else 'jobs'}/{delivery.subject}"}
    return {"id": delivery.subject, **_strict(told), "links": links}


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list) else value


_WORDS: Final = {
    "diverged": "has diverged",
    "target_reached": "has reached its target",
    "verdict_changed": "has another verdict",
}


def _words(delivery: Delivery) -> str:
    """Tell the event in a line."""
    data = delivery.data
    noun, _, what = delivery.type.partition(".")
    if delivery.subject is None:
        return "Thalweg: a trial of this webhook."
    name = plain(data.get("name") or "", LONGEST_NAME)
    called = f"{name} ({delivery.subject})" if name else delivery.subject
    text = f"{noun.capitalize()} {called} {_WORDS.get(what, what)}"
    more = [str(data[key]) for key in ("outcome", "verdict") if data.get(key)]
    result = data.get("result") or {}
    for key, words in (("final_loss", "loss"), ("num_steps", "steps")):
        if isinstance(value := result.get(key), (int, float)):
            more.append(
                f"{words} {value:.6g}" if isinstance(value, float) else f"{value:,} {words}"
            )
    if isinstance(message := (data.get("error") or {}).get("message"), str):
        more.append(plain(message, LONGEST_NAME))
    labels = list((data.get("labels") or {}).items())[:MOST_LABELS]
    more += [f"{key}: {plain(value, LONGEST_NAME // 2)}" for key, value in labels]
    return f"{text}: {', '.join(more)}" if more else text


def plain(text: str, longest: int) -> str:
    """Return a text in one line: without control characters and those that turn or hide others,
    and cut."""
    shown = (
        " " if unicodedata.category(each)[0] in "CZ" else each
        for each in text
        if unicodedata.category(each) != "Cf"
    )
    line = " ".join("".join(shown).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


_MENTION: Final = "@\u200b"
"""An @ after which no name begins."""
_WIDE: Final = {"<": "＜", ">": "＞", "&": "＆", "@": _MENTION}
"""Signs that look alike, for chats whose texts know no escapes."""
_ESCAPES: Final[Mapping[Format, Mapping[str, str]]] = {
    "standard": {},
    "slack": {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": _MENTION},
    "discord": {**{each: "\\" + each for each in "\\*_~`|>#-[]()<:"}, "@": _MENTION},
    "feishu": _WIDE,
    "dingtalk": _WIDE,
    "wecom": _WIDE,
}


def escaped(format_: Format, text: str) -> str:
    """Escape a text for a chat, so that it is shown as it is, and mentions nobody; cut before, so
    that no escape is cut in two."""
    table = str.maketrans(dict(_ESCAPES[format_]))
    return text[:LONGEST_TEXT].translate(table)


def refusal_in(format_: Format, body: bytes) -> str | None:
    """Read in the body of a 200 that a chat has refused the message, as some do; None: it took
    it."""
    names = _CODES.get(format_)
    if names is None:
        return None
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(reply, dict):
        return None
    code = next((reply[name] for name in names if name in reply), 0)
    return None if code == 0 else f"the chat refused it with the code {str(code)[:20]}"


_CODES: Final[Mapping[Format, tuple[str, ...]]] = {
    "feishu": ("code", "StatusCode"),
    "dingtalk": ("errcode",),
    "wecom": ("errcode",),
}
