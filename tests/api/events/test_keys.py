"""Streams with keys: each owner hears of its own, and a revoked key ends them."""

from typing import Any

import pytest

from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.store.redis.keys import RedisKeys
from tests.api.actors import rosenbrock
from tests.api.events.conftest import Live, Start
from tests.api.events.following import until_idle
from tests.api.events.reader import Stream


@pytest.fixture
def keys(redis_url: str, namespace: str) -> Any:
    made = RedisKeys(redis_url, namespace)
    yield made
    made.disconnect()


def key_of(keys: RedisKeys, owner: str, *scopes: Any) -> tuple[KeyRecord, str]:
    now = rfc3339(utc_now())
    record = KeyRecord(new_key_id(), owner, scopes or ("read", "write"), now)
    return record, keys.create(record)


def posted(live: Live, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    id_: str = live.post(rosenbrock(), headers=headers)["id"]
    return id_


def opened(live: Live, path: str, token: str, last_id: str = "") -> Stream:
    return Stream(live.process.port, path, last_id, token=token)


def test_each_owner_hears_of_its_own_and_an_admin_of_all(start: Start, keys: RedisKeys) -> None:
    (_, ann), (_, ben) = (key_of(keys, owner) for owner in ("ann", "ben"))
    _, root = key_of(keys, "root", "admin")
    live = start()
    first = {token: posted(live, token) for token in (ann, ben)}
    with (
        opened(live, "/v1/events", ann) as of_ann,
        opened(live, "/v1/events", ben) as of_ben,
        opened(live, "/v1/events", root) as of_all,
    ):
        assert [each.data["id"] for each in until_idle(of_ann, 1)] == [first[ann]]
        assert [each.data["id"] for each in until_idle(of_ben, 1)] == [first[ben]]
        assert {each.data["id"] for each in until_idle(of_all, 2)} == set(first.values())
        later = {token: posted(live, token) for token in (ben, ann)}
        (heard,) = until_idle(of_ann, 1)
        assert heard.data["id"] == later[ann]
        assert [each.data["id"] for each in until_idle(of_ben, 1)] == [later[ben]]
        told = [each.data["id"] for each in until_idle(of_all, 2)]
        assert told == [later[ben], later[ann]]
    third = posted(live, ben), posted(live, ann)
    with opened(live, "/v1/events", ann, heard.id) as again:
        assert [each.data["id"] for each in until_idle(again, 1)] == [third[1]]


def test_a_stream_is_refused_before_it_begins(start: Start, keys: RedisKeys) -> None:
    (_, ann), (_, ben) = (key_of(keys, owner) for owner in ("ann", "ben"))
    live = start()
    job_id = posted(live, ann)
    paths = [f"/v1/jobs/{job_id}/events", f"/v1/events?job={job_id}", "/v1/events"]
    for token, statuses in (("", (401, 401, 401)), (ben, (404, 404, 200)), (ann, (200, 200, 200))):
        for path, status in zip(paths, statuses, strict=True):
            with opened(live, path, token) as stream:
                assert stream.status == status, (path, status)


def test_a_revoked_key_ends_its_streams_in_good_order(start: Start, keys: RedisKeys) -> None:
    (record, ann), (_, ben) = (key_of(keys, "team") for _ in range(2))
    live = start()
    job_id = posted(live, ann)
    path = f"/v1/jobs/{job_id}/events"
    with opened(live, path, ann) as lost, opened(live, path, ben) as kept:
        assert [each.type for each in until_idle(lost, 1)] == ["status"]
        assert [each.type for each in until_idle(kept, 1)] == ["status"]
        keys.revoke(record.id)
        assert list(lost.events()) == []
        assert lost.is_whole
        live.http.post(f"/v1/jobs/{job_id}/cancel", headers={"Authorization": f"Bearer {ben}"})
        assert [each.type for each in kept.events()][-1] == "end"
    with opened(live, path, ann) as stream:
        assert stream.status == 401
