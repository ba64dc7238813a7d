"""Streams that are cut off: by restarts, proxies, slow readers, and the end of the process."""

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.api import study_actors
from tests.api.events.conftest import Start
from tests.api.events.following import (
    PATIENCE_S,
    Following,
    Proxy,
    begun,
    steps_of,
)
from tests.api.events.reader import Stream
from tests.api.study_actors import play


def test_a_killed_api_leaves_no_gap_and_repeats_nothing(start: Start) -> None:
    first = start()
    ports = [first.process.port]
    job, claim = begun(first)
    study = play(first)
    readers = [
        Following(path, lambda: ports[-1])
        for path in (
            job["links"]["events"],
            f"/v1/studies/{study.id}/events",
            f"/v1/events?job={job['id']}",
        )
    ]
    of_job, of_study, of_all = readers
    of_all.until(lambda events: len(events) == 2)  # the present state
    first.rows(claim, 0, 1500)
    study.end(2, 0.5)
    of_job.until_rows(1500)
    of_all.until_rows(1500)
    for each in (of_study, of_all):
        each.until(lambda events: sum(event.type == "run" for event in events) == 1)

    first.process.running.send_signal(signal.SIGKILL)
    first.process.running.wait(PATIENCE_S)
    first.rows(claim, 1500, 700)
    study.end(0, 0.5)
    second = start()
    ports.append(second.process.port)
    of_job.until_rows(2200)
    of_all.until_rows(2200)
    second.rows(claim, 2200, 100)
    study.close(*[0.25] * 6)
    second.worker.close(claim)

    assert steps_of(of_job.end()) == list(range(2300))
    runs = [event.data["index"] for event in of_study.end() if event.type == "run"]
    assert (runs[:2], sorted(runs)) == ([2, 0], list(range(6)))
    of_all.until(lambda events: sum(event.type == "end" for event in events) == 2)
    of_all.until_rows(2300)
    of_all.stop()
    assert steps_of(of_all.events) == list(range(2300))
    assert [e.data["index"] for e in of_all.events if e.type == "run"] == runs
    assert not [event for event in of_all.events if event.type == "reset"]
    assert all(each.num_connections >= 2 for each in readers)


@pytest.mark.parametrize(("ping_s", "idle_s", "is_cut"), [(0.2, 2.0, False), (15.0, 0.3, True)])
def test_a_proxy_that_cuts_idle_connections_off_costs_nothing(
    start: Start, ping_s: float, idle_s: float, is_cut: bool
) -> None:
    """A ping that comes late, as the API has no processor for a while, comes before the proxy
    cuts."""
    live = start(THALWEG_STREAM_PING_S=str(ping_s))
    proxy = Proxy(live.process.port, idle_s)
    job, claim = begun(live)
    reader = Following(job["links"]["events"], lambda: proxy.port)
    live.rows(claim, 0, 50)
    reader.until_rows(50)
    if is_cut:
        reader.until(lambda _: reader.num_connections >= 3)
    else:
        quiet = Stream(proxy.port, job["links"]["events"], reader.events[-1].id)
        lines = quiet.lines()
        while quiet.comments < 1.5 * idle_s / ping_s:  # for longer than the proxy waits
            next(lines)
        quiet.close()
    live.rows(claim, 50, 50)
    reader.until_rows(100)
    live.worker.close(claim)
    assert steps_of(reader.end()) == list(range(100))
    assert (reader.num_connections > 1, proxy.num_cut > 0) == (is_cut, is_cut)
    proxy.close()


def rss_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


def test_a_reader_that_stops_reading_is_cut_off_and_others_go_on(start: Start) -> None:
    live = start(THALWEG_STREAM_PATIENCE_S="2")
    job, claim = begun(live)
    live.rows(claim, 0, 300_000)
    live.worker.close(claim)
    before = rss_bytes(live.process.running.pid)
    stuck = [Stream(live.process.port, job["links"]["events"], room_bytes=4096) for _ in range(5)]
    for _ in stuck:
        live.process.event("a reader of events was cut off: it took nothing")
    assert steps_of(live.events(job["links"]["events"])) == list(range(300_000))
    assert rss_bytes(live.process.running.pid) - before < 60e6
    for each in stuck:
        assert len(list(each.events())) < 300
        assert not each.is_whole
        each.close()
    events = [json.loads(line) for line in live.process.end().splitlines()]
    assert not [event for event in events if event["level"] == "error"]


def test_a_terminated_process_ends_its_streams_in_good_order(start: Start) -> None:
    live = start(THALWEG_LOG_LEVEL="debug")
    job, claim = begun(live)
    live.rows(claim, 0, 10)
    paths = [job["links"]["events"], "/v1/events"]
    streams = [live.stream(paths[number % 2]) for number in range(20)]
    streams.append(live.stream(f"/v1/studies/{study_actors.post(live)['id']}/events"))
    begin = [next(each.events()) for each in streams]
    assert {event.type for event in begin} == {"status"}
    waiting = threading.Thread(target=lambda: live.http.get(f"{job['links']['self']}?wait=60"))
    waiting.start()
    said = []
    for line in live.process.lines:
        said.append(line)
        if json.loads(line)["event"] == "waiting":
            break
    said += live.process.end().splitlines()
    waiting.join()
    for each in streams:
        list(each.events())
        assert each.is_whole
        each.close()
    events = [json.loads(line) for line in said]
    # (uvicorn tells of a stream or a request that is cut off when the time for ending is over.)
    assert not [event for event in events if event["level"] in {"warning", "error"}]
