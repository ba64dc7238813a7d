"""What jobs and studies have used: in each record, and added up."""

import time
from typing import Any

import pytest

from core.jobs import Usage
from core.store.protocols.types import Claim
from tests.api.actors import Api, Json, digits, refused_params, rosenbrock
from tests.api.study_actors import play, sweep, take


def used_job(api: Api, usage: Usage, **spec: Any) -> Json:
    """A job that has used this much."""
    job_id: str = api.post(rosenbrock(**spec))["id"]
    claim = api.worker.claim()
    api.worker.close(claim, usage=usage)
    return api.job(job_id)


def test_a_job_has_the_sum_of_its_attempts_and_the_largest_peak(api: Api) -> None:
    job_id = api.post()["id"]
    store = api.worker.store
    assert api.job(job_id)["usage"] is None
    began = time.monotonic()
    first = api.worker.claim()
    for _ in range(2):  # a call that is repeated counts once
        store.update(first, {"usage": Usage(3_000, 1.5, 50)})
    store.lose(first)
    second = api.worker.claim()
    store.update(second, {"usage": Usage(2_000, 0.25)})
    store.hand_over(second)
    third = api.worker.claim()
    store.update(third, {"usage": Usage(1_000, 0.5, 80)})
    store.update(third, {"usage": Usage(None, 0.75, 70)})
    api.worker.close(third)
    usage = api.job(job_id)["usage"]
    assert 0.0 <= usage.pop("device_s") <= time.monotonic() - began + 0.1
    assert usage == {"peak_memory_bytes": 3_000, "cpu_s": 2.5, "stored_bytes": 70}
    assert list(api.get("/v1/jobs")["data"][0]["usage"]) == [
        "device_s", "cpu_s", "peak_memory_bytes", "stored_bytes",
    ]  # fmt: skip


def test_a_device_is_held_from_the_claim_to_its_end(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    before = api.worker.store.clock_s()
    while api.worker.store.clock_s() < before + 0.25:
        pass
    api.worker.close(claim)
    assert 0.25 <= api.job(job_id)["usage"]["device_s"] < 5.0


def test_a_study_has_the_sum_of_its_tasks(api: Api) -> None:
    played = play(api, sweep(digits(), repeats=1))
    studies = api.worker.store.studies
    for index in range(3):
        played.end(index, 0.5)
    studies.close(played.claim, "succeeded", "finished", usage=Usage(4_000, 2.0, 100))
    studies.finish(take(api), "succeeded", {})
    usage = played.view()["usage"]
    assert usage.pop("device_s") >= 0.0  # of plans, which hold no device, nothing
    assert usage == {"peak_memory_bytes": 4_000, "cpu_s": 2.0, "stored_bytes": 100}
    total = api.get("/v1/usage")["total"]
    assert (total["num_jobs"], total["num_studies"], total["cpu_s"]) == (0, 1, 2.0)


def test_sums_by_the_values_of_a_label(api: Api) -> None:
    used_job(api, Usage(10, 1.0, 5), labels={"team": "b"})
    used_job(api, Usage(30, 2.0, 5), labels={"team": "a", "x": "1"})
    used_job(api, Usage(20, 4.0, 5), labels={"team": "b"})
    used_job(api, Usage(5, 8.0, 5))
    used_job(api, Usage(6, 16.0, 5), labels={"team": ""})
    api.post(rosenbrock(labels={"team": "a"}))
    found = api.get("/v1/usage", by="label:team")
    assert found["by"] == "label:team"
    sums = {each["group"]: each for each in found["data"]}
    assert list(sums) == [None, "b", "a", ""]
    by_hand = {
        "b": (2, 5.0, 20, 10),
        "a": (2, 2.0, 30, 5),
        None: (1, 8.0, 5, 5),
        "": (1, 16.0, 6, 5),
    }
    for group, (count, cpu_s, peak, stored) in by_hand.items():
        one = sums[group]
        assert (one["num_jobs"], one["cpu_s"]) == (count, cpu_s)
        assert (one["peak_memory_bytes"], one["stored_bytes"]) == (peak, stored)
    total = found["total"]
    assert (total["num_jobs"], total["cpu_s"], total["stored_bytes"]) == (6, 31.0, 25)
    assert total["device_s"] == pytest.approx(sum(each["device_s"] for each in found["data"]))
    # In pages, too.
    seen, query = [], {"by": "label:team", "limit": 3}
    while True:
        page = api.get("/v1/usage", **query)
        assert page["total"] == total
        seen += [each["group"] for each in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
    assert seen == list(sums)


def test_without_keys_there_is_one_group(api: Api) -> None:
    used_job(api, Usage(10, 1.0, 5))
    for query in ({}, {"by": "key"}):
        found = api.get("/v1/usage", **query)
        assert [each["group"] for each in found["data"]] == [None]
        assert found["by"] == "key"
    assert api.get("/v1/usage", by="label:nobody")["data"][0]["num_jobs"] == 1


def test_nothing_is_nothing(api: Api) -> None:
    found = api.get("/v1/usage")
    assert found["data"] == []
    assert found["total"]["peak_memory_bytes"] is None
    assert found["total"]["device_s"] == 0.0


def test_since_counts_what_was_created_then_or_later(api: Api) -> None:
    first = used_job(api, Usage(10, 1.0, 5))
    second = used_job(api, Usage(10, 2.0, 5))
    for since, cpu_s in ((first["created_at"], 3.0), (second["created_at"], 2.0)):
        found = api.get("/v1/usage", since=since)
        assert found["total"]["cpu_s"] == cpu_s
        assert found["since"] == since
    assert api.get("/v1/usage", since="2999-01-01T00:00:00Z")["data"] == []
    assert api.get("/v1/usage", since="1903-01-01T00:00:00Z")["total"]["num_jobs"] == 2


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"by": "label"}, "by"),
        ({"by": "label:"}, "by"),
        ({"by": "label:a b"}, "by"),
        ({"by": "owner"}, "by"),
        ({"since": "yesterday"}, "since"),
        ({"limit": 0}, "limit"),
        ({"after": "x"}, "after"),
        ({"page": 2}, "page"),
    ],
)
def test_what_cannot_be_asked_is_refused(api: Api, query: Any, name: str) -> None:
    assert refused_params(api.http.get("/v1/usage", params=query)) == [name]


def test_more_than_one_look_adds_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.redis.api_records.USAGE_LOOK", 2)
    for _ in range(5):
        used_job(api, Usage(10, 1.0, 5))
    assert api.get("/v1/usage")["total"]["num_jobs"] == 5


def test_claims_know_what_was_used(api: Api) -> None:
    api.post()
    claim = api.worker.claim()
    assert isinstance(claim, Claim)
    api.worker.store.update(claim, {"usage": Usage(7, 0.5)})
    api.worker.store.lose(claim)
    again = api.worker.claim().job.usage
    assert again is not None
    assert (again.peak_memory_bytes, again.cpu_s) == (7, 0.5)
