"""Attacks on an HTTP service: bytes to send, and the statuses that may come back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MARK: Final = "smuggled"
"""What must not be found where it was not accepted: a label, a header, a file's contents."""
HOST: Final = b"Host: localhost\r\n"
CLOSE: Final = b"Connection: close\r\n"
JSON: Final = b"Content-Type: application/json\r\n"
SPEC: Final = {
    "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 1}},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "budget": {"max_steps": 2},
}


@dataclass(frozen=True)
class Attack:
    """Bytes that are sent, and the statuses that may come back: one reply at most for each."""

    name: str
    sent: bytes
    statuses: frozenset[int]
    replies: int = 1


def attack(name: str, sent: bytes, *statuses: int, replies: int = 1) -> Attack:
    return Attack(name, sent, frozenset(statuses), replies)


def get(path: bytes, *lines: bytes) -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + more + CLOSE + b"\r\n"


def post(path: bytes, body: bytes, *lines: bytes, length: bool = True) -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    if length:
        more += b"Content-Length: %d\r\n" % len(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + JSON + more + CLOSE + b"\r\n" + body


def splitting(job_id: str) -> Iterator[Attack]:
    """Yield line ends in what a reply, a log or a stream may repeat."""
    breaks = (b"%0d%0a", b"%0D%0A%20", b"\r", b"\n", b"\x00", b"\xe5\x98\x8a\xe5\x98\x8d", b"\x0b")
    job = b"/v1/jobs/" + job_id.encode()
    names = (
        "X-Request-Id", "Idempotency-Key", "Traceparent", "Prefer", "If-None-Match", "Range",
        "Last-Event-ID", "Origin", "Accept-Encoding", "Authorization", "Host",
    )  # fmt: skip
    for each in breaks:
        put_in = each + b"X-Injected: " + MARK.encode()
        for name in names:
            line = name.encode() + b": a" + put_in
            path = job + (b"/events" if name == "Last-Event-ID" else b"")
            yield attack(
                f"{name} {each!r}", get(path, line), 200, 206, 304, 400, 401, 403, 416, 422
            )
        yield attack(f"path {each!r}", get(b"/v1/jobs/a" + put_in.replace(b" ", b"")), 400, 404)
        query = b"/v1/jobs?label=a:" + put_in.replace(b" ", b"")
        yield attack(f"query {each!r}", get(query), 200, 400, 422)
        yield attack(f"method {each!r}", b"GET" + each + get(job)[3:], 400, 405)
    folded = b"X-Request-Id: a\r\n X-Injected: " + MARK.encode()
    yield attack("a folded header", get(job, folded), 200, 400)
    yield attack("a name with a space", get(job, b"X-Injected : " + MARK.encode()), 400)
    yield attack("a header without a name", get(job, b": " + MARK.encode()), 400)


def paths(job_id: str) -> Iterator[Attack]:
    """Yield tricks with paths and targets."""
    job = job_id.encode()
    encoded = b"".join(b"%%%02x" % byte for byte in job)
    up = (
        b"../",
        b"..%2f",
        b"%2e%2e/",
        b"%2e%2e%2f",
        b"..%5c",
        b"..\\",
        b"%c0%ae%c0%ae/",
        b"....//",
    )
    for each in up:
        for root in (b"/", b"/docs/", b"/v1/jobs/", b"/assets/", b"/v1/jobs/" + job + b"/"):
            path = root + 6 * each + b"outside.txt"
            yield attack(f"{path!r}", get(path), 400, 404)
    for path in (
        b"//v1/jobs", b"/v1//jobs", b"/v1/jobs/", b"/v1/./jobs", b"/V1/JOBS", b"/v1/jobs;a=b",
        b"/v1/jobs/" + job + b"%00", b"/v1/jobs/" + job + b"%2fmodel", b"/v1/jobs/" + job + b"/",
        b"/v1/jobs/" + job + b"%0a", b"/v1/jobs/" + job.upper(), b"/v1/jobs/%00", b"/v1/jobs/%ff",
        b"/v1/jobs/" + job + b"/../" + job, b"/v1/studies/" + job, b"/v1/jobs/*", b"/v1/jobs/?*[a]",
        b"/v1/datasets/" + job, b"/v1/jobs/" + 50_000 * b"a", b"/\x7f", b"/%", b"/%zz",
        b"/v1/%u0041",
    ):  # fmt: skip
        yield attack(f"{path[:80]!r}", get(path), 400, 404)
    yield attack("an encoded id is that id", get(b"/v1/jobs/" + encoded), 200)
    yield attack("a fragment", get(b"/livez#/../../outside.txt"), 200, 400, 404)
    for target in (
        b"http://localhost/livez",
        b"http://evil.example/livez",
        b"ftp://localhost/livez",
    ):
        yield attack(f"{target!r}", get(target), 200, 400, 403, 404)
    for line in (
        b"OPTIONS *",
        b"GET *",
        b"CONNECT localhost:80",
        b"GET livez",
        b"GET ?",
        b"GET \t/",
    ):
        sent = line + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
        yield attack(f"{line!r}", sent, 400, 404, 405)


def smuggling() -> Iterator[Attack]:
    """Yield requests whose length can be read in two ways: none may be read as two."""
    inner = post(b"/v1/jobs", json.dumps({**SPEC, "labels": {MARK: "1"}}).encode())
    chunked = b"0\r\n\r\n" + inner
    whole = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    both = b"Content-Length: %d" % len(chunked)
    path = b"/v1/jobs/validate"

    def with_lines(body: bytes, *lines: bytes) -> bytes:
        return post(path, body, *lines, length=False)

    te = b"Transfer-Encoding: chunked"
    yield attack("both lengths", with_lines(chunked, both, te), 400)
    yield attack("both lengths, the other way", with_lines(chunked, te, both), 400)
    yield attack("both, the chunks whole", with_lines(whole, b"Content-Length: 4", te), 400)
    for value in (
        b"xchunked", b"chunked, identity", b"identity, chunked", b"chunked, chunked", b" chunked",
        b"\tchunked", b"chunked\x0b", b"chunKED", b"gzip", b"chunked;a=b", b"identity",
        b'"chunked"',
    ):  # fmt: skip
        line = b"Transfer-Encoding:" + value
        yield attack(f"{line!r} and a length", with_lines(chunked, both, line), 400, 413, 422)
    for line in (
        b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
        b"Transfer-Encoding\t: chunked",
        b"X: y\nTransfer-Encoding: chunked", b"Transfer\x00-Encoding: chunked",
        b"Transfer_Encoding: chunked", b"Transfer-Encoding:\r\n chunked",
    ):  # fmt: skip
        yield attack(f"{line!r} and a length", with_lines(chunked, both, line), 400, 422)
    for value in (
        b"+%d", b"-%d", b"%d, 0", b"0, %d", b"0x%d", b"%d.0", b"%d\x00", b"\x0b%d", b"1e2%d",
        b"%d a", b"99999999999999999999%d",
    ):  # fmt: skip
        line = b"Content-Length: " + value % len(inner)
        yield attack(f"{line!r}", with_lines(inner, line), 400, 413)
    lines = b"Content-Length: 0", b"Content-Length: %d" % len(inner)
    yield attack("two lengths", with_lines(inner, *lines), 400)
    yield attack("two lengths, the other way", with_lines(inner, *reversed(lines)), 400)
    for size in (b"-1", b"0x5", b"5 ", b"fffffffffffffffff", b"1\x00", b"", b"g", b"+5", b"5\n"):
        yield attack(f"a chunk of {size!r}", with_lines(size + b"\r\n" + chunked, te), 400)
    yield attack("a chunk that is longer", with_lines(b"2\r\n{}x\r\n" + chunked, te), 400)
    old = with_lines(whole, te).replace(b"HTTP/1.1", b"HTTP/1.0")
    yield attack("chunks in HTTP/1.0", old, 400, 422)
    yield attack("line feeds alone", get(b"/livez").replace(b"\r\n", b"\n"), 200, 400)
    yield attack("no host", b"GET /v1/jobs HTTP/1.1\r\n" + CLOSE + b"\r\n", 400, 403)
    yield attack("two hosts", get(b"/v1/jobs", b"Host: evil.example"), 400, 403)
    yield attack("a length of nothing with a request", get(b"/livez") + inner, 200)
    yield attack("an upgrade", get(b"/livez", b"Upgrade: h2c", b"HTTP2-Settings: a"), 200, 400)


def oversize() -> Iterator[Attack]:
    """Yield heads and bodies that are larger than any that is taken."""
    for name, head in {
        "a target": get(b"/" + 2**20 * b"a"),
        "a value": get(b"/livez", b"X: " + 2**20 * b"a"),
        "a name": get(b"/livez", 2**20 * b"a" + b": x"),
        "many": get(b"/livez", *(b"x-%d: a" % number for number in range(20_000))),
        "a cookie": get(b"/livez", b"Cookie: " + 2**18 * b"a"),
    }.items():
        yield attack(f"{name} without measure", head, 431)
    for length in (2**31 + 1, 2**63 - 1, 10**18):
        sent = post(b"/v1/jobs", b"", b"Content-Length: %d" % length, length=False)
        yield attack(f"a body of {length}", sent, 413)
        sent = post(b"/v1/datasets", b"", b"Content-Length: %d" % length, length=False)
        yield attack(f"a file of {length}", sent.replace(b"application/json", b"text/csv"), 413)
    chunk = b"%x\r\n" % 2**20 + 2**20 * b" " + b"\r\n"
    sent = post(b"/v1/jobs", 20 * chunk, b"Transfer-Encoding: chunked", length=False)
    yield attack("chunks without measure", sent, 413)
    for coding in (b"gzip", b"zstd", b"gzip, gzip"):
        sent = post(b"/v1/jobs", b"\x1f\x8b" + bytes(50), b"Content-Encoding: " + coding)
        yield attack(f"a body in {coding!r}", sent, 400, 415, 422)


def texts() -> Iterator[Attack]:
    """Yield bodies whose texts have line ends, marks and names of files."""
    for text in (
        f"a\r\nX-Injected: {MARK}", "\u0085\u2028", "../../outside.txt", "\x00", '"><script>',
        "%s%n",
        "${jndi:ldap://localhost/a}", "{{7*7}}", "\ud800", "=cmd|' /C calc'!A0", "a\nevent: end",
    ):  # fmt: skip
        for body in ({**SPEC, "name": text}, {**SPEC, "labels": {"a": text}}, {**SPEC, text: 1}):
            sent = post(b"/v1/jobs", json.dumps(body).encode())
            yield attack(f"{text!r} in {list(body)[-1][:20]!r}", sent, 202, 422)
        hook = {**SPEC, "webhook": {"url": f"https://example.org/{text}"}}
        yield attack(f"{text!r} in a URL", post(b"/v1/jobs", json.dumps(hook).encode()), 422)
