"""Changes of jobs and studies over HTTP: pause and resume, names, labels, priorities, clones."""

from typing import Any

import httpx2
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


# --- names, notes, labels, time to be kept, priority

MERGE = {"Content-Type": "application/merge-patch+json"}
LONG_AFTER = "2100-01-01T00:00:00.000000Z"


def patch(twin: Twin, path: str, body: Any, if_match: str | None = None) -> httpx2.Response:
    headers = {} if if_match is None else {"If-Match": if_match}
    return twin.api.http.patch(path, json=body, headers=headers)


def patched(twin: Twin, path: str, body: Any) -> Json:
    reply = patch(twin, path, body)
    assert reply.status_code == 200, reply.text
    record: Json = reply.json()
    assert record == twin.api.get(path)
    assert reply.headers["etag"] == twin.api.http.get(path).headers["etag"]
    return record


def test_a_name_and_a_note_stand_beside_the_spec(twin: Twin) -> None:
    body = {**twin.body, "name": "baseline, 2 × 64", "note": "first try\nof many"}
    made = twin.api.http.post(twin.path, json=body).json()
    assert (made["name"], made["note"]) == (body["name"], body["note"])
    assert not {"name", "note"} & made["spec"].keys()
    assert twin.post().json()["name"] is None
    checked = twin.api.http.post(f"{twin.path}/validate", json=body)
    assert checked.status_code == 200
    assert not {"name", "note"} & checked.json()["spec"].keys()
    for wrong in ("", "two\nlines", 5, "x" * 201):
        reply = twin.api.http.post(twin.path, json={**twin.body, "name": wrong, "note": ""})
        assert sorted(refused_params(reply)) == ["name", "note"]
    path = f"{twin.path}/{made['id']}"
    changed = patched(twin, path, {"name": None, "note": "second"})
    assert (changed["name"], changed["note"]) == (None, "second")
    assert changed["spec"] == made["spec"]


def test_an_idempotency_key_goes_with_the_name_too(twin: Twin) -> None:
    def send(**own: str) -> httpx2.Response:
        headers = {"Idempotency-Key": "k"}
        return twin.api.http.post(twin.path, json={**twin.body, **own}, headers=headers)

    first = send(name="one").json()["id"]
    assert send(name="one").json()["id"] == first
    problem_of(send(name="two"), 409, "idempotency_key_reused")
    problem_of(send(), 409, "idempotency_key_reused")


def test_labels_are_merged_and_lists_follow_them(twin: Twin) -> None:
    body = {**twin.body, "labels": {"team": "vision", "old": "yes"}}
    made = twin.api.http.post(twin.path, json=body).json()
    path = f"{twin.path}/{made['id']}"
    other = post(twin)

    changed = patched(twin, path, {"labels": {"team": "sound", "old": None, "new": ""}})

    assert changed["labels"] == {"team": "sound", "new": ""}
    assert changed["spec"]["labels"] == body["labels"]

    def found(label: str) -> list[str]:
        return [each["id"] for each in twin.api.get(twin.path, label=label)["data"]]

    assert [found("team:sound"), found("team:vision"), found("old:yes")] == [[made["id"]], [], []]
    assert patched(twin, path, {"labels": None})["labels"] == {}
    assert found("team:sound") == []
    many = {f"k{number}": "v" for number in range(64)}
    assert patched(twin, other, {"labels": many})["labels"] == many
    assert refused_params(patch(twin, other, {"labels": {"one": "more"}})) == ["labels"]
    assert patched(twin, other, {"labels": {"k0": None, "one": "more"}})["labels"]["one"] == "more"
    twin.api.http.post(f"{other}/cancel")
    assert twin.api.http.delete(other).status_code == 204
    assert found("k1:v") == []


def test_a_change_of_nothing_changes_nothing(twin: Twin) -> None:
    path = post(twin)
    before = twin.api.http.get(path)
    bodies: list[Json] = [
        {},
        {"labels": {}},
        {"name": None},
        {"labels": {"gone": None}},
        {"priority": 5},
    ]
    for body in bodies:
        reply = patch(twin, path, body)
        assert (reply.status_code, reply.json()) == (200, before.json())
        assert reply.headers["etag"] == before.headers["etag"]


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({"status": "succeeded"}, ["status"]),
        ({"spec": {}, "name": "x"}, ["spec"]),
        ({"priority": 10}, ["priority"]),
        ({"priority": None}, ["priority"]),
        ({"priority": "9"}, ["priority"]),
        ({"keep_until": "tomorrow"}, ["keep_until"]),
        ({"keep_until": "2100-01-01T00:00:00"}, ["keep_until"]),
        ({"keep_until": 5}, ["keep_until"]),
        ({"labels": {"a b": "x"}}, ["labels.a b"]),
        ({"labels": {"a": 5, "b": "x" * 256}}, ["labels.a", "labels.b"]),
        ({"labels": "a"}, ["labels"]),
        ({"name": "", "note": 5}, ["name", "note"]),
        ([], [""]),
    ],
)
def test_a_wrong_change_names_its_fields_and_changes_nothing(
    twin: Twin, body: Any, params: list[str]
) -> None:
    path = post(twin)
    before = twin.api.get(path)
    assert sorted(refused_params(patch(twin, path, body))) == params
    assert twin.api.get(path) == before


