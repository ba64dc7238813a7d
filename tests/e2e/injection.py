"""Attacks on a running service: `python -m tests.e2e.injection`.

Header splitting, tricks with paths, smuggled requests, heads and bodies that are too large, bodies
that drip, redirects of webhooks and names that lead elsewhere a moment later: by raw sockets, and
on loopback only. Whatever is sent, each reply must be whole and of a known status, none may be a
5xx or show what lies outside the data folder, no header of ours may be theirs, nothing may be
stored that was not accepted, and the service goes on answering in time.
"""

import argparse
import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.e2e.attacks import (
    HOST,
    JSON,
    MARK,
    SPEC,
    Attack,
    oversize,
    paths,
    smuggling,
    splitting,
    texts,
)
from tests.e2e.client import Service
from tests.thalweg_service.running import Service as Started
from tests.thalweg_service.running import starting, until
from tests.webhook_receiver import Answer, Receiver, receiving

SECRET: Final = "outside-the-data-folder"
"""Contents of a file beside the data folder."""
SOON_S: Final = 1.0
"""Most seconds that a probe may take, whatever goes on."""


@dataclass(frozen=True)
class Reply:
    """A reply, as it came over the wire; names of headers are lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)


def exchange(address: tuple[str, int], sent: bytes, timeout_s: float = 30.0) -> list[Reply]:
    """Send all, and read all until the other end closes. Raises `ValueError` where what came is not
    whole replies of HTTP."""
    came = []
    with socket.create_connection(address, timeout=timeout_s) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while piece := line.recv(2**16):
                came.append(piece)
    return list(replies_in(b"".join(came)))


def replies_in(text: bytes) -> Iterator[Reply]:
    """Read one reply after the other, by their lengths."""
    while text:
        head, end, text = text.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        words = line.split(" ", 2)
        if not end or not line.startswith("HTTP/1.") or any("\n" in each for each in lines):
            raise ValueError(f"no head of a reply: {head[:300]!r}")
        headers = [
            (name.lower(), value) for name, _, value in (each.partition(": ") for each in lines)
        ]
        named = dict(headers)
        if "content-length" in named:
            length = int(named["content-length"])
            body, text = text[:length], text[length:]
            if len(body) < length:
                raise ValueError(f"a body of {len(body)} bytes, not {length}")
        elif named.get("transfer-encoding") == "chunked" or named.get("connection") == "close":
            body, text = text, b""
        else:
            body = b""
        yield Reply(int(words[1]), headers, body)


def complaints_of(each: Attack, replies: Sequence[Reply]) -> list[str]:
    """Judge what came back for an attack."""
    found = []
    if not 0 < len(replies) <= each.replies:
        found.append(f"{len(replies)} replies")
    for reply in replies:
        if reply.status not in each.statuses:
            found.append(f"status {reply.status}, not one of {sorted(each.statuses)}")
        if reply.header("x-injected") is not None or reply.header("set-cookie") is not None:
            found.append(f"a header of theirs: {reply.headers}")
        if SECRET.encode() in reply.body:
            found.append("a file from outside")
        kind = reply.header("content-type")
        if reply.status >= 400 and kind != "application/problem+json":
            found.append(f"a refusal as {kind}")
        if any(line.startswith(b"X-Injected") for line in reply.body.splitlines()):
            found.append("a line of theirs")
    return [f"{each.name}: {what}" for what in found]


def address_of(service: Service) -> tuple[str, int]:
    parts = urlsplit(str(service.http.base_url))
    return parts.hostname or "", parts.port or 80


def attacked(service: Service, job_id: str) -> list[str]:
    """Send all attacks; return what is wrong with the replies, or with what they left."""
    address, found = address_of(service), []
    kinds = (splitting(job_id), paths(job_id), smuggling(), oversize(), texts())
    for each in (each for kind in kinds for each in kind):
        try:
            found += complaints_of(each, exchange(address, each.sent))
        except (OSError, ValueError) as error:
            found.append(f"{each.name}: {error!r}")
    left = service.http.get("/v1/jobs", params={"label": f"{MARK}:1"}).json()["data"]
    return found + [f"job {job['id']} was let in" for job in left]


def garbled(service: Service, job_id: str, number: int, seed: int) -> list[str]:
    """Send attacks of which bytes were changed, left out and put in at random."""
    dice, address, found = random.Random(seed), address_of(service), []
    whole = [each for kind in (splitting(job_id), paths(job_id), smuggling()) for each in kind]
    pieces = (
        b"\r",
        b"\n",
        b"\r\n",
        b"\x00",
        b" ",
        b":",
        b"%",
        b"\xff",
        b"0",
        b"chunked",
        b",",
        b"/",
    )
    for _ in range(number):
        sent = bytearray(dice.choice(whole).sent[:3_000])
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(sent))
            sent[place : place + dice.randint(0, 2)] = dice.choice(pieces)
        # Its end comes at once: half a request is not waited for.
        each = Attack(f"{bytes(sent)[:200]!r}", bytes(sent), frozenset(range(200, 500)), 3)
        with socket.create_connection(address, timeout=30) as line:
            line.sendall(each.sent)
            line.shutdown(socket.SHUT_WR)
            came = b""
            with contextlib.suppress(ConnectionError):
                while piece := line.recv(2**16):
                    came += piece
        try:
            replies = list(replies_in(came))
        except ValueError as error:
            found.append(f"{each.name}: {error}")
            continue
        found += [] if not replies else complaints_of(each, replies)
    return found


def dripping(service: Service, callers: int) -> list[str]:
    """Keep many connections waiting with half a request, and see that others are served."""
    address = address_of(service)
    halves = (
        b"GET /livez HTTP/1.1\r\nHost: loc",
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 100000\r\n\r\n{",
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"POST /v1/datasets HTTP/1.1\r\n" + HOST + b"Content-Type: text/csv\r\n"
        b"Content-Length: 100000\r\n\r\na,b",
    )
    found = []
    with contextlib.ExitStack() as stack:
        lines = []
        for number in range(callers):
            line = stack.enter_context(socket.create_connection(address, timeout=30))
            line.sendall(halves[number % len(halves)])
            lines.append(line)
        for round_ in range(5):
            began = time.monotonic()
            service.http.get("/livez")
            if (took := time.monotonic() - began) > SOON_S:
                found.append(f"a probe took {took:.2f} s beside {callers} halves of requests")
            for line in lines:
                with contextlib.suppress(OSError):
                    line.sendall(b"a" if round_ else b"")
        for number, line in enumerate(lines):
            came = b""
            with contextlib.suppress(ConnectionError):
                while piece := line.recv(2**16):
                    came += piece
            statuses = [reply.status for reply in replies_in(came)]
            if statuses != [408]:
                found.append(f"half a request {number % len(halves)} got {statuses}")
    return found


# --- webhooks


class Resolver:
    """Answers which addresses a name has: each time the next of its answers, the last for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.bind(("127.0.0.1", 0))
        self.port: int = self._line.getsockname()[1]
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while True:
            name, caller = self._line.recvfrom(2**12)
            if not name:
                return
            left = self.answers[name.decode()]
            given = left.pop(0) if len(left) > 1 else left[0]
            self._line.sendto(json.dumps(given).encode(), caller)

    def close(self) -> None:
        self._line.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._line.close()


