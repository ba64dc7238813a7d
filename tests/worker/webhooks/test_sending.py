"""One post: where it goes, what it is, and when it ends. All receivers are on loopback."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.addresses import networks_in
from tests.webhook_receiver import Answer, Receiver, receiving
from worker.webhooks.sending import MOST_BYTES, SendError, post

LOOPBACK = networks_in("127.0.0.1")
SECRET = "T0PSECRET"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Names:
    """A resolver that gives its answers in turn, the last for ever; it counts the questions."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, name: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(name)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "",
             (each, port, 0, 0) if ":" in each else (each, port))
            for each in found
        ]  # fmt: skip


def send(url: str, timeout_s: float = 5.0, **more: Any) -> Any:
    return post(url, b"{}", {"X-One": "1"}, listed=LOOPBACK, timeout_s=timeout_s, **more)


def test_a_post_is_what_was_given(receiver: Receiver) -> None:
    receiver.answers["/a?b=%20"] = [Answer(201, {"X-Two": "2"}, b"done")]
    reply = send(receiver.url("/a?b=%20"))
    assert (reply.status, reply.headers["x-two"], reply.body) == (201, "2", b"done")
    (arrival,) = receiver.arrivals
    assert arrival.body == b"{}"
    assert arrival.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert arrival.headers["x-one"] == "1"
    assert arrival.headers["connection"] == "close"


def test_a_url_without_a_path_is_posted_to_its_root(receiver: Receiver) -> None:
    send(receiver.url("?x=1"))
    assert [each.path for each in receiver.arrivals] == ["/?x=1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_reply_as_any_other(receiver: Receiver, status: int) -> None:
    receiver.answers["/a"] = [Answer(status, {"Location": receiver.url("/b")})]
    assert send(receiver.url("/a")).status == status
    assert [each.path for each in receiver.arrivals] == ["/a"]


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.2", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1",
     "2002:7f00:1::", "64:ff9b::7f00:1", "224.0.0.1", "0.0.0.0"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_to_what_is_not_public_is_not_called(address: str, scheme: str) -> None:
    names = Names([address])
    with pytest.raises(SendError, match="not listed") as caught:
        send(f"{scheme}://hooks.example/{SECRET}", look_up=names)
    assert SECRET not in str(caught.value)
    assert address not in str(caught.value), "what a name of the inside leads to is not told"


def test_http_is_for_what_is_listed() -> None:
    with pytest.raises(SendError, match="http:// is for addresses that are listed"):
        send("http://hooks.example/x", look_up=Names(["8.8.8.8"]))


def test_a_name_is_looked_up_once_so_that_it_cannot_lead_elsewhere(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert send(f"http://hooks.example:{receiver.port}/a", look_up=names).status == 200
    assert names.asked == ["hooks.example"]
    assert receiver.arrivals[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_of_several_addresses_those_that_may_be_called_are(receiver: Receiver) -> None:
    names = Names(["10.0.0.1", "::1", "127.0.0.1"])
    assert send(f"http://hooks.example:{receiver.port}/a", look_up=names).status == 200


def test_a_name_that_is_not_found_is_said_so() -> None:
    with pytest.raises(SendError, match="its name is not found"):
        send("https://hooks.example/x", look_up=Names([]))


@pytest.mark.parametrize("form", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_the_system_reads_every_form_of_an_address_and_the_check_sees_it(form: str) -> None:
    with pytest.raises(SendError, match="loopback"):
        post(f"https://{form}/x", b"", {}, listed=(), timeout_s=1.0)


def test_a_port_where_nobody_listens_fails() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SendError, match="the connection failed"):
        send(f"http://127.0.0.1:{port}/x")


PATIENCE_S = 20.0
"""More than a call of less than a second takes on a busy machine."""


class Raw:
    """A server that takes one connection, says `first`, and then `drop` again and again; or says
    no more (`is_short`)."""

    def __init__(self, first: bytes, drop: bytes = b"", *, is_short: bool = False) -> None:
        self.is_short = is_short
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/x"
        self.first, self.drop = first, drop

    def serve(self) -> None:
        line, _ = self.listener.accept()
        with line:
            try:
                line.sendall(self.first)
                while self.drop:
                    line.sendall(self.drop)
                    line.settimeout(0.02)
                    try:
                        if not line.recv(65536):
                            return
                    except TimeoutError:
                        pass
                if self.is_short:
                    line.shutdown(socket.SHUT_WR)
                line.settimeout(2 * PATIENCE_S)
                while line.recv(65536):
                    pass
            except OSError:
                return


@contextmanager
def serving(raw: Raw) -> Iterator[Raw]:
    thread = threading.Thread(target=raw.serve)
    thread.start()
    try:
        yield raw
    finally:
        raw.listener.close()
        thread.join()


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"H"),
    ],
)
def test_no_receiver_holds_a_courier_longer_than_its_time(first: bytes, drop: bytes) -> None:
    with serving(Raw(first, drop)) as raw:
        began = time.monotonic()
        with pytest.raises(SendError):
            send(raw.url, timeout_s=0.4)
        assert time.monotonic() - began < PATIENCE_S


