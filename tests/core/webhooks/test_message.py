"""What is sent: the signature, and the form for each receiver."""

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from core.ids import new_id, utc_now
from core.specs.webhooks.fields import FORMATS, JOB_EVENTS, STUDY_EVENTS, Format
from core.webhooks.delivery import Delivery
from core.webhooks.message import (
    LONGEST_TEXT,
    body_of,
    escaped,
    headers_of,
    new_secret,
    plain,
    refusal_in,
    signature,
)

JOB_ID = "job_" + "0" * 26


def delivery(**changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "id": new_id("msg"),
        "status": "waiting",
        "type": "job.succeeded",
        "url": "https://example.org/x",
        "format": "standard",
        "created_at": "2026-11-22T10:15:30.123456Z",
        "since_ms": 0,
        "subject": JOB_ID,
        "data": {"status": "succeeded", "outcome": "converged", "labels": {"team": "vision"}},
    }
    return Delivery(**{**fields, **changes})


def text_in(found: dict[str, Any]) -> str:
    """The words of a message to a chat."""
    for path in (("text", "content"), ("content", "text"), ("text",), ("content",)):
        value: Any = found
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            return value
    raise AssertionError(found)


# The vector of the specification: standard-webhooks/spec/standard-webhooks.md.
def test_the_signature_is_that_of_the_specification() -> None:
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.integers(1, 4))
def test_the_independent_verifier_accepts_each_secret_alone(body: bytes, count: int) -> None:
    text = body.decode("latin-1")
    secrets = [new_secret() for _ in range(count)]
    body_json = json.dumps({"text": text}).encode()
    sent = headers_of(delivery(), body_json, secrets, int(utc_now().timestamp()))
    for each in secrets:
        assert Webhook(each).verify(body_json, sent) == {"text": text}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body_json, sent)


def test_a_secret_is_32_random_bytes_in_base64() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32
    with pytest.raises(ValueError, match="base64"):
        signature("whsec_***", "msg", 0, b"")


def test_a_standard_message_tells_the_record_in_strict_json() -> None:
    result = {"final_loss": math.inf, "best_loss": math.nan, "eval": {"loss": -math.inf}, "x": [1]}
    found = json.loads(
        body_of(delivery(data={"status": "succeeded", "outcome": "diverged", "result": result})),
        parse_constant=pytest.fail,
    )
    assert found == {
        "type": "job.succeeded",
        "timestamp": "2026-11-22T10:15:30.123456Z",
        "data": {
            "id": JOB_ID, "status": "succeeded", "outcome": "diverged", "verdict": None,
            "name": None, "labels": None, "parent_id": None,
            "result": {"final_loss": "Infinity", "best_loss": "NaN",
                       "eval": {"loss": "-Infinity"}, "x": [1]},
            "error": None, "created_at": None, "started_at": None, "finished_at": None,
            "links": {"self": f"/v1/jobs/{JOB_ID}"},
        },
    }  # fmt: skip


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("event", [*JOB_EVENTS, *STUDY_EVENTS, "webhook.test"])
def test_every_event_has_a_message_in_every_format(event: str, format_: Format) -> None:
    noun = event.partition(".")[0]
    subject = None if noun == "webhook" else f"{noun}_{'0' * 26}"
    each = delivery(type=event, subject=subject, format=format_)
    body = body_of(each)
    assert body == body_of(each), "each try sends the same"
    found = json.loads(body)
    if format_ == "standard":
        assert (found["type"], found["data"]["id"]) == (event, subject)
    elif subject is not None:
        assert subject.replace("_", "\\_" if format_ == "discord" else "_") in text_in(found)