def test_a_change_takes_json_of_both_names_and_nothing_else(twin: Twin) -> None:
    path = post(twin)
    for content, status in (("application/merge-patch+json", 200), ("text/plain", 415)):
        reply = twin.api.http.patch(
            path, content=b'{"name": "a"}', headers={"Content-Type": content}
        )
        assert reply.status_code == status
    problem_of(patch(twin, f"{twin.path}/{twin.unknown}", {"name": "x"}), 404, "not_found")
    repeated = twin.api.http.patch(path, content=b'{"name": "a", "name": "b"}', headers=MERGE)
    assert refused_params(repeated) == ["name"]


def test_a_change_may_depend_on_the_version_that_was_read(twin: Twin) -> None:
    path = post(twin)
    tag = twin.api.http.get(path).headers["etag"]
    post(twin)
    assert patch(twin, path, {"name": "a"}, if_match=tag).status_code == 200
    body = problem_of(patch(twin, path, {"name": "b"}, if_match=tag), 412, "precondition_failed")
    assert "ETag" in body["detail"]
    assert twin.api.get(path)["name"] == "a"
    assert patch(twin, path, {"name": "c"}, if_match="*").status_code == 200
    hold(twin.api)  # a running study's tags are weak, and name the version all the same
    tag = twin.api.http.get(path).headers["etag"]
    assert patch(twin, path, {"name": "d"}, if_match=f'"0", {tag}').status_code == 200
    assert twin.api.get(path)["name"] == "d"


def test_what_is_kept_is_neither_deleted_nor_past_its_retention(twin: Twin) -> None:
    paths = [post(twin) for _ in range(3)]
    patched(twin, paths[0], {"keep_until": "2100-01-01T01:00:00+01:00"})
    for path in paths:
        twin.api.http.post(f"{path}/cancel")
    assert patched(twin, paths[1], {"keep_until": LONG_AFTER})["keep_until"] == LONG_AFTER
    store = twin.api.worker.store

    assert [f"{twin.path}/{each}" for each in store.expire(0.0, 0, 100)] == paths[2:]
    for path in paths[:2]:
        assert twin.api.get(path)["keep_until"] == LONG_AFTER
        body = problem_of(twin.api.http.delete(path), 409, "kept")
        assert LONG_AFTER in body["detail"]
    patched(twin, paths[0], {"keep_until": None})
    assert twin.api.http.delete(paths[0]).status_code == 204
    patched(twin, paths[1], {"keep_until": "2020-01-01T00:00:00Z"})
    assert [f"{twin.path}/{each}" for each in store.expire(0.0, None, 100)] == [paths[1]]


def test_what_was_kept_is_found_once_its_time_is_over(twin: Twin) -> None:
    path = post(twin)
    twin.api.http.post(f"{path}/cancel")
    patched(twin, path, {"keep_until": LONG_AFTER})
    id_ = path.rpartition("/")[2]
    namespace = twin.api.settings.namespace
    key = f"{namespace}:{id_.partition('_')[0]}:{id_}"
    ended = twin.raw.hget(key, "ended_ms")
    assert isinstance(ended, bytes)
    assert list(twin.api.worker.store.expire(None, 0, 100)) == []
    twin.raw.hset(key, "keep_ms", 1)
    twin.raw.zadd(f"{namespace}:kept", {id_: 1})
    assert list(twin.api.worker.store.expire(1e6, None, 100)) == []
    assert twin.raw.zscore(f"{namespace}:finished", id_) == float(ended)
    assert list(twin.api.worker.store.expire(0.0, None, 100)) == [id_]