INSIDE: Final = "127.0.0.2"
"""Stands for an address that webhooks must not reach; that of the receiver is listed."""


def misled(service: Service, resolver: Resolver, allowed: Receiver, inside: Receiver) -> list[str]:
    """Lead webhooks astray by redirects, by names with two addresses, and by names that have
    another address a moment later; nothing may come to the inside."""
    port = allowed.port
    names: dict[str, list[list[str]]] = {
        "rebinds": [["127.0.0.1"], [INSIDE]],
        "inside": [[INSIDE]],
        "mapped": [[f"::ffff:{INSIDE}"]],
        "both": [[INSIDE, "127.0.0.1"]],
        "nobody": [[]],
    }
    resolver.answers = {f"{name}.test": answers for name, answers in names.items()}
    places = {
        "file": "file:///etc/passwd", "inside": inside.url("/redirected"), "same": "//rebinds.test",
        "port": f"http://127.0.0.1:{port + 1}/", "split": "/a\r\nX-Injected: b",
    }  # fmt: skip
    for name, place in places.items():
        allowed.answers[f"/to-{name}"] = [Answer(307, {"Location": place})]
    urls = [f"http://{name}:{port}/{name}" for name in resolver.answers]
    urls += [allowed.url(f"/to-{name}") for name in places]
    urls += [inside.url("/plain"), f"http://2130706434:{port}/", f"http://0x7f.2:{port}/"]
    ids = {}
    for url in urls:
        reply = service.http.post("/v1/webhooks/test", json={"url": url})
        if reply.status_code == 202:
            ids[url] = reply.json()["id"]
        elif reply.status_code != 422:
            return [f"{url}: {reply.status_code}"]
    found = []
    came = {f"http://{name}.test:{port}/{name}.test" for name in ("rebinds", "both")}
    for url, id_ in ids.items():
        path = f"/v1/webhooks/deliveries/{id_}"
        delivery = service.http.get(path, params={"wait": 30}).json()
        if (delivery["status"] == "delivered") != (url in came):
            found.append(f"{url}: {delivery['status']}, {delivery['attempts']}")
    again = service.http.post(f"/v1/webhooks/deliveries/{ids[sorted(came)[1]]}/redeliver")
    path = again.json()["links"]["self"]
    if service.http.get(path, params={"wait": 30}).json()["status"] == "delivered":
        found.append("a name that leads elsewhere by now was called")
    return found + [f"the inside was called: {each.path}" for each in inside.arrivals]