def test_the_shapes_are_those_that_the_chats_document() -> None:
    shapes = {each: json.loads(body_of(delivery(format=each))) for each in FORMATS}
    text = f"Job {JOB_ID} succeeded: converged, team: vision"
    assert shapes["slack"] == {
        "text": text, "mrkdwn": False, "link_names": False, "unfurl_links": False,
        "unfurl_media": False,
    }  # fmt: skip
    assert shapes["discord"]["allowed_mentions"] == {"parse": []}
    assert shapes["discord"]["content"] == text.replace("_", "\\_").replace(":", "\\:")
    assert shapes["feishu"] == {"msg_type": "text", "content": {"text": text}}
    assert shapes["dingtalk"] == {
        "msgtype": "text", "text": {"content": text},
        "at": {"atMobiles": [], "atUserIds": [], "isAtAll": False},
    }  # fmt: skip
    assert shapes["wecom"] == {
        "msgtype": "text",
        "text": {"content": text, "mentioned_list": [], "mentioned_mobile_list": []},
    }


CHATS = [each for each in FORMATS if each != "standard"]
MENTIONS = (
    "@everyone", "@here", "@channel", "@all", "<!channel>", "<!here>", "<!everyone>", "<@U012>",
    "<@&99>", "<#C012>", '<at user_id="all">all</at>', "<at id=all></at>", "<@13800138000>",
    "<https://evil.example|click>",
)  # fmt: skip


@pytest.mark.parametrize("format_", CHATS)
@pytest.mark.parametrize("mention", MENTIONS)
def test_names_labels_and_errors_mention_nobody(format_: Format, mention: str) -> None:
    data = {
        "name": mention,
        "labels": {"team": mention},
        "error": {"message": mention},
        "outcome": None,
    }
    text = text_in(json.loads(body_of(delivery(format=format_, data=data))))
    assert mention not in text
    assert "@e" not in text.replace("@\u200b", "")
    if format_ == "discord":
        assert "<" not in text.replace("\\<", "")
    else:
        assert "<" not in text


@pytest.mark.parametrize("format_", CHATS)
@given(text=st.text(max_size=600))
def test_any_text_is_one_line_without_marks_and_short(format_: Format, text: str) -> None:
    data = {"name": text, "labels": {str(n): text for n in range(64)}, "error": {"message": text}}
    body = body_of(delivery(format=format_, data=data))
    shown = text_in(json.loads(body))
    assert shown.isprintable() or "\u200b" in shown
    assert "\n" not in shown
    assert "@" not in shown.replace("@\u200b", "")
    if format_ != "discord":
        assert "<" not in shown
    assert len(shown) <= 6 * LONGEST_TEXT
    if format_ == "wecom":
        assert len(shown.encode()) <= 2048
    if format_ == "discord":
        assert len(shown) <= 2000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\x00c\x1b[31m", "a b c [31m"),
        ("\u202eevil\u200b\ufeff", "evil"),
        ("  x\u2028y\u00a0z ", "x y z"),
        ("\ud800", ""),
        ("\u00e9\u4e2d\U0001f600", "\u00e9\u4e2d\U0001f600"),
    ],
)
def test_a_text_keeps_what_can_be_seen(text: str, shown: str) -> None:
    assert plain(text, 80) == shown


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 100, 10) == "x" * 9 + "…"
    assert escaped("slack", "&" * 1000) == "&amp;" * LONGEST_TEXT


@pytest.mark.parametrize(
    ("format_", "body", "is_refused"),
    [
        ("feishu", b'{"code":0,"msg":"success"}', False),
        ("feishu", b'{"StatusCode":0,"StatusMessage":"success"}', False),
        ("feishu", b'{"code":19024,"msg":"Key Words Not Found"}', True),
        ("dingtalk", b'{"errcode":0,"errmsg":"ok"}', False),
        ("dingtalk", b'{"errcode":310000,"errmsg":"sign not match"}', True),
        ("wecom", b'{"errcode":45009,"errmsg":"too often"}', True),
        ("wecom", b"<html>", False),
        ("wecom", b"[1]", False),
        ("wecom", b"[" * 4000, False),
        ("slack", b'{"errcode":1}', False),
        ("standard", b'{"code":1}', False),
    ],
)
def test_a_chat_that_refuses_with_a_200_is_heard(
    format_: Format, body: bytes, is_refused: bool
) -> None:
    assert (refusal_in(format_, body) is not None) == is_refused
