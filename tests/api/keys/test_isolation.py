"""Two owners: neither sees, changes or names what the other made; an admin sees both."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.settings import Settings
from core.store.protocols.types import WorkerInfo
from core.store.redis import AsyncRedisStore
from core.store.redis.keys import RedisKeys
from core.store.redis.webhooks import RedisSecrets
from core.uses.record import UseRecord
from tests.api.actors import Json, rosenbrock
from tests.api.datasets.actors import DataApi, on, running
from tests.api.keys.access import (
    Call,
    Ids,
    calls_by_path,
    calls_by_reference,
    calls_of_all,
    own,
    references,
    shape_of,
)
from tests.api.study_actors import play, sweep
from tests.core.store.uses import new_use

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass
class Two:
    """A running application with two owners' things in it."""

    api: DataApi
    tokens: dict[str, str]
    ids: dict[str, Ids]

    @property
    def http(self) -> TestClient:
        return self.api.http

    def make(self, call: Call, whose: str) -> Json:
        return json.loads(call.made(self.http, self.tokens[whose]).text)  # type: ignore[no-any-return]


def filled(api: DataApi, label: str, settings: Settings) -> Ids:
    """A job, a study and a data set of the caller, ended, with rows, weights and a diagnosis, and a
    message to a webhook, and a prediction that waits."""
    data = api.upload(name=f"data of {label}", label=f"own:{label}")
    labels = {"own": label, "secret": f"of-{label}"}
    webhook = {"url": "https://example.org/x"}
    job = api.post({**rosenbrock(labels=labels, webhook=webhook), "name": f"job of {label}"})
    claim = api.worker.claim()
    api.worker.append(claim, step=[0, 1], loss=[2.0, 1.0], lr=[0.1, 0.1], grad_norm=[1.0, 1.0],
                      x=np.zeros((2, 2)))  # fmt: skip
    api.worker.save(claim, b"weights", name="final", step=100)
    api.worker.save(claim, b"resume", name="resume", step=50)
    api.worker.close(claim, result={"num_steps": 100, "train_s": 1.0},
                     diagnosis={"verdict": "healthy", "confidence": 1.0, "findings": [],
                                "remedies": [{"index": 0, "patch": {}}]})  # fmt: skip
    study = play(api, sweep(rosenbrock(), labels=labels))
    study.close(*[0.5] * 6)
    uses = api.post(on(data, labels=labels))
    assert api.http.post(f"/v1/jobs/{uses['id']}/cancel").status_code == 202
    (told,) = api.get("/v1/webhooks/deliveries", job=job["id"])["data"]
    use = new_use(job["id"], owner="ben" if label == "1" else label)
    asyncio.run(added(settings, use))
    return Ids(job["id"], study.id, data["id"], told["id"], use.id)


async def added(settings: Settings, use: UseRecord) -> None:
    store = AsyncRedisStore(settings.redis_url, settings.namespace)
    await store.uses.add(use, None)
    await store.aclose()


@pytest.fixture(scope="module")
def namespace() -> str:
    return f"test-{new_key_id()}"