# --- the trial


def outside(folder: Path) -> set[str]:
    """List what lies in the trial's folder beside the data."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_relative_to(folder / "data")
    }


def complaints_of_log(folder: Path) -> list[str]:
    """List lines that are no JSON object, as only a torn one would be, and faults of the API."""
    found = []
    for path in folder.iterdir():
        for line in path.read_text("utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                found.append(f"{path.name} has the line {line[:300]!r}")
            else:
                if path.name.startswith("api") and entry["level"] == "error":
                    found.append(f"{path.name}: {line[:500]}")
    return found


def main() -> int:
    """Attack a service of its own; return 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.injection")
    parser.add_argument("--garbled", type=int, default=3_000)
    parser.add_argument("--callers", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    resolver = Resolver()
    with contextlib.ExitStack() as stack:
        stack.callback(resolver.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "outside.txt").write_text(SECRET, "utf-8")
        allowed = stack.enter_context(receiving())
        inside = stack.enter_context(receiving(host=INSIDE, port=allowed.port))
        start = stack.enter_context(starting())
        running = Started(
            start(
                folder / "data",
                PYTHONPATH=str(Path(__file__).parent / "resolver"),
                TRIAL_RESOLVER_PORT=str(resolver.port),
                THALWEG_WEBHOOK_ALLOW="127.0.0.1",
                THALWEG_WEBHOOK_RETRY_S="1",
                THALWEG_REQUEST_TIMEOUT_S="2",
            )
        )
        stack.callback(running.stop)
        until(running.workers)
        service = Service(str(running.client.base_url))
        stack.callback(service.http.close)
        before = outside(folder)
        job_id = service.run(SPEC)["id"]
        found = attacked(service, job_id)
        say(f"attacks were sent: {len(found)} complaints")
        found += garbled(service, job_id, chosen.garbled, chosen.seed)
        say(f"{chosen.garbled} garbled ones: {len(found)}")
        found += dripping(service, chosen.callers)
        say(f"{chosen.callers} halves of requests: {len(found)}")
        command = [sys.executable, "-m", "thalweg_service", "webhooks", "secret", "add"]
        subprocess.run(
            [*command, "--data-dir", str(folder / "data")], check=True, capture_output=True
        )
        found += misled(service, resolver, allowed, inside)
        say(f"misled webhooks: {len(found)}")
        found += [f"{each} is new" for each in outside(folder) - before]
        found += complaints_of_log(folder / "data" / "logs")
        if service.run(SPEC)["status"] != "succeeded":
            found.append("a job did not succeed afterwards")
    sys.stdout.write("".join(f"  {each}\n" for each in found))
    return int(bool(found))


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
