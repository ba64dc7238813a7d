"""Changes of jobs and studies over HTTP: pause and resume."""

import pytest

from core.store.protocols.types import Claim, TaskClaim
from tests.api.actors import LEASE_S, Api, Json, problem_of, refused_params
from tests.api.services.test_queueing import Twin, twin

__all__ = ["twin"]


def hold(api: Api) -> Claim | TaskClaim:
    claim = api.worker.store.claim_next("w", ("cpu",), LEASE_S)
    assert claim is not None
    return claim


def post(twin: Twin) -> str:
    return f"{twin.path}/{twin.post().json()['id']}"


def listed(twin: Twin, status: str) -> list[str]:
    page = twin.api.get(twin.path, status=status)
    return [f"{twin.path}/{each['id']}" for each in page["data"]]


def test_what_waits_is_paused_at_once_and_listed_so(twin: Twin) -> None:
    path, other = post(twin), post(twin)
    for _ in range(2):
        reply = twin.api.http.post(f"{path}/pause")
        assert reply.status_code == 200
        record: Json = reply.json()
        assert record["status"] == "paused"
        assert record["pause_requested_at"]
        assert record["progress"]["queue_position"] is None
        assert record["progress"]["waiting_for"] is None
    assert twin.api.get(path) == record
    assert (listed(twin, "paused"), listed(twin, "queued")) == ([path], [other])

    announced = twin.api.dispatcher.announced
    reply = twin.api.http.post(f"{path}/resume")
    assert reply.status_code == 202
    record = reply.json()
    assert (record["status"], record["pause_requested_at"]) == ("queued", None)
    assert record["progress"]["queue_position"] == 1
    assert twin.api.dispatcher.announced == announced + 1
    assert reply.headers["etag"] == twin.api.http.get(path).headers["etag"]
    again = twin.api.http.post(f"{path}/resume", json={})
    assert (again.status_code, again.json()["status"]) == (200, "queued")


def test_what_is_held_is_asked_and_the_pause_may_be_withdrawn(twin: Twin) -> None:
    path = post(twin)
    claim = hold(twin.api)
    times = set()
    for _ in range(2):
        reply = twin.api.http.post(f"{path}/pause")
        assert (reply.status_code, reply.json()["status"]) == (202, "running")
        times.add(reply.json()["pause_requested_at"])
    assert len(times) == 1
    reply = twin.api.http.post(f"{path}/resume")
    assert (reply.status_code, reply.json()["status"]) == (200, "running")
    assert reply.json()["pause_requested_at"] is None
    twin.api.http.post(f"{path}/pause")
    assert twin.api.worker.store.hand_over(claim) == "paused"
    assert twin.api.http.post(f"{path}/pause").status_code == 200
    assert twin.api.get(path)["status"] == "paused"


def test_a_pause_is_no_end(twin: Twin) -> None:
    path = post(twin)
    tag = twin.api.http.get(path).headers["etag"]
    twin.api.http.post(f"{path}/pause")
    assert twin.api.http.get(path, headers={"If-None-Match": tag}).status_code == 200
    problem_of(twin.api.http.delete(path), 409, "not_terminal")
    assert twin.api.get(path, wait=0.01)["status"] == "paused"
    assert list(twin.api.worker.store.expire(0.0, 0, 100)) == []
    reply = twin.api.http.post(f"{path}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (202, "cancelled")
    assert twin.api.http.delete(path).status_code == 204


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_what_has_ended_or_is_not_there_is_refused(twin: Twin, what: str) -> None:
    path = post(twin)
    held = post(twin)
    twin.api.http.post(f"{path}/cancel")
    before = twin.api.get(path)
    body = problem_of(twin.api.http.post(f"{path}/{what}"), 409, "already_ended")
    assert "cancelled" in body["detail"]
    assert twin.api.get(path) == before
    hold(twin.api)
    twin.api.http.post(f"{held}/cancel")
    problem_of(twin.api.http.post(f"{held}/{what}"), 409, "cancelling")
    problem_of(twin.api.http.post(f"{twin.path}/{twin.unknown}/{what}"), 404, "not_found")
    problem_of(twin.api.http.post(f"{twin.path}/nonsense/{what}"), 404, "not_found")
    body_given = twin.api.http.post(f"{held}/{what}", json={"for_s": 3})
    assert refused_params(body_given) == [""]
    problem_of(twin.api.http.get(f"{held}/{what}"), 405, "method_not_allowed")