def test_a_body_that_drips_does_not_undo_the_reply() -> None:
    with serving(Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x")) as raw:
        assert send(raw.url, timeout_s=1.0).status == 200


WHOLE = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_reply_counts_once_its_head_has_come_whole(length: int) -> None:
    with serving(Raw(WHOLE[:length], is_short=True)) as raw:
        if length >= WHOLE.index(b"\r\n\r\n") + 4:
            assert send(raw.url).status == 200
        else:
            with pytest.raises(SendError, match="closed before the whole head"):
                send(raw.url)


def test_of_a_large_body_a_little_is_read(receiver: Receiver) -> None:
    receiver.answers["/a"] = [Answer(body=b"x" * 10_000_000)]
    assert len(send(receiver.url("/a")).body) == MOST_BYTES


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\x00" * 100, "no reply within"),
        (b"\x00" * 100 + b"\n", "no reply of HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "no reply of HTTP"),
        (b"SSH-2.0-x\r\n", "no reply of HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "too long"),
    ],
)
def test_what_is_no_http_is_no_reply(text: bytes, says: str) -> None:
    with serving(Raw(text)) as raw, pytest.raises(SendError, match=says):
        send(raw.url, timeout_s=0.5)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\u4e2d"])
def test_no_header_can_be_put_in_by_a_value(receiver: Receiver, value: str) -> None:
    with pytest.raises((SendError, ValueError)):
        post(receiver.url("/a"), b"", {"X": value}, listed=LOOPBACK, timeout_s=1.0)
    assert receiver.arrivals == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of hooks.example that signs itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=hooks.example", "-addext"),
            *("subjectAltName=DNS:hooks.example", "-keyout", str(path), "-out", str(path)),
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return path


def tls_of(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=certificate)


def test_tls_is_of_the_name_though_the_address_was_checked(certificate: Path) -> None:
    server, client = tls_of(certificate)
    with receiving(server) as receiver:
        port, names = receiver.port, Names(["127.0.0.1"])
        reply = send(f"https://hooks.example.:{port}/a", tls=client, look_up=names)
        assert reply.status == 200
        with pytest.raises(SendError, match=r"TLS: .*[Hh]ostname mismatch"):
            send(f"https://other.example:{port}/a", tls=client, look_up=names)
        with pytest.raises(SendError, match=r"TLS: .*self-signed"):
            send(f"https://hooks.example:{port}/a", look_up=names)
        assert len(receiver.arrivals) == 1


def test_tls_that_never_begins_ends_in_time() -> None:
    with serving(Raw(b"")) as raw:
        began = time.monotonic()
        with pytest.raises(SendError):
            send(raw.url.replace("http:", "https:"), timeout_s=0.4)
        assert time.monotonic() - began < PATIENCE_S
