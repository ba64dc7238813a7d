"""The stream of all jobs and studies: the present state, what happens, and the log."""

from typing import Any

import redis

from tests.api import study_actors
from tests.api.events.conftest import Live, Start
from tests.api.events.following import (
    begun,
    until_idle,
)


def test_everything_is_told_from_the_present_state_on(start: Start) -> None:
    live = start()
    old = live.finished()
    job, claim = begun(live)
    study_id = study_actors.post(live)["id"]
    with live.stream("/v1/events") as stream:
        present = list(until_idle(stream, 3))
        assert [(e.type, e.data["id"]) for e in present] == [
            ("status", old["id"]), ("status", job["id"]), ("status", study_id)
        ]  # fmt: skip
        assert present[0].data == old
        live.worker.close(claim, diagnosis={"verdict": "healthy", "findings": [], "remedies": []})
        rest = list(until_idle(stream, 3))
        assert [event.type for event in rest] == ["diagnosis", "status", "end"]
        assert rest[0].data["job_id"] == rest[1].data["id"] == job["id"]
        live.http.post(f"/v1/studies/{study_id}/cancel")
        assert [(e.type, e.data["id"]) for e in until_idle(stream, 2)] == [
            ("status", study_id), ("end", study_id)
        ]  # fmt: skip
    whole = [*present, *rest]
    for number, event in enumerate(whole[:-1]):
        with live.stream("/v1/events", event.id) as again:
            found = list(until_idle(again, len(whole) - 1 - number))
        # A state that was not told yet is told as it is now.
        wanted = whole[number + 1 :]
        assert [(e.id, e.type) for e in found] == [(e.id, e.type) for e in wanted]


def test_an_id_that_is_too_old_gets_a_reset_and_the_present_state(
    start: Start, redis_url: str, namespace: str
) -> None:
    live = start()
    ids = [live.finished()["id"] for _ in range(3)]
    with live.stream("/v1/events") as stream:
        told = [next(stream.events()) for _ in range(1)]
    job, _ = begun(live)
    with redis.Redis.from_url(redis_url) as raw:
        raw.xtrim(f"{namespace}:events", maxlen=1, approximate=False)
    last = told[0].id
    number = int(last[1:].partition("-")[0])
    for old in (last, last.replace(f"e{number}", f"e{number + 100}")):
        with live.stream("/v1/events", old.partition("-s")[0] + "-" + old[-4:]) as stream:
            events = list(until_idle(stream, 5))
        assert [event.type for event in events] == ["reset", *["status"] * 4]
        assert [event.data["id"] for event in events[1:]] == [*ids, job["id"]]
        assert events[0].data["reason"]
    with live.stream("/v1/events", events[-1].id) as stream:
        live.http.post(f"/v1/jobs/{job['id']}/cancel")
        assert [e.data["status"] for e in until_idle(stream, 1)] == ["cancelling"]


def test_the_log_keeps_the_last_ten_thousand(live: Live, redis_url: str) -> None:
    study = study_actors.post(live)["id"]
    with redis.Redis.from_url(redis_url) as raw:
        key = f"{live.settings.namespace}:events"
        for _ in range(12_000):
            number = raw.incr(f"{key}:last")
            entry: Any = {"e": f"status {study}"}
            raw.xadd(key, entry, id=f"1-{number}", maxlen=10_000, approximate=True)
        assert 10_000 <= raw.xlen(key) < 10_300
        first = int(raw.xrange(key, count=1)[0][0].split(b"-")[1])
    live.post()
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.xlen(key) < 10_300
        check = live.stream("/v1/events")
        mark = next(check.events()).id[-4:]
        check.close()
    with live.stream("/v1/events", f"e{first}-{mark}") as stream:
        assert next(stream.events()).type == "status"
    with live.stream("/v1/events", f"e{first - 2}-{mark}") as stream:
        assert next(stream.events()).type == "reset"