@pytest.fixture(scope="module")
def two(redis_url: str, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    artifacts = str(tmp_path_factory.mktemp("two") / "artifacts")
    settings = Settings(redis_url=redis_url, namespace=namespace, artifacts=artifacts)
    keys = RedisKeys(redis_url, namespace)
    secrets = RedisSecrets(redis_url, namespace)
    secrets.add()
    secrets.disconnect()
    tokens = {}
    for owner, scopes in (("ann", "write"), ("ben", "write"), ("root", "admin")):
        now = rfc3339(utc_now())
        key = KeyRecord(new_key_id(), owner, ("read", scopes), now)  # type: ignore[arg-type]
        tokens[owner] = keys.create(key)
    with running(settings) as api:
        ids = {}
        for owner in ("ann", "ben"):
            api.http.headers["Authorization"] = f"Bearer {tokens[owner]}"
            ids[owner] = filled(api, "1" if owner == "ben" else owner, settings)
        api.http.headers.pop("Authorization")
        yield Two(api, tokens, ids)
    with_all = list(keys._link.client.scan_iter(f"{namespace}:*"))
    keys._link.client.unlink(*with_all)
    keys.disconnect()


def test_anothers_ids_are_those_of_nobody_in_every_path(two: Two, document: Json) -> None:
    """The replies are the same but for the id, for every call there is."""
    ann, nobody = two.ids["ann"], Ids.unknown()
    before = {path: state(two, path) for path in paths_of(ann)}
    pairs = list(zip(calls_by_path(document, ann), calls_by_path(document, nobody), strict=True))
    assert len(pairs) > 30
    for call, other in pairs:
        reply, unknown = (each.made(two.http, two.tokens["ben"]) for each in (call, other))
        assert reply.status_code == 404, (call, reply.text)
        assert shape_of(reply, ann) == shape_of(unknown, nobody), call
    assert {path: state(two, path) for path in paths_of(ann)} == before


def paths_of(ids: Ids) -> list[str]:
    return [
        f"/v1/jobs/{ids.job}", f"/v1/studies/{ids.study}", f"/v1/datasets/{ids.data}",
        f"/v1/webhooks/deliveries/{ids.msg}", f"/v1/predictions/{ids.pred}",
    ]  # fmt: skip


def state(two: Two, path: str) -> Json:
    return two.make(Call("state", "GET", path), "ann")


@pytest.mark.parametrize("whose", ["ann", "root"])
def test_who_owns_it_and_an_admin_get_answers(two: Two, document: Json, whose: str) -> None:
    """So that the test above is not passed by a service that answers nobody."""
    for call in calls_by_path(document, two.ids["ann"]):
        if call.method == "GET":
            reply = call.made(two.http, two.tokens[whose])
            assert reply.status_code not in {401, 403, 404}, (call, reply.text)


def test_every_reference_of_the_document_is_tried(document: Json) -> None:
    assert references(document).keys() == calls_by_reference(document, Ids.unknown()).keys()


def test_anothers_ids_are_those_of_nobody_in_every_reference(two: Two, document: Json) -> None:
    ann, ben, nobody = two.ids["ann"], two.ids["ben"], Ids.unknown()
    before = two.make(Call("list", "GET", "/v1/jobs"), "ben")
    for place, calls in calls_by_reference(document, ann).items():
        others = calls_by_reference(document, nobody)[place]
        for call, other in zip(calls, others, strict=True):
            reply = own(call, ben).made(two.http, two.tokens["ben"])
            unknown = own(other, ben).made(two.http, two.tokens["ben"])
            if place.startswith("list_webhook_deliveries"):  # a filter: jobs go before messages do
                assert reply.json()["data"] == []
            else:
                assert reply.status_code in {404, 422}, (place, call, reply.text)
            shapes = shape_of(reply, ann, ben), shape_of(unknown, nobody, ben)
            assert shapes[0] == shapes[1], (place, call)
    assert two.make(Call("list", "GET", "/v1/jobs"), "ben") == before


def test_the_same_references_are_good_for_who_owns_them(two: Two, document: Json) -> None:
    ann = two.ids["ann"]
    for place, calls in calls_by_reference(document, ann).items():
        for call in calls:
            if call.method == "POST" and call.path.endswith("validate"):
                reply = own(call, ann).made(two.http, two.tokens["ann"])
                assert "unknown" not in reply.text, (place, reply.text)
                assert "there is no" not in reply.text, (place, reply.text)


def test_no_list_or_sum_names_what_another_made(two: Two, document: Json) -> None:
    ann = two.ids["ann"]
    secrets = (ann.job, ann.study, ann.data, "of ann", "of-ann", '"ann"')
    store, now = two.api.worker.store, rfc3339(utc_now())
    working = WorkerInfo("w-1", ("cpu",), ("cpu",), ann.job, now, now, 1)
    store.report_worker(working, 60.0)
    filters = (
        ("label", "own:ann"), ("label", "secret:of-ann"), ("limit", "200"),
        ("created_after", "2020-01-01T00:00:00Z"),
    )  # fmt: skip
    sums = (("by", "label:own"), ("by", "label:secret"), ("by", "key"))
    lists = ("/v1/jobs", "/v1/studies", "/v1/datasets")
    calls = [
        *calls_of_all(document),
        *(Call(path, "GET", path, (query,)) for path in lists for query in filters),
        *(Call("usage", "GET", "/v1/usage", (query,)) for query in sums),
        Call("compare", "GET", "/v1/comparison", (("label", "own:ann"),)),
    ]
    seen = {"ben": 0, "ann": 0, "root": 0}
    for call in calls:
        for whose in seen:
            reply = call.made(two.http, two.tokens[whose])
            assert reply.status_code in {200, 422}, (call, reply.text)
            found = [secret for secret in secrets if secret in reply.text and call.query == ()]
            found += [each for each in secrets[:3] if each in reply.text]
            if whose == "ben":
                assert not found, (call, found)
            seen[whose] += bool(found)
    assert min(seen["ann"], seen["root"]) >= 8
    store.forget_worker("w-1")


@pytest.mark.parametrize("noun", ["jobs", "studies", "datasets"])
def test_lists_have_pages_of_the_callers_own(two: Two, noun: str) -> None:
    def ids(whose: str) -> list[str]:
        found: list[str] = []
        query: tuple[tuple[str, str], ...] = (("limit", "1"),)
        while True:
            page = two.make(Call("list", "GET", f"/v1/{noun}", query), whose)
            found += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                return found
            query = (("limit", "1"), ("after", page["next_cursor"]))

    ann, ben, root = (ids(whose) for whose in ("ann", "ben", "root"))
    assert ann
    assert ben
    assert not set(ann) & set(ben)
    assert sorted(ann + ben) == sorted(root)


def test_sums_are_of_the_callers_own_by_key(two: Two) -> None:
    def groups(whose: str) -> Json:
        body = two.make(Call("usage", "GET", "/v1/usage"), whose)
        return {each["group"]: each["num_jobs"] + each["num_studies"] for each in body["data"]}

    ann, ben, root = (groups(whose) for whose in ("ann", "ben", "root"))
    assert len(ann) == len(ben) == 1
    assert ann | ben == root
    assert all(str(group).startswith("key_") for group in root)


def test_each_owner_has_idempotency_keys_of_its_own(two: Two) -> None:
    def posted(whose: str, **changes: int) -> tuple[int, str]:
        call = Call("post", "POST", "/v1/jobs", body=rosenbrock(**changes),
                    headers={"Idempotency-Key": "same"})  # fmt: skip
        reply = call.made(two.http, two.tokens[whose])
        return reply.status_code, reply.json().get("id", "")

    ann, ben = posted("ann"), posted("ben", seed=3)
    assert (ann[0], ben[0]) == (202, 202)
    assert ann[1] != ben[1]
    assert posted("ann") == ann
    assert posted("ben")[0] == 409
    for whose, (_, id_) in (("ann", ann), ("ben", ben)):
        cancel = Call("cancel", "POST", f"/v1/jobs/{id_}/cancel")
        assert cancel.made(two.http, two.tokens[whose]).status_code == 202


def test_workers_show_anothers_job_to_an_admin_alone(two: Two) -> None:
    store, now = two.api.worker.store, rfc3339(utc_now())
    for id_ in (two.ids["ann"].job, two.ids["ann"].study):
        store.report_worker(WorkerInfo("w-1", ("cpu",), ("cpu",), id_, now, now, 1), 60.0)
        shown = {
            whose: two.make(Call("workers", "GET", "/v1/workers"), whose)["data"][0]["current_job"]
            for whose in ("ann", "ben", "root")
        }
        assert shown == {"ann": id_, "ben": None, "root": id_}
    store.forget_worker("w-1")


def test_what_was_made_before_keys_is_the_admins_until_it_is_adopted(
    two: Two, namespace: str, redis_url: str
) -> None:
    keys = RedisKeys(redis_url, namespace)
    assert keys.adopt("carl") == 0  # each has an owner
    link = keys._link.client
    id_ = two.ids["ann"].data
    link.hdel(f"{namespace}:data:{id_}", "owner")
    link.zrem(f"{namespace}:data-owner:ann", id_)
    two.http.app.state.services.views.clear()  # type: ignore[attr-defined]
    path = f"/v1/datasets/{id_}"
    status = {
        whose: Call("get", "GET", path).made(two.http, two.tokens[whose]).status_code
        for whose in two.tokens
    }
    assert status == {"ann": 404, "ben": 404, "root": 200}
    assert keys.adopt("ann") == 1
    assert keys.adopt("ben") == 0
    assert Call("get", "GET", path).made(two.http, two.tokens["ann"]).status_code == 200
    listed = two.make(Call("list", "GET", "/v1/datasets"), "ann")
    assert id_ in [each["id"] for each in listed["data"]]
    keys.disconnect()
