"""Jobs and studies answer alike, and at the same price."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import redis

from core.jobs import TERMINAL, Status
from core.store.protocols.types import TaskClaim, WorkerInfo
from tests.api.actors import LEASE_S, NO_SUCH_JOB, Api, Json, problem_of, rosenbrock
from tests.api.study_actors import NO_SUCH_STUDY, sweep


@dataclass(frozen=True)
class Twin:
    """Jobs, or studies."""

    api: Api
    path: str
    body: Json
    unknown: str
    raw: redis.Redis

    def post(self) -> httpx2.Response:
        return self.api.http.post(self.path, json=self.body)

    def calls(self, reply: Any) -> dict[str, int]:
        """What the server was asked while `reply` was made: commands, those of scripts too."""
        self.raw.config_resetstat()
        reply()
        stats = self.raw.info("commandstats")
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


@pytest.fixture(params=["jobs", "studies"])
def twin(request: pytest.FixtureRequest, api: Api) -> Iterator[Twin]:
    jobs = request.param == "jobs"
    with redis.Redis.from_url(api.settings.redis_url) as raw:
        yield Twin(
            api,
            f"/v1/{request.param}",
            rosenbrock() if jobs else sweep(),
            NO_SUCH_JOB if jobs else NO_SUCH_STUDY,
            raw,
        )


def test_the_first_reply_knows_the_place_and_asks_the_store_once(twin: Twin) -> None:
    assert [twin.post().json()["progress"]["queue_position"] for _ in range(3)] == [0, 1, 2]
    assert twin.calls(twin.post)["evalsha"] == 1


def test_a_304_reads_version_and_status_alone(twin: Twin) -> None:
    path = f"{twin.path}/{twin.post().json()['id']}"
    twin.api.worker.store.claim_next("w", ("cpu",), LEASE_S)
    tag = twin.api.http.get(path).headers["etag"]
    replies = []

    def ask(sent: str) -> None:
        replies.append(twin.api.http.get(path, headers={"If-None-Match": sent}))

    asked = twin.calls(lambda: ask(tag))
    assert (asked["hmget"], asked.get("hgetall"), asked.get("evalsha")) == (1, None, None)
    assert (replies[0].status_code, replies[0].headers["etag"]) == (304, tag)
    assert twin.calls(lambda: ask('"other"'))["hgetall"] == 1
    assert replies[1].status_code == 200


def test_a_cancel_reads_the_record_once(twin: Twin) -> None:
    path = f"{twin.path}/{twin.post().json()['id']}"
    replies = []
    asked = twin.calls(lambda: replies.append(twin.api.http.post(f"{path}/cancel")))
    assert asked["hgetall"] == 1  # what the script answers
    assert (replies[0].status_code, replies[0].json()["status"]) == (202, "cancelled")
    assert twin.api.http.post(f"{path}/cancel").status_code == 200


def test_a_tag_follows_the_place_while_it_waits(twin: Twin) -> None:
    first, second = (f"{twin.path}/{twin.post().json()['id']}" for _ in range(2))
    tag = twin.api.http.get(second).headers["etag"]
    assert tag == '"1.1.no_worker"'
    assert twin.api.http.get(second, headers={"If-None-Match": tag}).status_code == 304
    twin.api.http.post(f"{first}/cancel")
    assert twin.api.http.get(second, headers={"If-None-Match": tag}).status_code == 200


def alive(twin: Twin, *devices: str, seconds: float = 60) -> None:
    stamp = "2026-11-22T10:00:09.000000Z"
    info = WorkerInfo("w", devices, ("thalweg",), None, stamp, stamp, 7)
    twin.api.worker.store.report_worker(info, seconds)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_it_says_what_it_waits_for(twin: Twin, device: str) -> None:
    """In the first reply, when it is read, and in the list; its tag changes with it."""
    spec = rosenbrock(device=device)
    body = spec if "base" not in twin.body else {"base": spec, "repeats": 2}
    fits = {"auto": ("cpu",), "cpu": ("cpu",), "cuda": ("cuda:3", "cpu"), "cuda:1": ("cuda:1",)}
    stages: list[tuple[tuple[str, ...], str]] = [((), "no_worker"), (fits[device], "queue")]
    if device.startswith("cuda"):
        stages.insert(1, (("cpu",), "device"))
    tag = ""
    for devices, waiting_for in stages:
        if devices:
            alive(twin, *devices)
        made = twin.api.http.post(twin.path, json=body).json()
        path = f"{twin.path}/{made['id']}"
        assert made["progress"]["waiting_for"] == waiting_for
        assert twin.api.get(path)["progress"]["waiting_for"] == waiting_for
        listed = twin.api.get(twin.path)["data"]
        assert {each["progress"]["waiting_for"] for each in listed} == {waiting_for}
        oldest = f"{twin.path}/{listed[-1]['id']}"
        changed = twin.api.http.get(oldest, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        tag = changed.headers["etag"]
    twin.api.worker.store.claim_next("w", fits[device], LEASE_S)
    assert twin.api.get(oldest)["progress"]["waiting_for"] is None


def test_a_study_at_which_nobody_is_left_to_work_says_so(twin: Twin) -> None:
    """A job without workers stays with the one that held it, until another finds its lease."""
    path = f"{twin.path}/{twin.post().json()['id']}"
    twin.api.worker.store.claim_next("w", ("cpu",), LEASE_S)
    expected = "no_worker" if "base" in twin.body else None
    assert twin.api.get(path)["progress"]["waiting_for"] == expected
    alive(twin, "cpu")
    assert twin.api.get(path)["progress"]["waiting_for"] is None


def test_a_worker_that_has_not_reported_for_long_is_none(twin: Twin) -> None:
    alive(twin, "cpu", seconds=-1)
    assert twin.post().json()["progress"]["waiting_for"] == "no_worker"


@pytest.mark.parametrize("ending", sorted(TERMINAL))
def test_what_has_ended_is_there_in_full(twin: Twin, ending: Status) -> None:
    """Also what stopped early: `fraction` says how much of the way is done, and none is left."""
    path = f"{twin.path}/{twin.post().json()['id']}"
    if ending == "cancelled":
        twin.api.http.post(f"{path}/cancel")
    elif "base" in twin.body:
        claim = twin.api.worker.store.claim_next("w", ("cpu",), LEASE_S)
        assert isinstance(claim, TaskClaim)
        failure = {"error": {"code": "internal_error", "message": "It did."}}
        fields: Json = failure if ending == "failed" else {}
        twin.api.worker.store.studies.finish(claim, ending, fields)
    else:
        twin.api.worker.close(twin.api.worker.claim(), ending)
    for shown in (twin.api.get(path), *twin.api.get(twin.path)["data"]):
        assert shown["finished_at"]
        assert (shown["progress"]["fraction"], shown["progress"]["eta_s"]) == (1.0, None)


def test_a_delete_heeds_the_tag_that_it_is_sent_with(twin: Twin) -> None:
    http, path = twin.api.http, f"{twin.path}/{twin.post().json()['id']}"
    queued = http.get(path).headers["etag"]
    problem_of(http.delete(path, headers={"If-Match": queued}), 409, "not_terminal")
    http.post(f"{path}/cancel")
    tag = http.get(path).headers["etag"]
    for wrong in (queued, '"other"', f"W/{tag}", "", "nonsense", tag.strip('"'), '"a", W/"b"'):
        refused = problem_of(
            http.delete(path, headers={"If-Match": wrong}), 412, "precondition_failed"
        )
        assert tag in refused["detail"]
        assert http.get(path).status_code == 200
    for wrong in (tag, "*", f'"other", W/{tag}'):
        headers = {"If-None-Match": wrong}
        problem_of(http.delete(path, headers=headers), 412, "precondition_failed")
    assert http.delete(path, headers={"If-Match": f'"other" , {tag}'}).status_code == 204
    problem_of(http.delete(path, headers={"If-Match": "*"}), 404, "not_found")


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-None-Match": '"x"'}])
def test_a_delete_without_a_tag_needs_none(twin: Twin, headers: dict[str, str]) -> None:
    path = f"{twin.path}/{twin.post().json()['id']}"
    twin.api.http.post(f"{path}/cancel")
    assert twin.api.http.delete(path, headers=headers).status_code == 204


def test_what_is_over_waits_for_nothing(twin: Twin) -> None:
    path = f"{twin.path}/{twin.post().json()['id']}"
    cancelled = twin.api.http.post(f"{path}/cancel").json()
    assert cancelled["progress"]["waiting_for"] is None
    assert twin.api.get(path)["progress"]["waiting_for"] is None


def test_what_names_nothing_is_refused_in_the_same_words(twin: Twin) -> None:
    noun = twin.unknown.partition("_")[0]
    for id_, words in (
        (twin.unknown, f"There is no {noun} {twin.unknown!r}."),
        (f"{noun}_1", f"No {noun} has this id: a {noun}'s id is {noun}_ and 26 characters."),
    ):
        for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
            reply = twin.api.http.request(method, f"{twin.path}/{id_}{rest}")
            assert problem_of(reply, 404, "not_found")["detail"] == words


def test_its_story_is_told_but_not_in_lists(twin: Twin) -> None:
    made = twin.post().json()
    assert [(each["event"], each["detail"]) for each in made["timeline"]] == [
        ("created", None), ("queued", "auto")
    ]  # fmt: skip
    twin.api.worker.store.claim_next("gpu-3", ("cpu",), LEASE_S)
    view = twin.api.get(f"{twin.path}/{made['id']}")
    assert [each["detail"] for each in view["timeline"]] == [None, "auto", "gpu-3"]
    assert view["timeline"][0]["at"] == view["created_at"]
    assert view["timeline"][2]["at"] == view["started_at"]
    (listed,) = twin.api.get(twin.path)["data"]
    assert "timeline" not in listed
