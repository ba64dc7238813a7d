"""Streams of events as the contract has them (section 5), from a server that cuts them."""

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, Final

import pytest

import thalweg
from thalweg import AsyncClient, Client

JOB: Final[dict[str, Any]] = {"id": "job_1", "status": "running", "phase": "training"}
END: Final = {**JOB, "status": "succeeded", "phase": None}


def event(kind: str, data: Any, name: str) -> str:
    return f"id: {name}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


def rows(step: int) -> dict[str, Any]:
    loss = "NaN" if step == 3 else 1.0 / (step + 1)
    return {"job_id": "job_1", "kind": "train", "series": {"step": [step], "loss": [loss]}}


EVENTS: Final = [
    ("status", JOB),
    *(("points", rows(step)) for step in range(6)),
    ("diagnosis", {"verdict": "healthy", "findings": [], "remedies": []}),
    ("end", END),
]


class Streams:
    """A server whose stream of a job goes on behind `Last-Event-ID`, and breaks off again and
    again: between two events, in the midst of one, and before the first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, last = self.path, self.headers.get("Last-Event-ID")
                ours.asked.append((path, last))
                if path.endswith("/jobs/job_1"):
                    self.answer(200, "application/json", json.dumps(JOB))
                elif "/jobs/job_1/events" in path:
                    begin = 0 if last is None else int(last.removeprefix("row-")) + 1
                    texts = [event(*each, f"row-{n}") for n, each in enumerate(EVENTS)]
                    cut = len(ours.asked) % 3
                    text = ": ping\n\n" + "".join(texts[begin : begin + cut])
                    if cut == 1 and begin + 1 < len(texts):
                        text += texts[begin + 1][:-9]
                    self.answer(200, "text/event-stream", text)
                else:
                    problem = {"code": "not_found", "detail": "nothing is here", "status": 404}
                    self.answer(404, "application/problem+json", json.dumps(problem))

            def answer(self, status: int, kind: str, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def streams() -> Iterator[Streams]:
    server = Streams()
    yield server
    server.close()


def test_a_stream_that_breaks_goes_on_without_gap_or_repeat(streams: Streams) -> None:
    with Client(streams.url) as client:
        job = client.jobs.get("job_1")
        found = list(job.stream(series=["loss", "lr"], after=-1))
    assert [each.type for each in found] == [kind for kind, _ in EVENTS]
    losses = [each.rows["loss"][0] for each in found if each.rows is not None]
    assert losses[:3] == [1.0, 0.5, 1 / 3]
    assert math.isnan(losses[3])
    assert [each.id for each in found] == [f"row-{n}" for n in range(len(EVENTS))]
    assert job.status == "succeeded"
    asked = [(path, last) for path, last in streams.asked if "events" in path]
    assert len(asked) > 4
    assert asked[0] == ("/v1/jobs/job_1/events?after=-1&series=loss%2Clr", None)
    assert all(last is not None for _, last in asked[3:])


def test_the_client_that_waits_does_the_same(streams: Streams) -> None:
    async def use() -> list[str]:
        async with AsyncClient(streams.url) as client:
            job = await client.jobs.get("job_1")
            return [each.type async for each in job.stream()]

    assert asyncio.run(use()) == [kind for kind, _ in EVENTS]


def test_a_reader_may_leave_early(streams: Streams) -> None:
    with Client(streams.url) as client:
        stream = client.jobs.get("job_1").stream()
        assert [each.type for each in islice(stream, 2)] == ["status", "points"]
        stream.close()  # type: ignore[attr-defined]


def test_a_job_that_is_not_there_is_told(streams: Streams, client: Client) -> None:
    with Client(streams.url) as other, pytest.raises(thalweg.NotFoundError):
        other.jobs.get("job_2")
    job = client.jobs.create({
        "problem": {"kind": "function", "function": {"kind": "sphere"}},
        "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 1},
    }).wait(60)  # fmt: skip
    job.delete()
    with pytest.raises(thalweg.NotFoundError):
        list(job.stream())