def test_another_priority_reorders_the_queue(twin: Twin) -> None:
    paths = [post(twin) for _ in range(4)]
    twin.api.http.post(f"{paths[1]}/pause")
    raised = patched(twin, paths[3], {"priority": 7})
    assert (raised["priority"], raised["progress"]["queue_position"]) == (7, 0)
    assert (raised["spec"].get("base") or raised["spec"])["priority"] == 7
    assert patched(twin, paths[1], {"priority": 9})["status"] == "paused"
    assert patched(twin, paths[0], {"priority": 0})["progress"]["queue_position"] == 2
    twin.api.http.post(f"{paths[1]}/resume")
    order = [paths[1], paths[3], paths[2], paths[0]]
    places = [twin.api.get(path)["progress"]["queue_position"] for path in order]
    assert places == [0, 1, 2, 3]
    for path in order:
        claim = hold(twin.api)
        id_ = claim.study.id if isinstance(claim, TaskClaim) else claim.job.id
        assert path.endswith(id_)


def test_what_no_longer_waits_keeps_its_priority_and_says_so(twin: Twin) -> None:
    path = post(twin)
    hold(twin.api)
    before = twin.api.get(path)
    body = problem_of(patch(twin, path, {"priority": 9, "name": "x"}), 409, "not_waiting")
    assert "running" in body["detail"]
    assert twin.api.get(path) == before
    twin.api.http.post(f"{path}/cancel")
    problem_of(patch(twin, path, {"priority": 9}), 409, "not_waiting")
    assert patched(twin, path, {"name": "x"})["name"] == "x"


# --- clones


def test_a_clone_has_the_spec_with_the_patch(twin: Twin) -> None:
    source = twin.post().json()
    patch_ = (
        {"optimizer": {"kind": "adam"}, "budget": {"max_steps": 7}}
        if "/jobs" in twin.path
        else {"base": {"optimizer": {"kind": "adamw"}}, "repeats": 3}
    )
    body = {"from": source["id"], "patch": patch_, "name": "child", "note": "n"}
    reply = twin.api.http.post(twin.path, json=body)
    assert reply.status_code == 202, reply.text
    child = reply.json()
    assert (child["parent_id"], child["name"], child["note"]) == (source["id"], "child", "n")
    job = child["spec"].get("base") or child["spec"]
    was = source["spec"].get("base") or source["spec"]
    assert job["optimizer"]["kind"] in {"adam", "adamw"}
    assert not job["optimizer"].keys() & {"momentum", "nesterov"}
    assert (job["problem"], job["seed"]) == (was["problem"], was["seed"])
    plain = twin.api.http.post(twin.path, json={"from": source["id"]}).json()
    assert plain["spec"] == source["spec"]
    assert (plain["name"], plain["status"]) == (None, "queued")


def patch_of(twin: Twin, part: Json) -> Json:
    """The patch of what a job, or each of a study's jobs, is made of."""
    return part if "/jobs" in twin.path else {"base": part}


def test_a_clone_that_cannot_be_is_refused_in_words(twin: Twin) -> None:
    source = twin.post().json()["id"]

    def refused(**body: Any) -> list[str]:
        return sorted(refused_params(twin.api.http.post(twin.path, json=body)))

    prefix = "" if "/jobs" in twin.path else "base."
    wrong: Json = {"optimizer": {"eps": -1, "kind": "adam"}, "nonsense": 1}
    assert refused(**{"from": source, "patch": patch_of(twin, wrong)}) == [
        f"{prefix}nonsense", f"{prefix}optimizer.eps"
    ]  # fmt: skip
    for value in (2**64, -(2**70), 10**400):
        (param,) = refused(**{"from": source, "patch": patch_of(twin, {"seed": value})})
        assert param in {f"{prefix}seed", ""}
    assert refused(**{"from": twin.unknown}) == ["from"]
    assert refused(**{"from": "nonsense"}) == ["from"]
    assert refused(**{"from": None}) == ["from"]
    assert refused(**{"from": source, "patch": [], "x": 1}) == ["patch", "x"]
    assert refused(**{"from": source, **twin.body}) == sorted(twin.body)
    assert len(twin.api.get(twin.path)["data"]) == 1


def test_a_clone_is_made_once_for_a_key(twin: Twin) -> None:
    source = twin.post().json()["id"]
    other = twin.post().json()["id"]

    def send(**body: Any) -> httpx2.Response:
        return twin.api.http.post(twin.path, json=body, headers={"Idempotency-Key": "k"})

    first = send(**{"from": source}).json()["id"]
    again = send(**{"from": source, "patch": {}})
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first, "true")
    problem_of(send(**{"from": other}), 409, "idempotency_key_reused")
