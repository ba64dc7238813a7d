"""The URL of a webhook: what is taken, what is refused, what is shown of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.addresses import networks_in
from core.errors import InvalidInputError
from core.specs.parsing.clone import JobClone, cloned
from core.specs.parsing.job import parse_job
from core.specs.studies.parse import parse_study
from core.specs.validation.limits import Limits
from core.specs.webhooks.fields import JOB_EVENTS, STUDY_EVENTS
from core.specs.webhooks.url import (
    is_shortened,
    mistake_in,
    origin_of,
    shown_spec,
    whole_spec,
)

JOB: dict[str, Any] = {
    "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
    "optimizer": {"kind": "sgd", "lr": 0.1},
}
STUDY: dict[str, Any] = {"base": JOB, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
LOOPBACK = networks_in("127.0.0.1")
SECRET = "T0PSECRET"

TAKEN = [
    "https://example.org/",
    "https://example.org/a/b?x=1&y=%20",
    "https://example.org?token=1",
    "https://EXAMPLE.org.:8443/x",
    "https://xn--80ak6aa92e.com/x",
    "https://8.8.8.8/x",
    "https://[2606:4700::1111]:8443/x",
    "https://my_host.internal/x",
]
REFUSED = {
    "https://example.org": "shortened",
    "HTTPS://example.org:8443": "shortened",
    "http://127.0.0.1:80": "shortened",
    "http://example.org/x": "https_required",
    "http://8.8.8.8/x": "https_required",
    "https://user:pass@example.org/x": "userinfo",
    "https://example.org:443@127.0.0.1/x": "userinfo",
    "https://@127.0.0.1/x": "userinfo",
    "https://example.org/x#y": "malformed",
    "https://example.org/x#": "malformed",
    "https://example.org:0/x": "malformed",
    "https://example.org:65536/x": "malformed",
    "https://example.org:/x": "malformed",
    "https://example.org:80:90/x": "malformed",
    "https:///x": "malformed",
    "https:/example.org/x": "malformed",
    "https:example.org/x": "malformed",
    "//example.org/x": "malformed",
    "ftp://example.org/x": "malformed",
    "file:///etc/passwd": "malformed",
    "javascript:alert(1)": "malformed",
    "https://exa mple.org/x": "malformed",
    " https://example.org/x": "malformed",
    "https://example.org/x\r\nHost: evil": "malformed",
    "https://example.org/\x00": "malformed",
    "https://example.org/\u00e9": "malformed",
    "https://\uff11\uff12\uff17.0.0.1/x": "malformed",
    "https://example.org\\@127.0.0.1/x": "malformed",
    "https://example.org/%zz": "malformed",
    "https://127.0.0.1%2f/x": "malformed",
    "https://[fe80::1%25eth0]/x": "malformed",
    "https://[::1/x": "malformed",
    "https://[::1]a/x": "malformed",
    "https://[example]/x": "malformed",
    "https://-a.org/x": "malformed",
    "https://a..org/x": "malformed",
    "https://1.2.3.4.5/x": "malformed",
    "https://127.0.0.1/x": "address_refused",
    "https://127.0.0.1./x": "address_refused",
    "https://2130706433/x": "address_refused",
    "https://0x7f000001/x": "address_refused",
    "https://0177.0.0.1/x": "address_refused",
    "https://127.1/x": "address_refused",
    "https://[::1]:9/x": "address_refused",
    "https://[::ffff:8.8.8.8]/x": "address_refused",
    "https://169.254.169.254/latest": "address_refused",
    "https://[64:ff9b::7f00:1]/x": "address_refused",
    "https://localhost/x": "address_refused",
    "https://LocalHost.:8443/x": "address_refused",
    "https://a.localhost/x": "address_refused",
    f"https://example.org/{'x' * 2048}": "too_long",
}


@pytest.mark.parametrize("url", TAKEN)
def test_a_url_of_a_public_receiver_is_taken(url: str) -> None:
    assert mistake_in(url, ()) is None


@pytest.mark.parametrize(("url", "code"), sorted(REFUSED.items()))
def test_another_url_is_refused_without_being_quoted(url: str, code: str) -> None:
    found = mistake_in(url, ())
    assert found is not None
    assert found.code == code
    assert "example.org/x" not in found.message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x", "https://127.1/x", "http://name.local/x", "http://localhost:9/x",
        "https://localhost/x",
    ],
)  # fmt: skip
def test_what_the_operator_lists_is_taken_and_by_http_too(url: str) -> None:
    assert mistake_in(url, LOOPBACK) is None


@pytest.mark.parametrize("url", ["http://127.0.0.2/x", "http://[::1]/x", "https://10.0.0.1/x"])
def test_a_list_is_for_what_is_on_it(url: str) -> None:
    assert mistake_in(url, LOOPBACK) is not None


@pytest.mark.parametrize("url", TAKEN)
def test_what_is_shown_of_a_url_is_its_origin_and_is_refused_when_it_comes_back(url: str) -> None:
    origin = origin_of(url)
    assert url.lower().startswith(origin.lower())
    assert "/" not in origin.removeprefix("https://")
    assert "?" not in origin
    assert is_shortened(origin)
    assert not is_shortened(url)


def posted(**webhook: Any) -> bytes:
    return json.dumps({**JOB, "webhook": webhook}).encode()


def refused(call: Any, *arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputError) as caught:
        call(*arguments)
    assert SECRET not in str([each.message for each in caught.value.errors])
    return [(each.param, each.code) for each in caught.value.errors]


def test_a_webhook_is_resolved_with_its_defaults() -> None:
    spec = parse_job(posted(url="https://example.org/x"), Limits())
    assert spec.webhook is not None
    assert spec.webhook.model_dump(mode="json") == {
        "url": "https://example.org/x",
        "format": "standard",
        "events": ["job.succeeded", "job.failed", "job.cancelled"],
    }
    again = parse_job(spec.model_dump_json().encode(), Limits())
    assert again == spec


@pytest.mark.parametrize(
    ("webhook", "mistake"),
    [
        ({}, ("webhook.url", "missing")),
        ({"url": 5}, ("webhook.url", "string_type")),
        ({"url": f"https://example.org/{SECRET * 400}"}, ("webhook.url", "string_too_long")),
        ({"url": f"http://example.org/{SECRET}"}, ("webhook.url", "https_required")),
        ({"url": f"https://10.0.0.1/{SECRET}"}, ("webhook.url", "address_refused")),
        ({"url": "https://example.org"}, ("webhook.url", "shortened")),
        ({"events": []}, ("webhook.events", "too_short")),
        ({"events": ["job.paused"]}, ("webhook.events.0", "unknown_value")),
        ({"events": ["webhook.test"]}, ("webhook.events.0", "unknown_value")),
        ({"events": "job.failed"}, ("webhook.events", "list_type")),
        ({"format": "irc"}, ("webhook.format", "unknown_value")),
        ({"secret": SECRET}, ("webhook.secret", "unknown_field")),
    ],
)
def test_a_mistaken_webhook_is_refused_alike_for_jobs_and_studies(
    webhook: dict[str, Any], mistake: tuple[str, str]
) -> None:
    whole = webhook if webhook in ({},) or "url" in webhook else {
        "url": f"https://example.org/{SECRET}", **webhook
    }  # fmt: skip
    job = {**JOB, "webhook": whole}
    study = {**STUDY, "webhook": whole}
    assert refused(parse_job, json.dumps(job).encode(), Limits()) == [mistake]
    assert refused(parse_study, json.dumps(study).encode(), Limits()) == [mistake]
    base = {**STUDY, "base": job}
    assert refused(parse_study, json.dumps(base).encode(), Limits())[0][0].startswith(
        "base.webhook"
    )


@pytest.mark.parametrize("webhook", [f"https://example.org/{SECRET}", [SECRET], 3, True])
def test_a_webhook_that_is_no_object_is_not_quoted(webhook: Any) -> None:
    job = {**JOB, "webhook": webhook}
    assert refused(parse_job, json.dumps(job).encode(), Limits()) == [("webhook", "object_type")]


def test_events_are_of_the_own_noun_and_named_once() -> None:
    url = "https://example.org/x"
    for event in STUDY_EVENTS:
        assert refused(parse_job, posted(url=url, events=[event]), Limits())
    for other in JOB_EVENTS:
        study = {**STUDY, "webhook": {"url": url, "events": [other]}}
        assert refused(parse_study, json.dumps(study).encode(), Limits())
    twice = posted(url=url, events=["job.failed", "job.failed"])
    assert refused(parse_job, twice, Limits()) == [("webhook.events", "repeated")]
    parse_job(posted(url=url, events=list(JOB_EVENTS)), Limits())


def test_a_mistaken_webhook_is_told_beside_a_mistaken_problem() -> None:
    body = {"problem": {"kind": "none"}, "optimizer": {"kind": "sgd"},
            "webhook": {"url": "http://example.org/x"}}  # fmt: skip
    params = [param for param, _ in refused(parse_job, json.dumps(body).encode(), Limits())]
    assert "webhook.url" in params
    assert "problem.kind" in params


def test_a_stored_spec_shows_the_origin_and_is_read_again() -> None:
    spec = parse_job(posted(url=f"https://example.org/{SECRET}"), Limits()).model_dump(mode="json")
    shown = shown_spec(spec)
    assert shown["webhook"]["url"] == "https://example.org"
    assert spec["webhook"]["url"].endswith(SECRET)
    parse_job(json.dumps(shown).encode(), replace(Limits(), stored=True))
    assert whole_spec(shown, spec["webhook"]["url"]) == spec
    bare = parse_job(json.dumps(JOB).encode(), Limits()).model_dump(mode="json")
    assert shown_spec(bare) is bare
    assert whole_spec(bare, None) is bare


def clone(patch: dict[str, Any]) -> JobClone:
    asked = {"from": "job_" + "0" * 26, "patch": patch}
    return JobClone.model_validate_json(json.dumps(asked))


@pytest.mark.parametrize(
    ("url", "code"),
    [("https://example.org", "shortened"), ("https://10.0.0.1/x", "address_refused")],
)
def test_a_copy_takes_no_other_url_that_is_none(url: str, code: str) -> None:
    spec = parse_job(posted(url="https://example.org/x"), Limits()).model_dump(mode="json")
    asked = clone({"webhook": {"url": url}})
    assert refused(cloned, spec, asked, Limits()) == [("webhook.url", code)]


def test_a_copy_keeps_the_url_of_an_address_that_is_listed_no_more() -> None:
    spec = parse_job(posted(url="http://127.0.0.1/x"), replace(Limits(), webhook_allow=LOOPBACK))
    body, limits = cloned(spec.model_dump(mode="json"), clone({"seed": 1}), Limits())
    again = parse_job(body, limits)
    assert again.webhook is not None
    assert again.webhook.url == "http://127.0.0.1/x"
