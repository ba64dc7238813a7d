"""A small case of the trial: what is sent to break in is refused, and what is wrong is told."""

import pytest

from tests.e2e.attacks import SPEC, attack, get
from tests.e2e.client import Service
from tests.e2e.injection import (
    SECRET,
    Reply,
    address_of,
    attacked,
    complaints_of,
    exchange,
    garbled,
    replies_in,
)


def test_attacks_get_a_plain_refusal_and_leave_nothing(service: Service) -> None:
    job_id = service.run(SPEC)["id"]
    assert attacked(service, job_id) == []
    assert garbled(service, job_id, 60, 2) == []
    (reply,) = exchange(address_of(service), get(b"/livez"))
    assert reply.status == 200


PROBLEM = [("content-type", "application/problem+json")]


@pytest.mark.parametrize(
    ("replies", "word"),
    [
        ([], "0 replies"),
        ([Reply(404, PROBLEM, b"{}"), Reply(202, [], b"")], "2 replies"),
        ([Reply(500, PROBLEM, b"{}")], "status 500"),
        ([Reply(404, [*PROBLEM, ("x-injected", "smuggled")], b"{}")], "header of theirs"),
        ([Reply(404, [("content-type", "text/plain")], b"no")], "a refusal as"),
        ([Reply(404, PROBLEM, SECRET.encode())], "from outside"),
        ([Reply(404, PROBLEM, b"a\r\nX-Injected: smuggled")], "line of theirs"),
    ],
)
def test_what_is_wrong_with_replies_is_told(replies: list[Reply], word: str) -> None:
    found = complaints_of(attack("it", b"", 404), replies)
    assert any(word in each for each in found)


@pytest.mark.parametrize(
    "text",
    [b"<html>", b"HTTP/1.1 200 OK\r\nA: b", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour"],
)
def test_what_is_no_whole_reply_is_told(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"no head|a body of"):
        list(replies_in(text))
